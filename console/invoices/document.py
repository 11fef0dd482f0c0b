"""What an invoice says, apart from how it is written down. Amounts are whole kuruş; a document is final."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from console.invoices.tables import Kind
from console.invoices.tax_ids import UNKNOWN_PERSON, is_tckn, is_vkn
from console.payments.money import BPS, share

NUMBER_CHARACTERS = 16
BASIC = "TEMELFATURA"
ARCHIVE = "EARSIVFATURA"
ROUNDING_KURUS = 1
"""A part of a payment that goes back is rounded apart from its tax, so the two may be this far from the rate."""


@dataclass(frozen=True, slots=True)
class Party:
    """Seller or buyer. A person's name is split for the document; a company has a tax office."""

    name: str
    tax_id: str
    tax_office: str
    address: str
    district: str
    city: str
    email: str = ""
    phone: str = ""
    website: str = ""  # where it was sold; the law asks for it on sales over the internet
    country: str = "Türkiye"

    @property
    def is_person(self) -> bool:
        """People have eleven digits, companies ten."""
        return len(self.tax_id) == 11

    @property
    def given_and_family_name(self) -> tuple[str, str]:
        """The last word is the family name."""
        given, _, family = self.name.rpartition(" ")
        return given or family, family


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one piece."""

    name: str
    net_kurus: int
    vat_kurus: int
    vat_bps: int


@dataclass(frozen=True, slots=True)
class Document:
    """An invoice."""

    kind: Kind
    profile: str
    number: str
    ettn: str
    issued_at: datetime  # in Istanbul's time
    seller: Party
    buyer: Party
    lines: tuple[Line, ...]
    note: str = ""
    returned_number: str = ""  # the invoice that this one takes back
    returned_on: str = ""
    paid_on: str = ""  # by card
    currency: str = "TRY"

    @property
    def net_kurus(self) -> int:
        """Sum of the lines."""
        return sum(line.net_kurus for line in self.lines)

    @property
    def vat_kurus(self) -> int:
        """Sum of the lines."""
        return sum(line.vat_kurus for line in self.lines)

    @property
    def gross_kurus(self) -> int:
        """What is to be paid."""
        return self.net_kurus + self.vat_kurus

    def rates(self) -> list[tuple[int, int, int]]:
        """Rate in basis points, net and VAT of each rate, smallest rate first."""
        found: dict[int, tuple[int, int]] = {}
        for line in self.lines:
            net, vat = found.get(line.vat_bps, (0, 0))
            found[line.vat_bps] = (net + line.net_kurus, vat + line.vat_kurus)
        return [(rate, *found[rate]) for rate in sorted(found)]

    def to_json(self) -> str:
        """For the store."""
        return json.dumps({**asdict(self), "issued_at": self.issued_at.isoformat()}, ensure_ascii=False)


def from_json(text: str) -> Document:
    """What `to_json` wrote."""
    values: dict[str, Any] = json.loads(text)
    values["kind"] = Kind(values["kind"])
    values["issued_at"] = datetime.fromisoformat(values["issued_at"])
    values["seller"], values["buyer"] = Party(**values["seller"]), Party(**values["buyer"])
    values["lines"] = tuple(Line(**line) for line in values["lines"])
    return Document(**values)


def problems(document: Document) -> list[str]:
    """Why the document may not be issued; empty where it may."""
    found = []
    seller, buyer = document.seller, document.buyer
    if not is_vkn(seller.tax_id):
        found.append("the seller's VKN is wrong")
    if not (is_vkn(buyer.tax_id) or is_tckn(buyer.tax_id) or buyer.tax_id == UNKNOWN_PERSON):
        found.append("the buyer's tax number is wrong")
    if document.profile == BASIC and buyer.tax_id == UNKNOWN_PERSON:
        found.append("an e-Fatura needs the buyer's number")
    for party in (seller, buyer):
        if not all((party.name, party.city, party.district, party.country)):
            found.append("a party has no name or address")
    if len(document.number) != NUMBER_CHARACTERS or document.number[3:7] != str(document.issued_at.year):
        found.append("the number is wrong")
    if (document.kind is Kind.RETURN) != bool(document.returned_number):
        found.append("a return names what it takes back, and nothing else does")
    return found + [text for line in document.lines for text in _line_problems(line)] + _empty(document)


def _line_problems(line: Line) -> list[str]:
    if line.net_kurus <= 0 or line.vat_kurus < 0 or line.vat_bps <= 0:
        return ["a line is not above zero"]
    if abs(share(line.net_kurus, line.vat_bps, BPS) - line.vat_kurus) > ROUNDING_KURUS:
        return ["a line's tax does not follow from its rate"]
    return []


def _empty(document: Document) -> list[str]:
    return [] if document.lines else ["there is no line"]
