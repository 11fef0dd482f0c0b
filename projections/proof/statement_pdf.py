"""A statement as PDF: sums by day, by model and by kind on a few pages, and the CSV with every line attached.

Needs fpdf2 and font-source-sans-pro (extra `proof`), which are loaded by the first statement.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from core.ledger.money import to_text
from projections.proof.statement import ISTANBUL, Statement
from projections.proof.statement_csv import facts, to_csv
from runtime.ids import ACCOUNT, text

if TYPE_CHECKING:
    from fpdf import FPDF

ROWS_MAX = 60
"""Models, and credits, that are listed; the attached CSV has all of them."""

_FONT = "Source Sans Pro"
_SIGNS = {"TRY": "₺", "USD": "$"}
_KINDS = {
    "credit": "Yükleme / credit",
    "reversal": "İade / reversal",
    "moved_out": "Gönderilen / moved out",
    "moved_in": "Gelen / moved in",
    "charge": "Kullanım / usage",
    "customer_charge": "Müşteri kullanımı / customers' usage",
}
_FACTS = {
    "account": "Hesap / account",
    "currency": "Para birimi / currency",
    "month": "Ay / month",
    "from": "Başlangıç / from",
    "to": "Bitiş / to",
    "complete": "Tamamlandı / complete",
    "opening balance": "Açılış bakiyesi / opening balance",
    "closing balance": "Kapanış bakiyesi / closing balance",
    "lines": "Satır sayısı / lines",
}
_PROOF = (
    "Bu özet, herkese açık denetim noktalarıyla doğrulanabilir. Ekteki CSV dosyası her satırı ve kanıtı içerir: "
    "onysoft ledger verify --file {file} --checkpoints checkpoints.jsonl\n"
    "This statement can be checked against the published checkpoints. The attached CSV holds every line and the proof."
)


def to_pdf(statement: Statement) -> bytes:
    """The document."""
    pdf = _document(statement)
    money = _Money(statement.currency)
    named = facts(statement)
    balances = {
        "opening balance": money(statement.opening.standing.balance_nano),
        "closing balance": money(statement.closing.standing.balance_nano),
        "complete": "evet / yes" if statement.month_over else "hayır, ay bitmedi / no, the month is not over",
    }
    shown = ((_FACTS[name], balances.get(name, value)) for name, value in named if name in _FACTS)
    _table(pdf, shown, (80, 110), "LR")
    _sums(pdf, money, "Hareketler / movements", _by_kind(statement))
    _sums(pdf, money, "Modeller / models", _by_model(statement))
    _sums(pdf, money, "Günler / days", _by_day(statement))
    _credits(pdf, money, statement)
    _proof(pdf, statement, [(name, value) for name, value in named if name not in _FACTS])
    return bytes(pdf.output())


def file_name(statement: Statement) -> str:
    """What the attached CSV is called."""
    return f"{text(ACCOUNT, statement.account_id)}-{statement.month}.csv"


class _Money:
    """Amounts as people in Turkey write them: 1.234,56 ₺; no place that counts is cut."""

    def __init__(self, currency: str) -> None:
        self._sign = _SIGNS[currency]

    def __call__(self, nano: int) -> str:
        units, places = to_text(nano).split(".")
        grouped = f"{int(units):,}".replace(",", ".")
        sign = "-" if nano < 0 and not grouped.startswith("-") else ""
        return f"{sign}{grouped},{places} {self._sign}"


def _document(statement: Statement) -> "FPDF":
    from font_source_sans_pro import font_files_ttf
    from fpdf import FPDF

    class Document(FPDF):
        def footer(self) -> None:
            self.set_y(-12)
            self.set_font(_FONT, size=8)
            self.cell(0, 6, f"{text(ACCOUNT, statement.account_id)} · {statement.month} · {self.page_no()}/{{nb}}")

    pdf = Document(format="A4")
    pdf.add_font(_FONT, "", Path(font_files_ttf["SourceSansPro"]))
    pdf.add_font(_FONT, "B", Path(font_files_ttf["SourceSansProBold"]))
    pdf.set_creation_date(datetime.fromtimestamp(statement.closing.published.time_ms / 1000, ISTANBUL))
    pdf.set_title(f"Hesap özeti {statement.month}")
    pdf.set_auto_page_break(True, margin=16)
    pdf.add_page()
    pdf.set_font(_FONT, "B", 18)
    pdf.cell(0, 12, f"Hesap özeti / account statement {statement.month}", new_x="LMARGIN", new_y="NEXT")
    return pdf


def _heading(pdf: "FPDF", title: str) -> None:
    pdf.ln(4)
    pdf.set_font(_FONT, "B", 12)
    pdf.cell(0, 8, title, new_x="LMARGIN", new_y="NEXT")


def _table(pdf: "FPDF", rows: Iterable[tuple[str, ...]], widths: tuple[int, ...], aligned: str) -> None:
    pdf.set_font(_FONT, size=9)
    for row in rows:
        for width, value, side in zip(widths, row, aligned, strict=True):
            pdf.cell(width, 5.2, _fitted(pdf, value, width), align=side)
        pdf.ln()


def _fitted(pdf: "FPDF", value: str, width: int) -> str:
    """What fits into a cell; the attached CSV has the whole."""
    while pdf.get_string_width(value) > width - 2 and len(value) > 1:
        value = value[:-2] + "…"
    return value


def _sums(pdf: "FPDF", money: _Money, title: str, sums: dict[str, tuple[int, int]]) -> None:
    if not sums:
        return
    _heading(pdf, title)
    rows = [(name, f"{count:,}".replace(",", "."), money(nano)) for name, (count, nano) in sums.items()]
    hidden = rows[ROWS_MAX:]
    _table(pdf, rows[:ROWS_MAX], (110, 30, 50), "LRR")
    if hidden:
        _table(pdf, [(f"… {len(hidden)} satır daha / more", "", "")], (110, 30, 50), "LRR")


def _credits(pdf: "FPDF", money: _Money, statement: Statement) -> None:
    rows = [
        (_local(line.time_ms), _KINDS[line.kind], line.reference, money(line.amount_nano))
        for line in statement.lines
        if "charge" not in line.kind
    ]
    if rows:
        _heading(pdf, "Yüklemeler ve iadeler / credits and reversals")
        _table(pdf, rows[:ROWS_MAX], (34, 46, 70, 40), "LLLR")


def _proof(pdf: "FPDF", statement: Statement, named: list[tuple[str, str]]) -> None:
    name = file_name(statement)
    _heading(pdf, "Kanıt / proof")
    pdf.set_font(_FONT, size=9)
    pdf.multi_cell(0, 5, _PROOF.format(file=name), align="L", new_x="LMARGIN", new_y="NEXT")
    _table(pdf, named, (40, 150), "LL")
    pdf.embed_file(bytes=to_csv(statement).encode(), basename=name, desc="Every line, and the proof")


def _by_kind(statement: Statement) -> dict[str, tuple[int, int]]:
    return _summed((_KINDS[line.kind], line.amount_nano) for line in statement.lines)


def _by_model(statement: Statement) -> dict[str, tuple[int, int]]:
    sums = _summed((line.model, line.amount_nano) for line in statement.lines if line.model)
    return dict(sorted(sums.items(), key=lambda item: item[1][1]))


def _by_day(statement: Statement) -> dict[str, tuple[int, int]]:
    return _summed((_local(line.time_ms)[:10], line.amount_nano) for line in statement.lines)


def _summed(amounts: Iterable[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    sums: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for name, nano in amounts:
        count, total = sums[name]
        sums[name] = (count + 1, total + nano)
    return sums


def _local(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, ISTANBUL).strftime("%Y-%m-%d %H:%M")
