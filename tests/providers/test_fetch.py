"""Addresses that others name: our servers must not be made to knock inside a network."""

import pytest

from core.providers.fetch import opened, post
from core.providers.port import ProviderFailure
from runtime.addresses import is_public
from tests.providers.conftest import Script
from tests.providers.scripted import answer

OK = answer(b"content", content_type="video/mp4")


def anywhere(_address: str) -> bool:
    return True


async def read(url: str, may_reach: object = anywhere) -> bytes:
    async with opened(url, may_reach, 5.0) as reply:  # type: ignore[arg-type]
        parts = []
        while piece := await reply.piece():
            parts.append(piece)
        return b"".join(parts)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("2002:7f00:1::", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::808:808", True),
        ("64:ff9b:1::808:808", False),
        ("::127.0.0.1", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("nonsense", False),
    ],
)
def test_public_addresses_are_told_from_the_others(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_a_name_that_resolves_into_a_network_is_not_connected_to(script: Script) -> None:
    """`localhost` stands for every name whose owner points it at us."""
    server = await script([OK])
    url = server.url.replace("127.0.0.1", "localhost") + "/a"
    with pytest.raises(ProviderFailure) as caught:
        await read(url, is_public)
    assert caught.value.reason == "address_refused"
    with pytest.raises(ProviderFailure):
        await post(url, b"{}", {}, is_public, 5.0)
    assert server.connections == 0


async def test_results_follow_a_redirect_and_webhooks_do_not(script: Script) -> None:
    target = await script([OK])
    redirect = answer(b"", "302 Found", "text/plain", f"location: {target.url}/b")
    server = await script([redirect])
    assert await read(server.url + "/a") == b"content"
    assert await post(server.url + "/a", b"{}", {}, anywhere, 5.0) == 302
    assert len(target.requests) == 1


async def test_a_redirect_into_a_network_is_looked_at_as_well(script: Script) -> None:
    server = await script([answer(b"", "302 Found", "text/plain", "location: http://10.0.0.1/b")])

    def only_the_first(address: str) -> bool:
        return address == "127.0.0.1"

    with pytest.raises(ProviderFailure) as caught:
        await read(server.url + "/a", only_the_first)
    assert caught.value.reason == "address_refused"


async def test_redirects_come_to_an_end(script: Script) -> None:
    server = await script([answer(b"", "302 Found", "text/plain", "location: /again")])
    with pytest.raises(ProviderFailure):
        await read(server.url + "/a")
    assert len(server.requests) == 4


@pytest.mark.parametrize("url", ["", "ftp://x/", "http://", "http://a b/", "http://u:p@example.com/", "//example.com"])
async def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ProviderFailure):
        await read(url)
