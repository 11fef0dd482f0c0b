"""The gRPC admin service: what operators do. Every core serves it; what it writes goes through the ledger alone.

One module a subject (`accounts`, `keys`, …) over one `desk`, which appends, reads and shows.
"""

from core.admin.desk import Desk
from core.admin.service import AdminService, serve_admin

__all__ = ["AdminService", "Desk", "serve_admin"]
