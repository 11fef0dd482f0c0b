"""An invoice as UBL-TR 1.2 (on UBL 2.1). Elements stand in the schema's order; the integrator signs.

The rules are the tax administration's: e-Fatura package, UBL-TR 1.2 guide.
"""

from lxml import etree
from lxml.etree import _Element as Element

from console.invoices.document import ARCHIVE, Document, Line, Party
from console.invoices.tables import Kind
from console.payments.money import to_text

INVOICE = "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
CAC = "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"
CBC = "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"
EXT = "urn:oasis:names:specification:ubl:schema:xsd:CommonExtensionComponents-2"
VAT_CODE = "0015"
PIECE = "C62"
BANK_CARD = "48"
_NAMES = {None: INVOICE, "cac": CAC, "cbc": CBC, "ext": EXT}
_PLACEHOLDER = "{http://www.altova.com/samplexml/other-namespace}auto-generated_for_wildcard"
"""What usually stands where the integrator puts the signature: the schema wants an element there."""
_TYPES = {Kind.SALE: "SATIS", Kind.RETURN: "IADE"}


def to_xml(document: Document) -> bytes:
    """The whole text, ready to be signed."""
    root = etree.Element(etree.QName(INVOICE, "Invoice"), nsmap=_NAMES)
    _head(root, document)
    if document.kind is Kind.RETURN:
        _returned(root, document)
    if document.profile == ARCHIVE:
        _sent_electronically(root, document)
    _signature(root, document.seller)
    _party(_cac(root, "AccountingSupplierParty"), document.seller)
    _party(_cac(root, "AccountingCustomerParty"), document.buyer)
    if document.paid_on:
        _paid(root, document)
    _taxes(root, document, document.rates())
    total = _cac(root, "LegalMonetaryTotal")
    _money(total, "LineExtensionAmount", document.net_kurus, document)
    _money(total, "TaxExclusiveAmount", document.net_kurus, document)
    _money(total, "TaxInclusiveAmount", document.gross_kurus, document)
    _money(total, "PayableAmount", document.gross_kurus, document)
    for number, line in enumerate(document.lines, 1):
        _line(root, number, line, document)
    text: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return text


def _cac(parent: Element, name: str) -> Element:
    return etree.SubElement(parent, etree.QName(CAC, name))


def _cbc(parent: Element, name: str, text: str, **attributes: str) -> Element:
    made = etree.SubElement(parent, etree.QName(CBC, name), attributes)
    made.text = text
    return made


def _money(parent: Element, name: str, kurus: int, document: Document) -> None:
    _cbc(parent, name, to_text(kurus), currencyID=document.currency)


def _head(root: Element, document: Document) -> None:
    extension = etree.SubElement(etree.SubElement(root, f"{{{EXT}}}UBLExtensions"), f"{{{EXT}}}UBLExtension")
    etree.SubElement(etree.SubElement(extension, f"{{{EXT}}}ExtensionContent"), _PLACEHOLDER)
    _cbc(root, "UBLVersionID", "2.1")
    _cbc(root, "CustomizationID", "TR1.2")
    _cbc(root, "ProfileID", document.profile)
    _cbc(root, "ID", document.number)
    _cbc(root, "CopyIndicator", "false")
    _cbc(root, "UUID", document.ettn)
    _cbc(root, "IssueDate", document.issued_at.strftime("%Y-%m-%d"))
    _cbc(root, "IssueTime", document.issued_at.strftime("%H:%M:%S"))
    _cbc(root, "InvoiceTypeCode", _TYPES[document.kind])
    if document.note:
        _cbc(root, "Note", document.note)
    _cbc(root, "DocumentCurrencyCode", document.currency)
    _cbc(root, "LineCountNumeric", str(len(document.lines)))


def _returned(root: Element, document: Document) -> None:
    reference = _cac(_cac(root, "BillingReference"), "InvoiceDocumentReference")
    _cbc(reference, "ID", document.returned_number)
    _cbc(reference, "IssueDate", document.returned_on)
    _cbc(reference, "DocumentTypeCode", "IADE")


def _sent_electronically(root: Element, document: Document) -> None:
    reference = _cac(root, "AdditionalDocumentReference")
    _cbc(reference, "ID", "ELEKTRONIK")
    _cbc(reference, "IssueDate", document.issued_at.strftime("%Y-%m-%d"))
    _cbc(reference, "DocumentTypeCode", "SendingType")


def _signature(root: Element, seller: Party) -> None:
    signature = _cac(root, "Signature")
    _cbc(signature, "ID", seller.tax_id, schemeID="VKN_TCKN")
    signatory = _cac(signature, "SignatoryParty")
    _cbc(_cac(signatory, "PartyIdentification"), "ID", seller.tax_id, schemeID="VKN")
    _address(signatory, seller)
    reference = _cac(_cac(signature, "DigitalSignatureAttachment"), "ExternalReference")
    _cbc(reference, "URI", f"#Signature_{seller.tax_id}")


def _address(parent: Element, party: Party) -> None:
    address = _cac(parent, "PostalAddress")
    _cbc(address, "StreetName", party.address)
    _cbc(address, "CitySubdivisionName", party.district)
    _cbc(address, "CityName", party.city)
    _cbc(_cac(address, "Country"), "Name", party.country)


def _party(parent: Element, party: Party) -> None:
    made = _cac(parent, "Party")
    if party.website:
        _cbc(made, "WebsiteURI", party.website)
    scheme = "TCKN" if party.is_person else "VKN"
    _cbc(_cac(made, "PartyIdentification"), "ID", party.tax_id, schemeID=scheme)
    if not party.is_person:
        _cbc(_cac(made, "PartyName"), "Name", party.name)
    _address(made, party)
    if party.tax_office:
        _cbc(_cac(_cac(made, "PartyTaxScheme"), "TaxScheme"), "Name", party.tax_office)
    if party.phone or party.email:
        contact = _cac(made, "Contact")
        if party.phone:
            _cbc(contact, "Telephone", party.phone)
        if party.email:
            _cbc(contact, "ElectronicMail", party.email)
    if party.is_person:
        person = _cac(made, "Person")
        given, family = party.given_and_family_name
        _cbc(person, "FirstName", given)
        _cbc(person, "FamilyName", family)


def _paid(root: Element, document: Document) -> None:
    means = _cac(root, "PaymentMeans")
    _cbc(means, "PaymentMeansCode", BANK_CARD)
    _cbc(means, "PaymentDueDate", document.paid_on)


def _taxes(parent: Element, document: Document, rates: list[tuple[int, int, int]]) -> None:
    total = _cac(parent, "TaxTotal")
    _money(total, "TaxAmount", sum(vat for _, _, vat in rates), document)
    for rate, net, vat in rates:
        part = _cac(total, "TaxSubtotal")
        _money(part, "TaxableAmount", net, document)
        _money(part, "TaxAmount", vat, document)
        _cbc(part, "CalculationSequenceNumeric", "1")
        _cbc(part, "Percent", to_text(rate).removesuffix(".00"))
        scheme = _cac(_cac(part, "TaxCategory"), "TaxScheme")
        _cbc(scheme, "Name", "KDV")
        _cbc(scheme, "TaxTypeCode", VAT_CODE)


def _line(root: Element, number: int, line: Line, document: Document) -> None:
    made = _cac(root, "InvoiceLine")
    _cbc(made, "ID", str(number))
    _cbc(made, "InvoicedQuantity", "1", unitCode=PIECE)
    _money(made, "LineExtensionAmount", line.net_kurus, document)
    _taxes(made, document, [(line.vat_bps, line.net_kurus, line.vat_kurus)])
    _cbc(_cac(made, "Item"), "Name", line.name)
    _money(_cac(made, "Price"), "PriceAmount", line.net_kurus, document)
