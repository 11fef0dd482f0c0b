"""The gRPC service itself, and its port."""

import grpc

from core.admin.accounts import Accounts
from core.admin.gate import BearerGate, RoleGate
from core.admin.keys import Keys
from core.admin.ledger import Ledger
from core.admin.limits import Limits
from core.admin.markups import Markups
from core.admin.models import Models
from core.admin.money import Money
from core.admin.processes import Processes
from core.admin.rates import Rates
from core.admin.requests import Requests
from core.admin.statements import Statements
from core.admin.tasks import Tasks
from proto.onysoft.v1.admin_pb2_grpc import AdminServicer, add_AdminServicer_to_server
from runtime.errors import OperatorError
from runtime.settings import Settings

TOKEN_CHARACTERS_MIN = 16
CALLS_MAX = 64
METADATA_BYTES_MAX = 65_536  # with all accounts that a caller may name


class AdminService(
    Accounts, Money, Markups, Keys, Limits, Rates, Models, Requests, Statements, Tasks, Ledger, Processes, AdminServicer
):
    """Serves one core's admin port on that core's own replica: the subjects, composed."""


async def serve_admin(service: AdminService, settings: Settings) -> tuple[grpc.aio.Server, int]:
    """Listen on the admin port; the server and its port. End it with `await server.stop(STOP_GRACE_S)`.

    Raises OperatorError when the address is taken, or when a secret that keeps others out is missing.
    """
    token = settings.admin_token.get_secret_value()
    if len(token) < TOKEN_CHARACTERS_MIN:
        raise OperatorError(f"ONYSOFT_ADMIN_TOKEN must have at least {TOKEN_CHARACTERS_MIN} characters")
    if not settings.key_pepper.get_secret_value():
        raise OperatorError("ONYSOFT_KEY_PEPPER must be set, to the same value for every core and edge")
    server = grpc.aio.server(
        interceptors=[BearerGate(token), RoleGate(service.desk)],
        maximum_concurrent_rpcs=CALLS_MAX,
        options=[("grpc.so_reuseport", 0), ("grpc.max_metadata_size", METADATA_BYTES_MAX)],
    )
    add_AdminServicer_to_server(service, server)
    address = f"{settings.admin_host}:{settings.admin_port}"
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        raise OperatorError(f"cannot listen on {address}: is it in use?") from None
    await server.start()
    return server, port
