"""The central bank's bulletin of exchange rates, as a stand-in: GET /kurlar/today.xml, changed by PUT /bulletin."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

PATH = "/kurlar/today.xml"
CONTENT_TYPE = b"text/xml; charset=utf-8"
USD = "40.0000"

_DUE_AFTER_MIDNIGHT_UTC = timedelta(hours=12, minutes=30)
_FIELDS = {"day": str, "usd": str, "unit": int, "text": str}
_CURRENCY = (
    '<Currency CrossOrder="{order}" Kod="{code}" CurrencyCode="{code}"><Unit>{unit}</Unit><Isim>{name}</Isim>'
    "<CurrencyName>{name}</CurrencyName><ForexBuying>{rate}</ForexBuying><ForexSelling>{rate}</ForexSelling>"
    "<BanknoteBuying/><BanknoteSelling/><CrossRateUSD/><CrossRateOther/></Currency>"
)


class Bulletin:
    """What is served: `day` (default: the last business day whose bulletin is due), `usd`, `unit`, or any `text`."""

    def __init__(self) -> None:
        self.shown: dict[str, Any] = {}

    def put(self, wanted: Any) -> None:
        """Replace what is served by the defaults and `wanted` over them. Raises ValueError."""
        if not isinstance(wanted, dict) or not all(
            isinstance(value, _FIELDS.get(name, ())) for name, value in wanted.items()
        ):
            raise ValueError("an object of day, usd, unit or text is needed")
        if "day" in wanted:
            date.fromisoformat(wanted["day"])
        self.shown = dict(wanted)

    def xml(self) -> bytes:
        """The bulletin, the yen and the IMF's unit included, whose rates are for 100 and empty."""
        if "text" in self.shown:
            return str(self.shown["text"]).encode()
        day = date.fromisoformat(self.shown["day"]) if "day" in self.shown else _last_due(datetime.now(UTC))
        usd = {"order": 0, "code": "USD", "name": "US DOLLAR", "unit": self.shown.get("unit", 1)}
        currencies = (
            {**usd, "rate": self.shown.get("usd", USD)},
            {"order": 10, "code": "JPY", "name": "JAPENESE YEN", "unit": 100, "rate": "27.1234"},
            {"order": 21, "code": "XDR", "name": "SPECIAL DRAWING RIGHT (SDR)", "unit": 1, "rate": ""},
        )
        head = f'<Tarih_Date Tarih="{day:%d.%m.%Y}" Date="{day:%m/%d/%Y}" Bulten_No="{day:%Y}/{day:%j}">'
        rows = "".join(_CURRENCY.format(**currency) for currency in currencies)
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}{rows}</Tarih_Date>'.encode()


def _last_due(now: datetime) -> date:
    """The last Monday to Friday whose 15:30 in Istanbul is over."""
    day = (now - _DUE_AFTER_MIDNIGHT_UTC).date()
    while day.weekday() > 4:
        day -= timedelta(days=1)
    return day
