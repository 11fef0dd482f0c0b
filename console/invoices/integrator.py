"""Whoever passes invoices to the tax administration: the port, and a folder for when there is nobody."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from console.invoices.tables import State


class IntegratorFailed(Exception):
    """Nothing is known; asking again is right."""


class Refused(Exception):
    """The integrator will not take this invoice; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Letter:
    """An invoice to be sent."""

    number: str
    ettn: str
    profile: str
    alias: str  # the buyer's mailbox; empty for e-Arşiv
    xml: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an invoice has come, and why it was rejected."""

    state: State
    reason: str = ""


class Integrator(Protocol):
    """Every method may raise IntegratorFailed."""

    def mailbox(self, tax_id: str) -> str:
        """The e-Fatura mailbox of a registered taxpayer; empty for everybody else, who gets e-Arşiv."""

    def send(self, letter: Letter) -> None:
        """Hand it over; a second time with the same ETTN changes nothing. Raises Refused."""

    def standing(self, letter: Letter) -> Standing:
        """How far it has come."""


class Folder:
    """Invoices as XML files; taxpayers are those in `registered.txt`, a number and a mailbox a line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def mailbox(self, tax_id: str) -> str:
        """From the file; empty where there is none."""
        path = self._folder / "registered.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return {number: alias for number, _, alias in (line.partition(" ") for line in lines)}.get(tax_id, "").strip()

    def send(self, letter: Letter) -> None:
        """One file, written whole."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = self._folder / f".{letter.number}.xml"
        unfinished.write_bytes(letter.xml)
        unfinished.replace(self._folder / f"{letter.number}.xml")

    def standing(self, letter: Letter) -> Standing:
        """Whatever lies there is accepted."""
        there = (self._folder / f"{letter.number}.xml").exists()
        return Standing(State.ACCEPTED if there else State.ISSUED)
