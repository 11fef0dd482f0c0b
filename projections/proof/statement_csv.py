"""A statement as a CSV file that its reader can check: names and values, the lines, and the proof in the last row.

The check needs this file and a copy of the published checkpoints, no connection and no trust in the house:

1. the lines, hashed one after the other, lead from the opening chain hash to the closing one, so no line was left out,
   added or changed;
2. opening balance plus the lines is the closing balance;
3. both ends are leaves under roots that were published for everybody.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from core.ledger.money import from_text, to_text
from projections.proof.books import COLUMNS, chained, moment
from projections.proof.commitments import Published, Standing, root_from
from projections.proof.statement import ISTANBUL, Bound, Statement
from runtime.ids import ACCOUNT, parse, text

FORMAT = "onysoft statement 1"
PROBLEMS_MAX = 20
"""Problems that a check tells: one changed line may make every balance behind it wrong."""

_BALANCE_AT = COLUMNS.index("amount") + 1
_HEADER = (*COLUMNS[:_BALANCE_AT], "balance", *COLUMNS[_BALANCE_AT:])


class NotAStatement(ValueError):
    """The file cannot be read as a statement."""


def to_csv(statement: Statement) -> str:
    """The file's text."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerows(facts(statement))
    rows.writerow(())
    rows.writerow(_HEADER)
    balance = statement.opening.standing.balance_nano
    for line in statement.lines:
        balance += line.amount_nano
        fields = line.fields()
        rows.writerow((*fields[:_BALANCE_AT], to_text(balance), *fields[_BALANCE_AT:]))
    rows.writerow(())
    proof = {"opening": _end(statement.opening), "closing": _end(statement.closing)}
    rows.writerow(("proof", orjson.dumps(proof).decode()))
    return out.getvalue()


def facts(statement: Statement) -> list[tuple[str, str]]:
    """What stands above the lines."""
    opening, closing = statement.opening, statement.closing
    return [
        ("format", FORMAT),
        ("account", text(ACCOUNT, statement.account_id)),
        ("currency", statement.currency),
        ("month", statement.month),
        ("from", datetime.fromtimestamp(statement.first_ms / 1000, ISTANBUL).isoformat()),
        ("to", _end_of(statement)),
        ("complete", "yes" if statement.month_over else "no, the month is not over"),
        ("opening balance", to_text(opening.standing.balance_nano)),
        ("closing balance", to_text(closing.standing.balance_nano)),
        ("lines", str(len(statement.lines))),
        ("ledger positions", f"{opening.published.position + 1} to {closing.published.position}"),
        ("ledger chain hash", closing.published.chain_hash),
        ("published root", closing.published.root),
    ]


def _end_of(statement: Statement) -> str:
    end_ms = statement.end_ms if statement.month_over else statement.closing.published.time_ms
    return datetime.fromtimestamp(end_ms / 1000, ISTANBUL).isoformat()


def _end(bound: Bound) -> dict[str, Any]:
    standing = bound.standing
    return {
        "position": bound.published.position,
        "time": moment(bound.published.time_ms),
        "credits_nano": standing.credits_nano,
        "charges_nano": standing.charges_nano,
        "lines": standing.lines,
        "chain_hash": standing.chain_hash.hex(),
        "path": None if bound.path is None else [[side, each.hex()] for side, each in bound.path],
        "root": bound.published.root,
    }


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check of a statement found; `problems` is empty when all of it holds."""

    account: str
    month: str
    lines: int
    opening_balance: str
    closing_balance: str
    positions: tuple[int, int]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the statement is proven."""
        return not self.problems


def check(content: str, published: Iterable[Published]) -> Checked:
    """Check a statement against published checkpoints. Raises NotAStatement."""
    try:
        named, lines, proof = _parse(content)
        account_id = parse(ACCOUNT, named["account"])
        opening, closing = proof["opening"], proof["closing"]
        start, end = _standing(account_id, opening), _standing(account_id, closing)
        problems = [*_check_lines(lines, start, end), *_check_named(named, lines, start, end)]
        lines_of = {each.position: each for each in published}
        problems += _check_end("opening", opening, start, lines_of)
        problems += _check_end("closing", closing, end, lines_of)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise NotAStatement(f"not a statement, or cut off: {type(error).__name__}") from error
    return Checked(
        account=named["account"],
        month=named["month"],
        lines=len(lines),
        opening_balance=to_text(start.balance_nano),
        closing_balance=to_text(end.balance_nano),
        positions=(int(opening["position"]), int(closing["position"])),
        problems=tuple(problems[:PROBLEMS_MAX]),
    )


def _parse(content: str) -> tuple[dict[str, str], list[list[str]], dict[str, Any]]:
    rows = [row for row in csv.reader(io.StringIO(content.lstrip("\ufeff"))) if any(row)]
    start = next((number for number, row in enumerate(rows) if row[0] == _HEADER[0]), len(rows))
    named = {row[0]: row[1] for row in rows[:start]}
    if named["format"] != FORMAT or rows[-1][0] != "proof" or tuple(rows[start][: len(_HEADER)]) != _HEADER:
        raise NotAStatement("not a statement of this format, or cut off")
    proof: dict[str, Any] = orjson.loads(rows[-1][1])
    return named, [row[: len(_HEADER)] for row in rows[start + 1 : -1]], proof


def _standing(account_id: bytes, end: dict[str, Any]) -> Standing:
    chain_hash = bytes.fromhex(end["chain_hash"])
    return Standing(account_id, int(end["credits_nano"]), int(end["charges_nano"]), int(end["lines"]), chain_hash)


def _check_lines(lines: list[list[str]], start: Standing, end: Standing) -> Iterable[str]:
    """Chain, count and sums."""
    chain, balance = start.chain_hash, start.balance_nano
    for number, row in enumerate(lines, 1):
        balance += from_text(row[_BALANCE_AT - 1])
        if from_text(row[_BALANCE_AT]) != balance:
            yield f"line {number}, position {row[0]}: the balance is not the one before plus the amount"
            balance = from_text(row[_BALANCE_AT])
        chain = chained(chain, (*row[:_BALANCE_AT], *row[_BALANCE_AT + 1 :]))
    if len(lines) != end.lines - start.lines:
        yield f"there are {len(lines)} lines; the account has {end.lines - start.lines} between these positions"
    elif chain != end.chain_hash:
        yield "a line was changed: they do not lead to the closing chain hash"
    if balance != end.balance_nano:
        yield f"opening balance and lines make {to_text(balance)}, not the closing {to_text(end.balance_nano)}"


def _check_named(named: dict[str, str], lines: list[list[str]], start: Standing, end: Standing) -> Iterable[str]:
    stated = (named["opening balance"], named["closing balance"], named["lines"])
    if stated != (to_text(start.balance_nano), to_text(end.balance_nano), str(len(lines))):
        yield "the balances or the number of lines at the top are not those of the proof"


def _check_end(name: str, end: dict[str, Any], standing: Standing, lines_of: dict[int, Published]) -> Iterable[str]:
    """A leaf under a published root. Before the log's first message there is nothing, and nothing to publish."""
    position = int(end["position"])
    nothing = (standing.balance_nano, standing.lines, standing.chain_hash) == (0, 0, bytes(32))
    if not position:
        if not nothing:
            yield f"the {name} position is 0, but the account has something there"
        return
    line = lines_of.get(position)
    if line is None:
        yield f"the {name} position {position} is not in the published checkpoints"
    elif line.root != end["root"]:
        yield f"the published root of position {position} is not the one in the {name} proof"
    elif end["path"] is None:
        if not nothing:
            yield f"the {name} proof has no path"
        # An account that was opened later is in no tree; that it had nothing follows from its first line's chain.
    elif root_from(standing.leaf(), [(side, bytes.fromhex(each)) for side, each in end["path"]]).hex() != line.root:
        yield f"the account's {name} balance and lines are not under the published root of position {position}"
