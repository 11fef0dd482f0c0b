"""Lists a page at a time: nothing lists everything."""

from console.web.context import Context

ROWS_A_PAGE = 50
PAGE_DIGITS_MAX = 5


def page_of(context: Context) -> int:
    """Which page of a list is asked for, from 0."""
    text = context.request.query_params.get("page", "")
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= PAGE_DIGITS_MAX else 0
