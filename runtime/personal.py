"""Personal data in free text that is kept for good."""

import re

_PERSONAL = re.compile(r"\S@\S|(?<![0-9A-Za-z])[0-9]{10,11}(?![0-9A-Za-z])")
"""An e-mail address; the digits of a VKN, a TCKN or a telephone."""


def has_personal_data(text: str) -> bool:
    """Does it look so? Names cannot be told from other words."""
    return _PERSONAL.search(text) is not None
