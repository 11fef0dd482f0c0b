"""Users of a ClickHouse server who may only read: analysts all of it, a partner its own rows and its customers'."""

import hashlib
import re
import string
from pathlib import Path

from runtime.ids import ACCOUNT, parse
from runtime.settings import Settings

_FOLDER = Path(__file__).parent / "grants"
_USER = re.compile(r"[a-z][a-z0-9_]{0,62}")


def reader_sql(settings: Settings, database: str, user: str, password: str) -> str:
    """Statements that make an analyst's user. Raises ValueError for a name that is not a plain word."""
    return _filled("reader", settings, database, user, password)


def partner_sql(settings: Settings, database: str, user: str, password: str, account: str) -> str:
    """Statements that make a partner's user. Raises ValueError for a wrong name or account id."""
    parse(ACCOUNT, account)
    return _filled("partner", settings, database, user, password, account=account)


def _filled(name: str, settings: Settings, database: str, user: str, password: str, **more: str) -> str:
    if not _USER.fullmatch(user):
        raise ValueError("a user's name is lower-case letters, digits and _")
    return string.Template((_FOLDER / f"{name}.sql").read_text()).substitute(
        database=database,
        user=user,
        password_sha256=hashlib.sha256(password.encode()).hexdigest(),
        query_s=f"{settings.analytics_query_s:g}",
        memory_bytes=settings.analytics_memory_bytes,
        result_bytes=settings.analytics_result_bytes,
        **more,
    )
