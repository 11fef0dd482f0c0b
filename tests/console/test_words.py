"""Every text that a person reads is there in Turkish: an English word on a Turkish page looks broken."""

import ast
from pathlib import Path

from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

ROOT = Path(__file__).parents[2]
METHODS = [("console/**.py", "python"), ("console/templates/**.html", "jinja2")]


def _texts() -> set[str]:
    found = set()
    keywords = {"_": None, "N_": None, "translate": None}
    for _, _, text, *_ in extract_from_dir(ROOT, method_map=METHODS, keywords=keywords, options_map={}):
        found.add(text if isinstance(text, str) else text[0])
    return found | _menu_texts()


def _menu_texts() -> set[str]:
    tree = ast.parse((ROOT / "console" / "web" / "menu.py").read_text())
    pairs = [node.elts for node in ast.walk(tree) if isinstance(node, ast.Tuple) and len(node.elts) == 2]
    return {text.value for _, text in pairs if isinstance(text, ast.Constant) and isinstance(text.value, str)}


def test_every_text_has_its_turkish() -> None:
    with (ROOT / "console" / "locales" / "tr.po").open("rb") as file:
        catalogue = read_po(file, locale="tr")
    turkish = {message.id: message.string for message in catalogue if message.id}
    missing = sorted(text for text in _texts() if not turkish.get(text))
    assert not missing, missing


def test_a_translation_takes_the_same_values() -> None:
    """A name that only one language has would end in an error page in the other."""
    with (ROOT / "console" / "locales" / "tr.po").open("rb") as file:
        catalogue = read_po(file, locale="tr")
    assert [error for message, errors in catalogue.check() for error in errors] == []
