"""Which rules hold: version → event → handler, and the event that switches them."""

from core.ledger.outcome import Code, FoldStopped, Outcome
from core.ledger.rules import VERSION_1, Handler
from core.ledger.rules_v2 import VERSION_2
from core.ledger.state import State
from proto.onysoft.v1 import ledger_pb2 as pb


class UnknownRules(FoldStopped):
    """The log asks for rules that this release does not have."""

    def __init__(self, version: int) -> None:
        super().__init__(f"rules version {version} is unknown to this release")


def _rules_activated(state: State, event: pb.RulesActivated) -> Outcome:
    if event.version not in HANDLERS:
        raise UnknownRules(event.version)
    if event.version < state.rules_version:
        return Outcome(Code.INVALID)
    if event.version > state.rules_version:
        state.activate_rules(event.version)
    return Outcome(Code.APPLIED)


HANDLERS: dict[int, dict[str, Handler]] = {
    version: {"rules_activated": _rules_activated, **handlers} for version, handlers in ((1, VERSION_1), (2, VERSION_2))
}


NEWEST = max(HANDLERS)
"""What a new ledger begins with."""
