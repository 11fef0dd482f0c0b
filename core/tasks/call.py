"""One generate call in a core: admitted by the ledger, begun once at the provider, answered with a task's id.

KieAI knows no idempotency key, so no create is repeated whose fate is not known. A record is written before it, over
none: of all attempts, cores and retries one alone may write it, and only who did creates. Who dies after that leaves a
hold that ends with its lease, and maybe a task that the house pays for; never two, and never a charge.
"""

import asyncio
from typing import Any

import orjson

from bus.errors import BusError
from bus.frames import Answer, ClientGone
from bus.tasks import Conflict, enqueue, read_task, write_task
from core.admission import tariff_of
from core.call import Call
from core.ledger.accounts import Account
from core.ledger.outcome import Code
from core.media.catalogue import MediaCatalogue
from core.media.prepare import Prepared, prepare, provider_request
from core.media.pricing import Quote, quote
from core.media.schema import MediaModel
from core.phase import Phase
from core.pricing import Tariff
from core.providers.port import FailureKind, ProviderFailure
from core.providers.tasks import Begun, Progress
from core.resources import Resources
from core.tasks import offer, records, sources, webhooks
from core.tasks.desk import TaskDesk, price
from files.names import callback_mark, webhook_secret
from proto.onysoft.v1 import ledger_pb2 as ledger
from proto.onysoft.v1 import task_pb2 as pb
from proto.onysoft.v1 import work_pb2
from proto.onysoft.v1.task_pb2 import TaskRecord
from runtime.errors import Refusal
from runtime.ids import TASK, text
from runtime.log import log

CALLBACK_PATH = "/v1/callbacks/"
CREATES_MAX = 2
"""A create that the provider has refused to look at (429, no connection) is tried once more."""
CREATE_PAUSE_S = 1.0
OTHERS_WAIT_S = 20.0
"""How long an attempt waits for the answer to another attempt's create."""
OTHERS_POLL_S = 0.25
ACCEPTED = 202

_NOT_BEGUN = frozenset((FailureKind.UNAVAILABLE, FailureKind.RATE_LIMITED))


class MediaCall(Call):
    """One attempt of one generate request. `run` always ends the hold that it opened, or leaves it to the task."""

    def __init__(
        self,
        resources: Resources,
        desk: TaskDesk,
        catalogue: MediaCatalogue,
        work: work_pb2.WorkRequest,
        answer: Answer,
    ) -> None:
        super().__init__(resources, work, answer)
        self._desk = desk
        self._catalogue = catalogue
        self._provider = next(iter(desk.providers))
        self._record = TaskRecord()
        self._position = 0

    async def _serve(self) -> None:
        if self.attempt > 1 and await self._taken_over():
            return
        request = orjson.loads(await self._body())
        model = self._model()
        prepared = prepare(model, request)
        callback_url = webhooks.checked_url(
            request.get("callback_url"), self._resources.settings.callback_private_addresses
        )
        quoted = quote(model, prepared)
        self.account = account = await self._account()
        references = await sources.resolved(self._desk, prepared, self.account_id, self._provider)
        tariff = tariff_of(account, self._replica.state, model.id)
        pace = self._desk.paces[self._provider]
        pace.check()
        await self._hold(model, quoted, tariff)
        self.phase = Phase.PROVIDER
        self._record = self._opened_record(model, quoted, tariff, account, callback_url)
        try:
            await pace.turn()
            if self.answer.cancelled:
                raise ClientGone  # nobody would learn the task's id
            self.phase = Phase.ENDING  # what is begun at the provider cannot be taken back
            await self._begin(model, prepared, dict(references))
        except Refusal:
            await self._release(ledger.PROVIDER_FAILED)
            raise

    def _model(self) -> MediaModel:
        """The model of that id or alias. Raises Refusal model_not_found, for what an operator has withdrawn too."""
        state = self._replica.state
        model = self._catalogue.find(state.aliases.get(self.work.model, self.work.model))
        if not offer.is_on_sale(state, model):
            raise Refusal("model_not_found")
        return model

    # Another attempt's task

    async def _taken_over(self) -> bool:
        """Did an attempt before this one come as far as creating the task? Then its answer is this one's."""
        deadline = self._now() + OTHERS_WAIT_S
        while True:
            stored = await read_task(self._desk.connection, self.request_id)
            if not stored.position:
                return False
            if stored.record.status != pb.CREATING:
                break
            if self._now() > deadline:
                raise Refusal("service_unavailable", retry_after_s=5)
            await asyncio.sleep(OTHERS_POLL_S)
        if stored.record.status == pb.TASK_FAILED:
            raise Refusal("service_unavailable", retry_after_s=1)
        self._record = stored.record
        await self._accept(0)
        return True

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    # The hold

    async def _hold(self, model: MediaModel, quoted: Quote, tariff: Tariff) -> None:
        """Take the hold that the ledger admits. Raises Refusal with its verdict otherwise."""
        self.root_id = self.account.root_id
        opening = self._task_opening(model, quoted, tariff)
        if self._foreseen(self.account, opening.request_opened) is not None:
            await self._replica.fresh()
            refused = self._foreseen(self.account, opening.request_opened)
            if refused is not None:
                raise self._refusal(refused)
        outcome = await self._open(opening)
        if outcome.code is not Code.ADMITTED:
            raise self._refusal(outcome)
        self._opened = True

    def _task_opening(self, model: MediaModel, quoted: Quote, tariff: Tariff) -> ledger.Event:
        return ledger.Event(
            request_opened=ledger.RequestOpened(
                request_id=self.request_id,
                attempt=self.attempt,
                account_id=self.account_id,
                key_id=self.work.key_id,
                key_secret=self.work.key_secret,
                model=model.id,
                hold_nano=tariff.charge_nano(quoted.cost_atto),
                parent_hold_nano=tariff.parent_charge_nano(quoted.cost_atto),
                lease_ms=int(self._resources.settings.hold_lease_s * 1000),
                price_version=quoted.price_version,
            )
        )

    def _opened_record(
        self, model: MediaModel, quoted: Quote, tariff: Tariff, account: Account, callback_url: str
    ) -> TaskRecord:
        now_ms = self._desk.now_ms()
        record = TaskRecord(
            request_id=self.request_id,
            attempt=self.attempt,
            account_id=self.account_id,
            key_id=self.work.key_id,
            model=self.work.model,
            kind=model.kind,
            created_ms=now_ms,
            currency=ledger.Currency.ValueType(account.currency),
            held_nano=tariff.charge_nano(quoted.cost_atto),
            provider=self._provider,
            family=model.family,
            query=model.query,
            deadline_ms=now_ms + int(self._desk.settings.task_patience_s * 1000),
            by_credits=not quoted.exact,
            callback_url=callback_url,
        )
        settled = record.settlement
        settled.request_id = self.request_id
        settled.attempt = self.attempt
        settled.price_version = quoted.price_version
        settled.basis = ledger.CATALOGUE_PRICE
        settled.end = ledger.COMPLETED
        settled.provider = self._provider
        settled.provider_calls = 1
        settled.quantities = orjson.dumps(dict(quoted.units), option=orjson.OPT_SORT_KEYS).decode()
        price(settled, tariff, quoted.cost_atto)
        return records.changed(record, self._desk.public_url, status=pb.CREATING)

    # The one create

    async def _begin(self, model: MediaModel, prepared: Prepared, references: dict[str, str]) -> None:
        urls = await sources.hosted(self._desk, self._provider, self.request_id, prepared.embedded)
        callback = f"{self._desk.public_url.rstrip('/')}{CALLBACK_PATH}{self._provider}"
        callback += f"?task={callback_mark(self._desk.pepper, self.request_id)}"
        body = provider_request(model, prepared.filled(urls, references), callback)
        try:
            self._position = await write_task(self._desk.connection, self._record, 0)
        except Conflict:
            raise Refusal("service_unavailable", retry_after_s=5) from None
        await enqueue(self._desk.connection, self._partition(), self.request_id, pb.FOLLOW, self.attempt)
        try:
            begun = await self._create(model, body)
        except (ProviderFailure, Refusal):
            await self._not_created()
            raise
        self._desk.counters.created += 1
        if begun.at_once is not None:
            await self._end_at_once(begun.at_once)
        else:
            await self._submit(begun)

    def _partition(self) -> int:
        return self._replica.partition_of(self.root_id)

    async def _create(self, model: MediaModel, body: dict[str, Any]) -> Begun:
        """Again only where the provider has certainly made no task. Raises ProviderFailure."""
        provider = self._desk.providers[self._provider]
        tries = 0
        while True:
            tries += 1
            self._tally.calls += 1
            try:
                return await provider.create(model.endpoint, body, model.at_once)
            except ProviderFailure as failure:
                self._note(failure)
                if failure.began or failure.kind not in _NOT_BEGUN or tries >= CREATES_MAX:
                    raise
            await asyncio.sleep(CREATE_PAUSE_S)
            await self._desk.paces[self._provider].turn()

    def _note(self, failure: ProviderFailure) -> None:
        self._desk.counters.create_failures += 1
        if failure.began:
            self._desk.counters.lost_creates += 1
        if failure.kind is FailureKind.OPERATOR:
            log.error("provider.operator", provider=self._provider, status=failure.status, reason=failure.reason)
        elif failure.began:
            log.warning("task.create_unknown", task_id=text(TASK, self.request_id), reason=str(failure))

    async def _not_created(self) -> None:
        """Nobody shall follow what does not exist. Failing to say so costs the follower a look."""
        ended = records.failed(self._record, "generation_failed", self._desk.now_ms(), self._desk.public_url)
        ended.callback = pb.CALLBACK_NONE  # the caller is told by the answer
        try:
            await write_task(self._desk.connection, ended, self._position)
        except (BusError, Conflict) as error:
            log.warning("task.not_marked", task_id=text(TASK, self.request_id), reason=type(error).__name__)

    async def _submit(self, begun: Begun) -> None:
        """The provider's id into the record first: whoever finds it can append the ledger's event as well."""
        self._record = records.changed(
            self._record,
            self._desk.public_url,
            status=pb.PENDING,
            provider_task_id=begun.task_id,
            submitted_ms=self._desk.now_ms(),
        )
        try:
            await write_task(self._desk.connection, self._record, self._position)
        except Conflict:  # a follower has taken this core for dead and given the request up
            self._desk.counters.lost_creates += 1
            raise Refusal("service_unavailable", retry_after_s=5) from None
        applied = await self._append_surely(self._desk.submitted(self._record))
        if applied.outcome.code not in (Code.SUBMITTED, Code.EXISTS):
            raise Refusal("service_unavailable", retry_after_s=5)
        self._opened = False
        await self._accept(applied.position)

    async def _end_at_once(self, progress: Progress) -> None:
        """The create's answer was the result: keep it, settle, and say so."""
        files = await self._desk.copier.copy(self.request_id, records.files_of(progress), progress.text)
        if not all(file.name for file in files):
            await self._not_created()
            raise Refusal("service_unavailable", retry_after_s=5)
        self._opened = False
        event = self._desk.settlement(self._record, progress.credits)
        applied = await self._append_surely(event)
        self._desk.count_settlement(applied.outcome)
        if applied.outcome.code is Code.NOT_OPEN:
            raise Refusal("service_unavailable", retry_after_s=1)
        ready = records.with_files(self._record, files, self._desk.public_url, 1)
        charged_nano = applied.outcome.charged_nano
        self._record = records.completed(ready, charged_nano, self._desk.now_ms(), self._desk.public_url)
        await write_task(self._desk.connection, self._record, self._position)
        self._desk.counters.ended["completed"] += 1
        await self._accept(applied.position)

    async def _accept(self, position: int) -> None:
        secret = webhook_secret(self._desk.pepper, self.account_id)
        self.answer.head(False, self._rate_limit, status=ACCEPTED)
        await self.answer.finish(records.accepted(self._record, self._desk.public_url, secret), position)
