"""The stand-in for the central bank must look like the bank, or reading it proves nothing."""

from xml.etree import ElementTree

import aiohttp
import pytest

from tests.sandbox.conftest import Client


async def read(sandbox: Client) -> ElementTree.Element:
    async with aiohttp.ClientSession() as session, session.get(f"{sandbox.url}/kurlar/today.xml") as response:
        assert response.status == 200
        assert response.content_type == "text/xml"
        return ElementTree.fromstring(await response.read())


async def test_it_has_the_banks_shape(sandbox: Client) -> None:
    root = await read(sandbox)
    assert (root.tag, set(root.attrib)) == ("Tarih_Date", {"Tarih", "Date", "Bulten_No"})
    rates = {each.attrib["CurrencyCode"]: each.findtext("ForexSelling") for each in root.iter("Currency")}
    assert rates == {"USD": "40.0000", "JPY": "27.1234", "XDR": ""}
    units = {each.attrib["Kod"]: each.findtext("Unit") for each in root.iter("Currency")}
    assert units["JPY"] == "100"


async def test_it_is_changed_on_demand_and_reset(sandbox: Client) -> None:
    wanted = {"day": "2026-08-14", "usd": "41.25"}
    assert await sandbox.status("PUT", "/bulletin", json=wanted) == (200, wanted)
    root = await read(sandbox)
    assert (root.attrib["Tarih"], root.attrib["Date"]) == ("14.08.2026", "08/14/2026")
    assert root.findtext("Currency/ForexSelling") == "41.25"
    await sandbox.status("PUT", "/bulletin", json={})
    assert (await read(sandbox)).findtext("Currency/ForexSelling") == "40.0000"


@pytest.mark.parametrize("wanted", [{"usd": 41}, {"rate": "41"}, {"day": "14.08.2026"}, []])
async def test_a_change_that_is_not_understood_is_refused(sandbox: Client, wanted: object) -> None:
    status, body = await sandbox.status("PUT", "/bulletin", json=wanted)
    assert status == 400
    assert "bulletin" in body["error"]["message"]
