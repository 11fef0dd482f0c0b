"""The JSON of the CLI's answers, one module a subject. Other people's scripts rely on these keys."""

from typing import Any

Shape = dict[str, Any]
