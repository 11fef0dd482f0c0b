"""The documentation, from Markdown in `console/docs`; public. Errors are written from the catalogue of errors."""

from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from starlette.responses import Response

from console.openapi import describe, document
from console.web.context import Context, NotFound
from console.web.guards import Guard, Row
from runtime.errors import CATALOGUE, SHOWN_AS

FOLDER = Path(__file__).parent.parent / "docs"
SLUGS = (
    "quick-start",
    "authentication",
    "chat",
    "streaming",
    "media",
    "models",
    "limits",
    "errors",
    "billing",
    "faq",
)
LEXERS = {"python": "python", "bash": "bash", "js": "javascript", "json": "json"}
DOCUMENT_AGE = "public, max-age=300"


@dataclass(frozen=True, slots=True)
class Page:
    """One rendered page."""

    title: str
    html: str


def docs(context: Context) -> Response:
    """The first page."""
    return context.go(f"/docs/{SLUGS[0]}")


def doc(context: Context) -> Response:
    """One page in the reader's language."""
    slug = context.request.path_params["slug"]
    if slug not in SLUGS:
        raise NotFound
    copy = context.translate("Copy")
    api_url = context.services.settings.api_url
    pages = [(each, read_page(context.language, each, api_url, copy).title) for each in SLUGS]
    values = {"slug": slug, "pages": pages, "page": read_page(context.language, slug, api_url, copy)}
    return context.render("docs/page.html", values)


@cache
def read_page(language: str, slug: str, api_url: str, copy: str) -> Page:
    """A page with its code coloured by classes; the Content-Security-Policy allows no inline style."""
    text = (FOLDER / language / f"{slug}.md").read_text().replace("{{api_url}}", api_url)
    text = text.replace("{{errors}}", _error_table(language))
    title = text.split("\n", 1)[0].removeprefix("# ")
    return Page(title, _markdown(copy).render(text))


def _markdown(copy: str) -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    numbers = iter(range(1, 1_000))

    def fence(renderer: object, tokens: list[object], place: int, options: object, env: object) -> str:
        token = tokens[place]
        name = f"code-{next(numbers)}"
        code = _coloured(token.content, token.info)  # type: ignore[attr-defined]
        button = f'<button type="button" class="plain" data-copy="{name}">{escape(copy)}</button>'
        return f'<div class="code">{button}<pre tabindex="0" id="{name}"><code>{code}</code></pre></div>\n'

    markdown.add_render_rule("fence", fence)
    markdown.add_render_rule("table_open", lambda *_: '<div class="scroll" tabindex="0" role="group"><table>\n')
    markdown.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return markdown


def _coloured(code: str, language: str) -> str:
    if language not in LEXERS:
        return escape(code)
    return str(highlight(code, get_lexer_by_name(LEXERS[language]), HtmlFormatter(nowrap=True)))


def _error_table(language: str) -> str:
    head = "| HTTP | code | anlamı |" if language == "tr" else "| HTTP | code | meaning |"
    rows = [head, "|---|---|---|"]
    for error in sorted(CATALOGUE.values(), key=lambda each: (each.status, each.code)):
        text = error.turkish if language == "tr" else error.english
        status = "–" if error.status == 200 else str(error.status)  # stands in a task
        rows.append(f"| {status} | `{SHOWN_AS.get(error.code, error.code)}` | {text.replace('{detail}', '…')} |")
    return "\n".join(rows)


def openapi(context: Context) -> Response:
    """The machine's description of the API."""
    headers = {"access-control-allow-origin": "*", "cache-control": DOCUMENT_AGE}
    return Response(describe(context.services.settings.api_url), media_type="application/json", headers=headers)


def reference(context: Context) -> Response:
    """The same, for people."""
    described = document(context.services.settings.api_url)
    pages = [(each, read_page(context.language, each, context.services.settings.api_url, "").title) for each in SLUGS]
    return context.render("docs/reference.html", {"api": described, "pages": pages, "slug": "reference"})


ROWS = [
    Row("/docs", docs, Guard.ANYONE),
    Row("/docs/reference", reference, Guard.ANYONE),
    Row("/docs/{slug}", doc, Guard.ANYONE),
    Row("/openapi.json", openapi, Guard.ANYONE),
]
