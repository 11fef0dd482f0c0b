"""Patterns of model ids: exact (`openai/gpt-4o`), prefix with a wildcard (`google/*`), or `*` for every model.

Where several match, the most specific counts: exact before prefixes, a longer prefix before a shorter one, `*` last.
"""

from collections.abc import Iterable

EVERY = "*"
PATTERN_CHARACTERS_MAX = 200


def is_valid(pattern: str) -> bool:
    """Is this an exact id, a prefix and one `*` at its end, or `*`?"""
    return 0 < len(pattern) <= PATTERN_CHARACTERS_MAX and EVERY not in pattern[:-1]


def matches(pattern: str, model: str) -> bool:
    """Does the pattern name this model?"""
    return model.startswith(pattern[:-1]) if pattern.endswith(EVERY) else model == pattern


def most_specific(patterns: Iterable[str], model: str) -> str | None:
    """The pattern that counts for the model; None when none matches."""
    found = [pattern for pattern in patterns if matches(pattern, model)]
    return max(found, key=_rank, default=None)


def _rank(pattern: str) -> tuple[bool, int]:
    return (not pattern.endswith(EVERY), len(pattern))
