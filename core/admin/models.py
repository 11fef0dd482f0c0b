"""The catalogue of models, as operators see and change it."""

import hashlib
from collections.abc import AsyncIterator

import grpc
import orjson

from bus.errors import BusError
from core.admin.answers import Context, Rejected, answers
from core.admin.callers import caller_now
from core.admin.desk import Subject
from core.admin.fields import invalid
from core.admin.shown_models import show_model
from core.difference import Approval, described, home
from core.ledger.records import Model
from core.listing import is_id
from core.pricing import Unpriced, canonical_price, parse_price, price_version
from core.providers.port import ProviderFailure
from core.replica import RulesTooOld
from core.sync import ROOT, UnknownProvider
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger
from proto.onysoft.v1.work_pb2 import Ask
from runtime.errors import Refusal

DEFAULTS_BYTES_MAX = 16_384
ROUTES_MAX = 16
WEIGHT_MAX = 1_000_000
NOT_DEFAULTS = frozenset({"model", "messages", "stream", "stream_options", "n", "models", "route", "user"})
"""What a caller decides alone: parameters that no default may stand in for."""

_COMPARED_ONLY = "models and prices are data of the release, and are only compared with the list of"
_RANGES: dict[str, tuple[float, float]] = {
    "max_tokens": (1, 2**31),
    "max_completion_tokens": (1, 2**31),
    "temperature": (0, 2.0),
    "top_p": (0, 1.0),
}
"""What a core reads of a request, or an edge would have refused in it."""


class Models(Subject):
    """What operators do to the catalogue."""

    @answers
    async def ListModels(self, request: pb.ListModelsRequest) -> pb.ModelList:
        await self.desk.fresh()
        shown = [self._show(model) for _, model in sorted(self.desk.replica.state.models.items())]
        return pb.ModelList(models=[model for model in shown if _is_wanted(model, request)])

    @answers
    async def ListPrices(self, request: pb.AccountRef) -> pb.PriceList:
        account = await self.desk.account(request.account_id)
        try:
            return pb.PriceList(json=self.desk.price_lists.every(self.desk.replica.state, account, None))
        except Refusal:
            raise Rejected(grpc.StatusCode.UNAVAILABLE, "an exchange rate is missing") from None

    @answers
    async def ShowModel(self, request: pb.ModelRef) -> pb.ModelHistory:
        model = await self._model(request.model_id)
        ask = Ask(model=model.set.model_id, min_position=self.desk.replica.state.position)
        answer = await self.desk.ask_projections("versions", ask, ("model", request.model_id))
        versions = orjson.loads(answer.json)
        return pb.ModelHistory(
            model=self._show(model),
            versions=[
                pb.ModelVersion(
                    position=version["position"],
                    time_ms=version["time_ms"],
                    price_json=version["price"].encode(),
                    price_version=bytes.fromhex(version["price_version"]),
                    unlisted=version["unlisted"],
                )
                for version in versions
            ],
        )

    @answers
    async def ActivateModel(self, request: pb.ModelRef) -> pb.Model:
        model = await self._model(request.model_id)
        event = ledger.ModelActivated(model_id=model.set.model_id)
        await self.desk.append(ROOT, ledger.Event(model_activated=event), already=True)
        return self._show(model)

    @answers
    async def DeactivateModel(self, request: pb.ModelRef) -> pb.Model:
        model = await self._model(request.model_id)
        event = ledger.ModelDeactivated(model_id=model.set.model_id)
        await self.desk.append(ROOT, ledger.Event(model_deactivated=event), already=True)
        return self._show(model)

    @answers
    async def SetAlias(self, request: pb.Alias) -> pb.Alias:
        if not is_id(request.alias):
            invalid("alias must have 1 to 200 printable characters, without spaces and *")
        if request.alias in self.desk.replica.state.models:
            invalid(f"alias must not be a model's id: {request.alias} is one")
        model = await self._model(request.model_id)
        event = ledger.AliasSet(alias=request.alias, model_id=model.set.model_id)
        await self.desk.append(ROOT, ledger.Event(alias_set=event), already=True)
        return pb.Alias(alias=request.alias, model_id=model.set.model_id)

    @answers
    async def RemoveAlias(self, request: pb.Alias) -> pb.Alias:
        await self.desk.append(ROOT, ledger.Event(alias_removed=ledger.AliasRemoved(alias=request.alias)))
        return pb.Alias(alias=request.alias)

    @answers
    async def SetModelDefaults(self, request: pb.SetModelDefaultsRequest) -> pb.Model:
        model = await self._model(request.model_id)
        after = _copy(model.set)
        after.defaults = _defaults(request.defaults_json)
        return await self._put(model, after)

    @answers
    async def SetRoute(self, request: pb.SetRouteRequest) -> pb.Model:
        model = await self._model(request.model_id)
        if not request.provider:
            invalid("provider must be given")
        if not is_id(request.upstream_id):
            invalid("upstream_id must be the provider's id of the model")
        if request.weight > WEIGHT_MAX:
            invalid(f"weight must be at most {WEIGHT_MAX}")
        after = _copy(model.set)
        route = _route(after, request.provider, request.upstream_id)
        if route is None:
            if len(after.routes) >= ROUTES_MAX:
                invalid(f"a model has at most {ROUTES_MAX} routes")
            route = after.routes.add(provider=request.provider, upstream_id=request.upstream_id)
        route.order, route.weight = request.order, request.weight
        route.price = _price(request.price_json) if request.price_json else b""
        route.price_version = price_version(route.price) if route.price else b""
        return await self._put(model, after)

    @answers
    async def RemoveRoute(self, request: pb.RemoveRouteRequest) -> pb.Model:
        model = await self._model(request.model_id)
        after = _copy(model.set)
        if request.provider == home(model.set) and request.upstream_id in ("", model.set.routes[0].upstream_id):
            message = f"the route of {request.provider} sets the model's price: give it a late order, or deactivate it"
            raise Rejected(grpc.StatusCode.FAILED_PRECONDITION, message)
        kept = [
            route
            for route in model.set.routes
            if route.provider != request.provider or request.upstream_id not in ("", route.upstream_id)
        ]
        if len(kept) == len(model.set.routes):
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"{request.model_id} has no such route")
        del after.routes[:]
        after.routes.extend(kept)
        return await self._put(model, after)

    async def SyncModels(self, request: pb.SyncModelsRequest, context: Context) -> AsyncIterator[pb.SyncProgress]:
        """First the difference; then, with `apply`, how much of what is due is in the ledger."""
        sync = self.desk.sync
        approval = Approval(
            new=request.approve_new,
            repriced=request.approve_repriced,
            gone=request.approve_gone,
            bound_bps=request.bound_bps if request.HasField("bound_bps") else sync.bound_bps,
        )
        try:
            if request.provider in sync.compared:
                if request.apply:
                    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{_COMPARED_ONLY} {request.provider}")
                yield pb.SyncProgress(difference_json=orjson.dumps(await sync.compare(request.provider)))
                return
            found = await sync.look(request.provider, approval)
            body = orjson.dumps(described(found))
            digest = hashlib.sha256(body).digest()
            if request.expected and request.expected != digest:
                await context.abort(
                    grpc.StatusCode.FAILED_PRECONDITION, "the difference is not the one that was shown: look again"
                )
            yield pb.SyncProgress(due=len(found.due), difference_json=body, digest=digest)
            if request.apply:
                async for done, due, applied in sync.apply(found, caller_now.get().actor):
                    position = self.desk.replica.state.position
                    yield pb.SyncProgress(done=done, due=due, applied=applied, position=position)
        except Rejected as rejected:
            await context.abort(rejected.code, rejected.message)
        except RulesTooOld as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except UnknownProvider as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no provider {error} is set up here")
        except (ProviderFailure, BusError) as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error) or type(error).__name__)

    async def _model(self, model_id: str) -> Model:
        """The model of that id or alias, as all that was acknowledged before has left it."""
        await self.desk.fresh()
        state = self.desk.replica.state
        model = state.models.get(model_id) or state.models.get(state.aliases.get(model_id, ""))
        if model is None:
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"there is no model {model_id}")
        return model

    async def _put(self, model: Model, after: ledger.ModelSet) -> pb.Model:
        await self.desk.append(ROOT, ledger.Event(model_set=after), already=True)
        return self._show(model)

    def _show(self, model: Model) -> pb.Model:
        return show_model(model, self.desk.replica.state.aliases, self.desk.sync.providers)


def _copy(model: ledger.ModelSet) -> ledger.ModelSet:
    after = ledger.ModelSet()
    after.CopyFrom(model)
    return after


def _route(model: ledger.ModelSet, provider: str, upstream_id: str) -> ledger.ModelRoute | None:
    for route in model.routes:
        if (route.provider, route.upstream_id) == (provider, upstream_id):
            return route
    return None


def _is_wanted(model: pb.Model, wanted: pb.ListModelsRequest) -> bool:
    found = wanted.search.casefold() in f"{model.id}\n{model.name}".casefold()
    provided = not wanted.provider or any(route.provider == wanted.provider for route in model.routes)
    callable_now = model.active and not model.unlisted
    return (
        found
        and provided
        and wanted.kind in ("", model.kind)
        and (wanted.inactive or callable_now)
        and (model.free or not wanted.free)
    )


def _defaults(defaults_json: bytes) -> bytes:
    if len(defaults_json) > DEFAULTS_BYTES_MAX:
        invalid(f"defaults must have at most {DEFAULTS_BYTES_MAX} bytes")
    try:
        defaults = orjson.loads(defaults_json)
    except orjson.JSONDecodeError as error:
        invalid(f"defaults must be JSON: {error}")
    if not isinstance(defaults, dict):
        invalid("defaults must be a JSON object")
    if not NOT_DEFAULTS.isdisjoint(defaults):
        invalid(f"defaults must leave {', '.join(sorted(NOT_DEFAULTS & set(defaults)))} to the caller")
    for name, (least, most) in _RANGES.items():
        value = defaults.get(name, least)
        if type(value) not in ((int, float) if isinstance(most, float) else (int,)) or not least <= value <= most:
            invalid(f"defaults: {name} must be a number from {least} to {most}")
    return orjson.dumps(defaults, option=orjson.OPT_SORT_KEYS) if defaults else b""


def _price(price_json: bytes) -> bytes:
    try:
        pricing = orjson.loads(price_json)
        if not isinstance(pricing, dict):
            invalid("price must be a JSON object of decimals")
        parse_price(pricing)
    except orjson.JSONDecodeError as error:
        invalid(f"price must be JSON: {error}")
    except Unpriced as error:
        invalid(f"price cannot be charged: {error}")
    return canonical_price(pricing)
