"""What a reader may ask of the embedded engine: it has no users, and its `file()` reads this machine's files.

`readonly = 1` on the reader's handle stops every write and most table functions. What it lets through is stopped here,
by what ClickHouse's own parser says that the query is: functions that reach beyond the tables, INTO OUTFILE, and more
than one statement. A server needs none of this: there the reader is a user with grants.
"""

import re
from collections.abc import Mapping

from projections.analytics.store import Store

QUERY_CHARACTERS_MAX = 200_000

_STATEMENTS = re.compile(
    r"(SelectWithUnionQuery|SelectQuery|SelectIntersectExceptQuery|ShowTables|ShowColumns|ShowIndexes|ShowFunctions"
    r"|DescribeQuery|ExistsTableQuery|ExistsViewQuery|ExistsDatabaseQuery|ShowCreateTableQuery|ShowCreateViewQuery"
    r"|ShowCreateDatabaseQuery|Explain|UseQuery)\b"
)
_FUNCTION = re.compile(r"^ *Function (\S+)", re.MULTILINE)
_OUTFILE = re.compile(r"\boutfile\b", re.IGNORECASE)
_FORMAT = re.compile(r"\bFORMAT\s+[A-Za-z0-9]+(\s+SETTINGS\b[^;]*)?\s*$", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`|--[^\n]*|/\*.*?\*/", re.DOTALL)
_ODD = re.compile("[$#‘’“”]")

_HARMLESS_TABLES = frozenset(
    {"format", "generate_series", "generateseries", "null", "numbers", "numbers_mt", "primes", "values"}
    | {"sqlstandardvalues", "view", "zeros", "zeros_mt", "generaterandom"}
)
_REACHING = frozenset({"file", "catboostevaluate", "reversednsquery", "python"})


class QueryRefused(Exception):
    """A reader may not ask this; the message says why."""


class Guard:
    """Made once for a store; `check` is called in a reader's thread."""

    def __init__(self, store: Store) -> None:
        tables = {str(row[0]).lower() for row in store.rows("SELECT name FROM system.table_functions")}
        asking = store.rows("SELECT name FROM system.functions WHERE match(name, '^(AI|ai)[A-Z]')")
        self._refused = (tables - _HARMLESS_TABLES) | {str(row[0]).lower() for row in asking} | _REACHING

    def check(self, store: Store, query: str, parameters: Mapping[str, str]) -> str:
        """The query without its trailing semicolon. Raises QueryRefused; StoreFailed where it cannot be parsed."""
        query = one_statement(query)
        tree = store.raw("EXPLAIN AST " + without_format(query), {}, None, parameters).decode(errors="replace")
        if not _STATEMENTS.match(tree):
            raise QueryRefused("only SELECT, SHOW, DESCRIBE, EXISTS and EXPLAIN can be asked here")
        for name in _FUNCTION.findall(tree):
            if name.lower() in self._refused:
                raise QueryRefused(f"the function {name} cannot be used here")
        return query


def one_statement(query: str) -> str:
    """The query without its trailing semicolon. Raises QueryRefused for more than one, or one that writes a file."""
    query = query.strip().rstrip(";").rstrip()
    if not query:
        raise QueryRefused("the query is empty")
    if len(query) > QUERY_CHARACTERS_MAX:
        raise QueryRefused(f"the query is longer than {QUERY_CHARACTERS_MAX} characters")
    if _OUTFILE.search(query):
        raise QueryRefused("INTO OUTFILE cannot be used here")
    if ";" in query:
        rest = _QUOTED.sub(" ", query)
        if ";" in rest or _ODD.search(rest):
            raise QueryRefused("one statement at a time")
    return query


def without_format(query: str) -> str:
    """The query without its FORMAT clause."""
    return _FORMAT.sub("", query)


def has_format(query: str) -> bool:
    """Whether the query names its output format."""
    return _FORMAT.search(query) is not None
