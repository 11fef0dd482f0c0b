"""`python -m launcher.demo DATA`: the demo account of an instance, with 100 TL, a rate and a key.

Each step is remembered in secrets.json, so that a second start, or one after a crash half way, repeats none of them.
"""

import os
import sys
from pathlib import Path

from cli.client import AdminClient, CallFailed
from launcher.folder import Folder
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1.ledger_pb2 import TRY, USD, USER

_CONNECT_TIMEOUT_S = 45.0
_CREDIT = "100.00"
_REFERENCE = "demo"
_USD_IN_TRY = "40.00"
_REQUESTS_PER_MINUTE = 6_000
_REQUESTS_PER_DAY = 1_000_000


def open_demo(client: AdminClient, kept: dict[str, str]) -> None:
    """Bring `kept` (account_id, api_key, fx_set) to where a demo needs it. Raises CallFailed."""
    if not _account_exists(client, kept):
        for name in ("api_key", "fx_set"):
            kept.pop(name, None)
        request = admin.OpenAccountRequest(
            kind=USER,
            name="demo",
            currency=TRY,
            requests_per_minute=_REQUESTS_PER_MINUTE,
            requests_per_day=_REQUESTS_PER_DAY,
        )
        kept["account_id"] = client.call("OpenAccount", request).account_id
    if "api_key" in kept:
        return
    account_id = kept["account_id"]
    credit = admin.CreditAccountRequest(account_id=account_id, amount=_CREDIT, reference=_REFERENCE)
    client.call("CreditAccount", credit)
    if "fx_set" not in kept:
        client.call("SetFxRate", admin.SetFxRateRequest(base=USD, rate=_USD_IN_TRY))
        kept["fx_set"] = _USD_IN_TRY
    kept["api_key"] = client.call("IssueKey", admin.IssueKeyRequest(account_id=account_id, name="demo")).api_key


def _account_exists(client: AdminClient, kept: dict[str, str]) -> bool:
    if "account_id" not in kept:
        return False
    try:
        client.call("GetAccount", admin.AccountRef(account_id=kept["account_id"]))
    except CallFailed as failure:
        if failure.code != "not_found":
            raise
        return False
    return True


def main() -> int:
    """Called by the supervisor once a core is ready; the address and token come from its environment."""
    folder = Folder(Path(sys.argv[1]), lock=-1)
    kept = folder.secrets()
    try:
        addresses, token = os.environ["ONYSOFT_ADMIN_ADDRESS"].split(","), os.environ["ONYSOFT_ADMIN_TOKEN"]
        client = AdminClient(addresses, token, _CONNECT_TIMEOUT_S)
        open_demo(client, kept)
        if os.environ.get("ONYSOFT_CONSOLE_DIR"):
            from launcher.people import open_people

            open_people(client, os.environ, kept)
    except CallFailed as failure:
        sys.stderr.write(f"demo account: {failure.message}\n")
        return 1
    finally:
        folder.keep_secrets(kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
