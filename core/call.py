"""One call in a core, whatever kind it is of: its lease, its hold's end, and how each failure reaches the client."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

from bus.bodies import fetch_body
from bus.errors import BusError, Overloaded
from bus.frames import Answer, ClientGone
from bus.writer import Applied
from core.admission import refusal_of
from core.ledger.accounts import Account
from core.ledger.outcome import Code, Outcome
from core.ledger.verdicts import describe_limit, find_caller, why_refused
from core.ledger.windows import windows_of
from core.phase import Interrupted, Phase
from core.providers.port import ProviderFailure
from core.resources import Resources
from core.routing import Tally
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1 import work_pb2
from runtime.errors import Refusal

RELEASE_WAIT_S = 2.0
OVERLOAD_PAUSE_S = 0.05

_monotonic = time.monotonic


class Call(ABC):
    """One attempt of one request. `run` always ends the hold that it opened, or leaves it to its lease."""

    def __init__(self, resources: Resources, work: work_pb2.WorkRequest, answer: Answer) -> None:
        self.work = work
        self.request_id = work.request_id
        self.attempt = work.attempt
        self.account_id = work.account_id
        self.root_id = work.account_id
        self.account: Account
        self.answer = answer
        self.phase = Phase.VERDICT
        self.interrupted: Interrupted | None = None
        self.task: asyncio.Task[None] | None = None
        self.began_at = _monotonic()
        self.lease_until = 0.0
        self.renewing = False
        self._resources = resources
        self._replica = resources.replica
        self._tally = Tally()
        self._opened = False
        self._rate_limit = (0, 0, 0)
        answer.on_cancel = self._on_cancel

    async def run(self) -> None:
        """Serve the call to its end; every refusal and failure reaches the client as an error of the catalogue."""
        try:
            await self._serve()
        except Refusal as refusal:
            await self.fail(
                refusal.error.code, refusal.detail, refusal.retry_after_s, do_not_retry=refusal.do_not_retry
            )
        except ProviderFailure as failure:
            await self._release_after(failure)
        except ClientGone:
            await self._release(pb.CLIENT_LEFT)
        except BusError:
            await self._release(pb.CORE_STOPPED)
            await self.fail("service_unavailable", retry_after_s=1)
        except asyncio.CancelledError:
            if self.interrupted is None:
                raise
            self.resume()
            await self._end_interrupted(self.interrupted)

    def interrupt(self, reason: Interrupted) -> None:
        """Stop waiting for a verdict or a provider; what was begun is ended properly."""
        if self.interrupted is None and self.phase in (Phase.VERDICT, Phase.PROVIDER) and self.task is not None:
            self.interrupted = reason
            self.task.cancel()

    def renew_lease(self, now: float) -> None:
        """Extend the hold's deadline; at most one extension is under way."""
        if self.renewing:
            return
        lease_s = self._resources.settings.hold_lease_s
        event = pb.Event(
            hold_extended=pb.HoldExtended(
                request_id=self.request_id, attempt=self.attempt, lease_ms=int(lease_s * 1000)
            )
        )
        try:
            future = self._replica.append(self.root_id, event)
        except Overloaded:
            return
        self.renewing = True
        future.add_done_callback(lambda done: self._on_renewed(done, now + lease_s))

    def _on_renewed(self, done: asyncio.Future[Applied], lease_until: float) -> None:
        self.renewing = False
        if done.cancelled() or done.exception() is not None:
            return
        if done.result().outcome.code is Code.EXTENDED:
            self.lease_until = max(self.lease_until, lease_until)

    async def abandon(self) -> None:
        """End what a defect left open: no charge, an error for the client."""
        await self._release(pb.CORE_STOPPED)
        await self.fail("internal_error")

    def _on_cancel(self) -> None:
        if self.phase is Phase.PROVIDER and self.work.stream:
            self.interrupt(Interrupted.CLIENT_LEFT)

    def resume(self) -> None:
        """The interruption has been taken note of; go on to the call's proper end."""
        if self.task is not None:
            self.task.uncancel()

    async def _body(self) -> bytes:
        """The client's JSON: with the request, or pulled from the edge."""
        work = self.work
        return work.body or await fetch_body(self._resources.bulk, work.edge, self.request_id, work.body_ref)

    @abstractmethod
    async def _serve(self) -> None:
        """What this kind of call does; `run` takes care of every way in which it can end."""

    async def _account(self) -> Account:
        """The paying account. A key or account that this replica does not know yet may stand in the log already."""
        state = self._replica.state
        if self.account_id not in state.accounts or self.work.key_id not in state.keys:
            await self._replica.fresh()
        account = state.accounts.get(self.account_id)
        if account is None:
            raise Refusal("invalid_api_key")
        return account

    def _now_ms(self) -> int:
        return max(self._replica.state.time_ms, time.time_ns() // 1_000_000)

    def _foreseen(self, account: Account, opened: pb.RequestOpened) -> Outcome | None:
        """The refusal that the ledger would give, were this appended now; None when it may admit."""
        windows = windows_of(now_ms := self._now_ms())
        caller = find_caller(self._replica.state, opened.account_id, opened.key_id)
        if caller is None:
            return describe_limit(Outcome(Code.KEY_REFUSED), account, account.lineage, opened.model, windows)
        refused = why_refused(caller, opened, windows, now_ms, counted=self.attempt == 1)
        if refused is None:
            return None
        return describe_limit(Outcome(refused.code), account, caller.owners, opened.model, windows, refused.reset_s)

    async def _open(self, opening: pb.Event) -> Outcome:
        lease_until = _monotonic() + self._resources.settings.hold_lease_s
        applied = await self._replica.append(self.root_id, opening)
        self.lease_until = lease_until
        outcome: Outcome = applied.outcome
        self._rate_limit = (outcome.limit, outcome.remaining, outcome.reset_s)
        return outcome

    def _refusal(self, outcome: Outcome) -> Refusal:
        self._rate_limit = (outcome.limit, outcome.remaining, outcome.reset_s)
        return refusal_of(outcome, self._now_ms() // 1000)

    async def _append_surely(self, event: pb.Event) -> Applied:
        """An outcome is never dropped: where too much is queued, wait."""
        while True:
            try:
                future = self._replica.append(self.root_id, event)
            except Overloaded:
                await asyncio.sleep(OVERLOAD_PAUSE_S)
            else:
                return await future

    def trace_headers(self) -> Mapping[str, str]:
        """W3C trace context for the provider."""
        if not self.work.traceparent:
            return {}
        headers = {"traceparent": self.work.traceparent}
        if self.work.tracestate:
            headers["tracestate"] = self.work.tracestate
        return headers

    def remaining_s(self) -> float:
        """Seconds until the call's own limit."""
        return max(0.1, self._resources.settings.call_timeout_s - (_monotonic() - self.began_at))

    async def _release_after(self, failure: ProviderFailure) -> None:
        timeout = failure.client_code == "provider_timeout"
        refused = failure.client_code in ("invalid_request", "model_not_supported")
        reason = pb.PROVIDER_REFUSED if refused else pb.PROVIDER_TIMEOUT if timeout else pb.PROVIDER_FAILED
        await self._release(reason)
        retry_after_s = (failure.retry_after_s or 5) if failure.client_code == "service_unavailable" else 0
        await self.fail(failure.client_code, failure.client_detail, retry_after_s)

    async def _release(self, reason: pb.ReleaseReason.ValueType) -> None:
        """End the hold without a charge; wait for it a little, so that the client sees its balance whole."""
        self.phase = Phase.ENDING
        if not self._opened:
            return
        self._opened = False
        released = pb.RequestReleased(
            request_id=self.request_id,
            attempt=self.attempt,
            reason=reason,
            provider_calls=self._tally.calls,
        )
        append = asyncio.ensure_future(self._append_surely(pb.Event(request_released=released)))
        await asyncio.wait((append,), timeout=RELEASE_WAIT_S)

    async def _end_interrupted(self, reason: Interrupted) -> None:
        """An interruption that no answer in progress has taken care of."""
        if self.phase is Phase.VERDICT:
            self._opened = True  # it may be admitted yet; the release follows it in the log
        if reason is Interrupted.SUPERSEDED:
            self.answer.close()
        elif reason is Interrupted.CLIENT_LEFT:
            await self._release(pb.CLIENT_LEFT)
        elif reason is Interrupted.VERDICT_LATE:
            await self._release(pb.VERDICT_TOO_LATE)
            await self.fail("service_unavailable", retry_after_s=2)
        elif reason is Interrupted.LEASE_OVER:
            await self._release(pb.PROVIDER_TIMEOUT)
            await self.fail("provider_timeout")
        else:
            await self._release(pb.CORE_STOPPED)
            await self.fail("service_unavailable", retry_after_s=1)

    async def fail(self, code: str, detail: str = "", retry_after_s: int = 0, do_not_retry: bool = False) -> None:
        """End the answer with an error of the catalogue."""
        limit = self._rate_limit if self._rate_limit[2] else None
        self._resources.counters.failure(code)
        await self.answer.fail(code, detail, retry_after_s, do_not_retry, limit, self._replica.state.position)
