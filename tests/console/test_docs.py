"""The documentation tells the truth: its examples run against a gateway, in both languages; links lead somewhere."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import orjson
import pytest
from openai import BadRequestError, OpenAI
from openapi_spec_validator import OpenAPIV31SpecValidator

from console.openapi import document
from console.pages.docs import FOLDER, SLUGS
from runtime.errors import CATALOGUE
from tests.console.conftest import Browser
from tests.faults.gateway import Customer, Gateway

FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
RUN_TIMEOUT_S = 60
NODE_MODULES = Path(__file__).parents[1] / "clients" / "node" / "node_modules"


def _examples() -> Iterator[object]:
    """Each example once: the languages share theirs."""
    seen = set()
    for language in ("tr", "en"):
        for slug in SLUGS:
            for number, (kind, code) in enumerate(FENCE.findall((FOLDER / language / f"{slug}.md").read_text())):
                if kind != "json" and code not in seen:
                    seen.add(code)
                    yield pytest.param(kind, code, id=f"{language}-{slug}-{number}-{kind}")


@pytest.fixture(scope="module")
def reader(gateway: Gateway) -> Customer:
    """Somebody who tries the examples out."""
    return gateway.open_account("50.00")


@pytest.mark.parametrize(("kind", "code"), list(_examples()))
def test_an_example_runs(kind: str, code: str, gateway: Gateway, reader: Customer, tmp_path: Path) -> None:
    code = code.replace("{{api_url}}", gateway.base_urls[0])
    words = {"python": [sys.executable, "-c", code], "bash": ["bash", "-ec", code]}.get(kind)
    if words is None:
        words = [_node(), str(_script(tmp_path, code))]
    environment = {**os.environ, "ONYSOFT_API_KEY": reader.api_key}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert '"success":false' not in done.stdout


def _node() -> str:
    node = shutil.which("node")
    if node is None or not (NODE_MODULES / "openai").exists():
        pytest.skip("node, or the SDK that tests/clients installs, is not there")
    return node


def _script(folder: Path, code: str) -> Path:
    (folder / "node_modules").symlink_to(NODE_MODULES)
    script = folder / "example.mjs"
    script.write_text(code)
    return script


def test_both_languages_have_every_page_with_the_same_examples() -> None:
    for slug in SLUGS:
        turkish, english = ((FOLDER / language / f"{slug}.md").read_text() for language in ("tr", "en"))
        codes = [[code for kind, code in FENCE.findall(text) if kind != "json"] for text in (turkish, english)]
        assert codes[0] == codes[1], slug
        assert turkish.count("\n## ") == english.count("\n## "), slug


@pytest.mark.parametrize("language", ["tr", "en"])
def test_every_page_is_there_and_its_links_lead_somewhere(browser: Browser, language: str) -> None:
    browser.http.cookies.set("language", language)
    for slug in (*SLUGS, "reference"):
        page = browser.get(f"/docs/{slug}")
        assert "{{" not in page
        assert "style=" not in page, "the policy allows no inline style"
        for link in re.findall(r'href="([a-z-]+)"', page):
            browser.get(f"/docs/{link}")
    browser.get("/docs/nothing", 404)


def test_the_page_of_errors_has_every_error(browser: Browser) -> None:
    page = browser.get("/docs/errors")
    for error in CATALOGUE.values():
        assert error.english.split("{")[0].split("'")[0] in page


def _check(name: str, value: object) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", **document("")}
    jsonschema.Draft202012Validator(schema).validate(value)


def test_the_description_is_whole(browser: Browser) -> None:
    """Every reference leads somewhere, every schema is one, every operation has its own name."""
    described = orjson.loads(browser.http.get("/openapi.json").content)
    OpenAPIV31SpecValidator(described).validate()
    text = orjson.dumps(described).decode()
    for reference in set(re.findall(r'"\$ref":"#/([^"]+)"', text)):
        place = described
        for part in reference.split("/"):
            place = place[part]
    for schema in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    operations = [each for path in described["paths"].values() for each in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    for path, methods in described["paths"].items():
        for operation in methods.values():
            declared = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
            assert declared == set(re.findall(r"\{(\w+)\}", path)), path


def test_the_description_says_what_the_gateway_answers(gateway: Gateway, reader: Customer) -> None:
    client = OpenAI(base_url=gateway.base_urls[0], api_key=reader.api_key, max_retries=0)
    request = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "temperature": 1}
    _check("ChatRequest", request)
    raw = client.chat.completions.with_raw_response.create(**request)  # type: ignore[call-overload]
    _check("ChatCompletion", orjson.loads(raw.content))
    for name in document("")["components"]["headers"]:
        assert raw.headers.get(name), name
    _check("Balance", client.get("/balance", cast_to=object))
    models = client.get("/models", cast_to=object)
    for model in models["data"]:  # type: ignore[index]
        _check("Model", model)
    task = client.post("/image/generate", body={"model": "google/nano-banana", "prompt": "cat"}, cast_to=object)
    _check("Task", task)
    _check("Task", client.get(f"/image/status/{task['task_id']}", cast_to=object))  # type: ignore[index]


@pytest.mark.parametrize(
    ("field", "value"), [("temperature", 3), ("max_tokens", 0), ("n", 129), ("stream", "yes"), ("tools", {})]
)
def test_what_the_description_forbids_is_refused(gateway: Gateway, reader: Customer, field: str, value: object) -> None:
    """The edge and the description work by the same rules."""
    client = OpenAI(base_url=gateway.base_urls[0], api_key=reader.api_key, max_retries=0)
    request = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], field: value}
    with pytest.raises(jsonschema.ValidationError):
        _check("ChatRequest", request)
    with pytest.raises(BadRequestError, match=field):
        client.post("/chat/completions", body=request, cast_to=object)
