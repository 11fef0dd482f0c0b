"""An invoice that breaks a rule of the tax administration is refused by it, and the customer has none."""

import json
from dataclasses import replace
from datetime import datetime
from io import BytesIO

import pytest
from efatura_kontrol.kontrol import kontrol_et
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from console.invoices.document import ARCHIVE, BASIC, Document, Line, Party, from_json, problems
from console.invoices.pdf import lira, qr_text, to_pdf
from console.invoices.tables import Kind
from console.invoices.tax_ids import UNKNOWN_PERSON, is_tckn, is_vkn
from console.invoices.ubl import CAC, CBC, to_xml
from console.payments.money import price_of, to_text
from console.payments.rules import net_returned
from console.web.language import ISTANBUL

SELLER = Party(
    "Onysoft Deneme A.Ş.",
    "1234567808",
    "Maslak",
    "Büyükdere Cad. 1",
    "Sarıyer",
    "İstanbul",
    website="https://console.example",
)
COMPANY = Party(
    "Örnek & Oğulları <Ltd.>", "3297552117", "Kadıköy", "Cad. 1", "Kadıköy", "İstanbul", "a@b.co", "0216 555 1122"
)
PERSON = Party("Ayşe Nur Öztürk", "10000000146", "", "Cad. 1", "Kadıköy", "İstanbul")
NOBODY = Party("Ali Veli", UNKNOWN_PERSON, "", "Cad. 1", "Kadıköy", "İstanbul")


def invoice(buyer: Party, kind: Kind = Kind.SALE, lines: tuple[Line, ...] | None = None, **changes: object) -> Document:
    """A document that may be issued."""
    returned = {"returned_number": "ONY2026000000009", "returned_on": "2026-11-01"} if kind is Kind.RETURN else {}
    values = {
        "kind": kind,
        "profile": BASIC if buyer is COMPANY else ARCHIVE,
        "number": "ONY2026000000010",
        "ettn": "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
        "issued_at": datetime(2026, 11, 25, 9, 30, 15, tzinfo=ISTANBUL),
        "seller": SELLER,
        "buyer": buyer,
        "lines": lines or (Line("API kredisi", 10_001, 2_000, 2_000),),
        "note": "Ödeme: abc",
        "paid_on": "2026-11-25",
        **returned,
        **changes,
    }
    return Document(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("buyer", [COMPANY, PERSON, NOBODY], ids=["company", "person", "nobody"])
def test_the_xml_fits_the_schema_and_the_tax_administrations_own_rules(buyer: Party, kind: Kind) -> None:
    document = invoice(buyer, kind)
    assert problems(document) == []
    report = kontrol_et(to_xml(document), "fatura" if buyer is COMPANY else "earsiv")
    assert [(each.kod, each.mesaj) for each in report.bulgular if each.seviye != "bilgi"] == []


@given(st.lists(st.tuples(st.integers(1, 10**10), st.sampled_from([100, 1_000, 2_000])), min_size=1, max_size=8))
def test_lines_taxes_and_totals_add_up(parts: list[tuple[int, int]]) -> None:
    lines = tuple(Line("x", net, price_of(net, rate).vat_kurus, rate) for net, rate in parts if net * rate >= 5_000)
    if not lines:
        return
    document = invoice(PERSON, lines=lines)
    assert problems(document) == []
    root = etree.parse(BytesIO(to_xml(document))).getroot()
    names = {"a": CAC, "b": CBC}
    net = sum(_kurus(each) for each in root.xpath("a:InvoiceLine/b:LineExtensionAmount/text()", namespaces=names))
    vat = sum(_kurus(each) for each in root.xpath("a:InvoiceLine/a:TaxTotal/b:TaxAmount/text()", namespaces=names))
    parts_of_tax = root.xpath("a:TaxTotal/a:TaxSubtotal/b:TaxAmount/text()", namespaces=names)
    total = root.xpath("a:LegalMonetaryTotal/b:PayableAmount/text()", namespaces=names)
    assert sum(_kurus(each) for each in parts_of_tax) == vat == document.vat_kurus
    assert _kurus(total[0]) == net + vat == document.gross_kurus


def _kurus(text: str) -> int:
    return int(text.replace(".", ""))


@given(st.integers(100, 10**9), st.lists(st.integers(1, 10**9), max_size=5))
def test_parts_that_go_back_sum_to_the_whole(net: int, steps: list[int]) -> None:
    price = price_of(net, 2_000)
    total = net_total = 0
    for step in [*steps, price.gross_kurus]:
        total = min(price.gross_kurus, total + step)
        net_now = net_returned(price.net_kurus, price.gross_kurus, total)
        assert net_now - net_total >= 0
        net_total = net_now
    assert net_total == price.net_kurus


def test_a_document_survives_the_store() -> None:
    document = invoice(COMPANY, Kind.RETURN)
    assert from_json(document.to_json()) == document


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "ONY2025000000010"},
        {"number": "ONY202600000010"},
        {"lines": (Line("x", 10_000, 1_800, 2_000),)},
        {"lines": (Line("x", 0, 0, 2_000),)},
        {"seller": PERSON},
        {"returned_number": "ONY2026000000001"},
        {"profile": BASIC, "buyer": NOBODY},
        {"buyer": Party("A B", "1234567891", "", "x", "x", "x")},
    ],
)
def test_what_breaks_a_rule_is_not_issued(changes: dict[str, object]) -> None:
    assert problems(replace(invoice(PERSON), **changes))  # type: ignore[arg-type]


def test_the_pdf_says_what_the_xml_says() -> None:
    document = invoice(COMPANY)
    assert to_pdf(document).startswith(b"%PDF-")
    code = json.loads(qr_text(document))
    assert (code["no"], code["odenecek"], code["kdvmatrah(20)"]) == ("ONY2026000000010", "120.01", "100.01")
    assert lira(123_456_789) == "1.234.567,89 ₺"
    assert to_text(-5) == "-0.05"


@pytest.mark.parametrize("number", ["1234567808", "3297552117", "6310540565"])
def test_company_numbers_are_known_by_their_checksum(number: str) -> None:
    assert is_vkn(number)
    wrong = [number[:place] + str((int(number[place]) + 1) % 10) + number[place + 1 :] for place in (0, 4, 9)]
    assert not any(is_vkn(each) for each in wrong)


@pytest.mark.parametrize("number", ["10000000146", "17291716060"])
def test_peoples_numbers_are_known_by_their_checksum(number: str) -> None:
    assert is_tckn(number)
    assert not any(is_tckn(number[:-1] + digit) for digit in "0123456789" if digit != number[-1])


@pytest.mark.parametrize("text", ["", "1234567891", "0123456789a", "١٢٣٤٥٦٧٨٩٠", "01234567890", "123456780"])
def test_what_is_no_tax_number_is_not_taken_for_one(text: str) -> None:
    assert not is_vkn(text)
    assert not is_tckn(text)
