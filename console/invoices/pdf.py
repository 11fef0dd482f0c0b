"""An invoice as PDF, for people. The XML is the invoice; this is how it looks."""

import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import segno

from console.invoices.document import ARCHIVE, Document, Party
from console.invoices.tables import Kind
from console.payments.money import to_text

if TYPE_CHECKING:
    from fpdf import FPDF

_FONT = "Source Sans Pro"
_TITLES = {Kind.SALE: "Fatura / invoice", Kind.RETURN: "İade faturası / return invoice"}
_TYPES = {Kind.SALE: "SATIS", Kind.RETURN: "IADE"}
_WIDTHS = (12, 88, 30, 20, 40)
_HEADS = ("#", "Açıklama / description", "KDV / VAT", "%", "Tutar / amount")
_ROW_MM = 6.0
_QR_MM = 32


def to_pdf(document: Document) -> bytes:
    """One page."""
    pdf = _page(document)
    _heads(pdf, document)
    _parties(pdf, document)
    _lines(pdf, document)
    _totals(pdf, document)
    if document.note:
        _row(pdf, (190,), (document.note,), "L")
    return bytes(pdf.output())


def lira(kurus: int) -> str:
    """`123450` → `1.234,50 ₺`."""
    whole, _, fraction = to_text(kurus).partition(".")
    return f"{int(whole):,}".replace(",", ".") + f",{fraction} ₺"


def qr_text(document: Document) -> str:
    """What the square code says, in the tax administration's words."""
    values = {
        "vkntckn": document.seller.tax_id,
        "avkntckn": document.buyer.tax_id,
        "senaryo": document.profile,
        "tip": _TYPES[document.kind],
        "tarih": f"{document.issued_at:%Y-%m-%d}",
        "no": document.number,
        "ettn": document.ettn,
        "parabirimi": document.currency,
        "malhizmettoplam": to_text(document.net_kurus),
    }
    for rate, net, vat in document.rates():
        percent = to_text(rate).removesuffix(".00")
        values |= {f"kdvmatrah({percent})": to_text(net), f"hesaplanankdv({percent})": to_text(vat)}
    values |= {"vergidahil": to_text(document.gross_kurus), "odenecek": to_text(document.gross_kurus)}
    return json.dumps(values, separators=(",", ":"))


def _page(document: Document) -> "FPDF":
    from font_source_sans_pro import font_files_ttf
    from fpdf import FPDF

    pdf = FPDF(format="A4")
    pdf.add_font(_FONT, "", Path(font_files_ttf["SourceSansPro"]))
    pdf.add_font(_FONT, "B", Path(font_files_ttf["SourceSansProBold"]))
    pdf.set_creation_date(document.issued_at)
    pdf.set_title(document.number)
    pdf.set_lang("tr")
    pdf.add_page()
    return pdf


def _heads(pdf: "FPDF", document: Document) -> None:
    picture = BytesIO()
    segno.make(qr_text(document), error="m").save(picture, kind="png", scale=4, border=1)
    pdf.image(picture, x=200 - _QR_MM, y=10, w=_QR_MM, alt_text="QR")
    pdf.set_font(_FONT, "B", 16)
    kind = "e-Arşiv" if document.profile == ARCHIVE else "e-Fatura"
    pdf.cell(0, 10, f"{kind} · {_TITLES[document.kind]}", new_x="LMARGIN", new_y="NEXT")
    facts = [("Fatura no", document.number), ("ETTN", document.ettn), ("Senaryo", document.profile)]
    facts += [("Tarih", f"{document.issued_at:%d.%m.%Y %H:%M}")]
    if document.paid_on:
        facts.append(("Kartla ödendi / paid", document.paid_on))
    if document.returned_number:
        facts.append(("İade edilen fatura", f"{document.returned_number} ({document.returned_on})"))
    for name, value in facts:
        _row(pdf, (36, 110), (name, value), "LL")
    pdf.set_y(max(pdf.get_y(), 10 + _QR_MM) + 6)


def _parties(pdf: "FPDF", document: Document) -> None:
    top, lowest = pdf.get_y(), 0.0
    for left, title, party in ((10, "Satıcı / seller", document.seller), (108, "Alıcı / buyer", document.buyer)):
        pdf.set_xy(left, top)
        pdf.set_font(_FONT, "B", 10)
        pdf.cell(92, _ROW_MM, title)
        pdf.set_xy(left, top + _ROW_MM)
        pdf.set_font(_FONT, size=9)
        pdf.multi_cell(92, 5, "\n".join(_party(party)), align="L")
        lowest = max(lowest, pdf.get_y())
    pdf.set_xy(10, lowest + 6)


def _party(party: Party) -> list[str]:
    number = f"{'TCKN' if party.is_person else 'VKN'}: {party.tax_id}"
    office = f"{party.tax_office} V.D., {number}" if party.tax_office else number
    return [party.name, f"{party.address}, {party.district} / {party.city}", office, *filter(None, (party.email,))]


def _lines(pdf: "FPDF", document: Document) -> None:
    pdf.set_font(_FONT, "B", 9)
    _row(pdf, _WIDTHS, _HEADS, "LLRRR", border="B", bold=True)
    for number, line in enumerate(document.lines, 1):
        percent = to_text(line.vat_bps).removesuffix(".00")
        values = (str(number), line.name, lira(line.vat_kurus), percent, lira(line.net_kurus))
        _row(pdf, _WIDTHS, values, "LLRRR")
    pdf.ln(4)


def _totals(pdf: "FPDF", document: Document) -> None:
    rows = [("Mal ve hizmet toplamı / net", document.net_kurus)]
    rows += [(f"KDV %{to_text(rate).removesuffix('.00')} / VAT", vat) for rate, _, vat in document.rates()]
    for name, kurus in rows:
        _row(pdf, (150, 40), (name, lira(kurus)), "RR")
    _row(pdf, (150, 40), ("Ödenecek tutar / total", lira(document.gross_kurus)), "RR", bold=True)
    pdf.ln(6)


def _row(
    pdf: "FPDF",
    widths: tuple[int, ...],
    values: tuple[str, ...],
    aligned: str,
    border: str = "",
    bold: bool = False,
) -> None:
    pdf.set_font(_FONT, "B" if bold else "", 9)
    for width, value, side in zip(widths, values, aligned, strict=True):
        pdf.cell(width, _ROW_MM, value, align=side, border=border or 0)
    pdf.ln()
