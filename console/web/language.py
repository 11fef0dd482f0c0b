"""Turkish and English. The source text is English; `locales/tr.po` has the Turkish, checked for gaps by a test."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

LANGUAGES = ("tr", "en")
DEFAULT = "tr"
ISTANBUL = ZoneInfo("Europe/Istanbul")
LOCALES = Path(__file__).parent.parent / "locales"
PLACES_MAX = 6
SYMBOLS = {"TRY": "₺", "USD": "$"}


@cache
def _catalogue(language: str) -> Mapping[str, str]:
    path = LOCALES / f"{language}.po"
    if not path.exists():
        return {}
    with path.open("rb") as file:
        catalogue = read_po(file, locale=language)
    return {str(message.id): str(message.string) for message in catalogue if message.id and message.string}


def translator(language: str) -> Callable[..., str]:
    """`_(text, **values)` of a language: translated, then filled in."""
    catalogue = _catalogue(language)

    def translate(text: str, **values: object) -> str:
        return catalogue.get(text, text) % values if values else catalogue.get(text, text)

    return translate


def preferred(accept_language: str) -> str:
    """The language that a browser asks for, of those that there are."""
    best, best_quality = DEFAULT, 0.0
    for part in accept_language.split(","):
        tag, _, quality = part.strip().partition(";q=")
        weight = _quality(quality)
        if tag[:2].lower() in LANGUAGES and weight > best_quality:
            best, best_quality = tag[:2].lower(), weight
    return best


def _quality(text: str) -> float:
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 0.0


class Formats:
    """Money, numbers and times as people of a language write them; times are Istanbul's."""

    def __init__(self, language: str) -> None:
        self._locale = Locale.parse("tr_TR" if language == "tr" else "en_GB")

    def money(self, amount: str | Decimal, currency: str, places: int | None = None) -> str:
        """`49.957295`, `TRY` → `₺49,957295`: two places, and more where they count."""
        value = Decimal(amount)
        exponent = value.normalize().as_tuple().exponent
        shown = places if places is not None else max(2, min(PLACES_MAX, -exponent if isinstance(exponent, int) else 2))
        number = str(format_decimal(abs(value), format=f"#,##0.{'0' * shown}", locale=self._locale))
        return f"{'-' if value < 0 else ''}{SYMBOLS.get(currency, currency + ' ')}{number}"

    def number(self, value: int | Decimal) -> str:
        """`1234567` → `1.234.567`."""
        return str(format_decimal(value, locale=self._locale))

    def time(self, moment: datetime) -> str:
        """A moment, to the minute."""
        return str(format_datetime(moment.astimezone(ISTANBUL), "d MMM yyyy HH:mm", locale=self._locale))

    def date(self, day: date) -> str:
        """A day."""
        return str(format_date(day, "d MMM yyyy", locale=self._locale))

    def second(self, moment: datetime) -> str:
        """A moment, to the second."""
        return str(format_datetime(moment.astimezone(ISTANBUL), "d MMM yyyy HH:mm:ss", locale=self._locale))

    def moment(self, time_ms: int) -> str:
        """A moment of the ledger, in milliseconds, to the minute."""
        return self.time(datetime.fromtimestamp(time_ms / 1000, ISTANBUL))

    def exact(self, time_ms: int) -> str:
        """A moment of the ledger, to the millisecond."""
        moment = datetime.fromtimestamp(time_ms / 1000, ISTANBUL)
        return f"{self.second(moment)}.{time_ms % 1000:03d}"

    def nano(self, amount_nano: int, currency: str) -> str:
        """Nano-units as money, with all their places."""
        return self.money(Decimal(amount_nano).scaleb(-9), currency)

    def iso_day(self, time_ms: int) -> str:
        """The day of a moment of the ledger, as a form has it."""
        return datetime.fromtimestamp(time_ms / 1000, ISTANBUL).date().isoformat()

    def iso_date(self, day: str) -> str:
        """`2026-11-25` as people write it."""
        return self.date(date.fromisoformat(day))

    def iso_month(self, month: str) -> str:
        """`2026-11` as people write it."""
        return str(format_date(date.fromisoformat(f"{month}-01"), "LLLL yyyy", locale=self._locale))

    def percent(self, bps: int) -> str:
        """Basis points: `3050` → `30.5%`."""
        return str(format_percent(Decimal(bps) / 10_000, locale=self._locale, decimal_quantization=False))

    def plain(self, value: str | Decimal) -> str:
        """A decimal with all its places."""
        return str(format_decimal(Decimal(value), format="#,##0.##################", locale=self._locale))

    def price(self, amount: str, units: int, currency: str) -> str:
        """What so many units cost, of which one costs `amount`."""
        return self.money(Decimal(amount) * units, currency)
