"""API keys: issued, changed, rotated, suspended, revoked, listed. Only hashes are stored; a secret is shown once."""

import hashlib
import hmac
import secrets

import grpc

from core.admin import fields
from core.admin.accounts import KINDS, kind_text
from core.admin.answers import Rejected, answers
from core.admin.desk import Subject
from core.ledger.accounts import Key
from core.ledger.rules_v2 import GRACE_MS_MAX
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger
from runtime import ids

KEY_PREFIX = "sk-ony-"
KEY_RANDOM_BYTES = 24

_WITHOUT_KEYS = (ledger.ORGANISATION, ledger.PARTNER)


class Keys(Subject):
    """What operators do to keys."""

    @answers
    async def IssueKey(self, request: pb.IssueKeyRequest) -> pb.IssuedKey:
        name = fields.text("name", request.name)
        policy = fields.policy(request.policy)
        account = await self.desk.account(request.account_id)
        if account.kind in _WITHOUT_KEYS:
            below = ", ".join(kind_text(kind) for kind, each in KINDS.items() if account.kind in each.parents)
            fields.invalid(f"account_id must not be a {kind_text(account.kind)}, but what is below it: {below}")
        if policy.ListFields():
            self.desk.require_rules(2)
        api_key, key_hash = self._mint()
        event = ledger.KeyIssued(key_id=ids.mint(), account_id=account.account_id, key_hash=key_hash, policy=policy)
        await self.desk.append(account.root_id, ledger.Event(key_issued=event))
        await self.desk.label(event.key_id, name)
        return pb.IssuedKey(key_id=ids.text(ids.KEY, event.key_id), api_key=api_key)

    @answers
    async def ChangeKey(self, request: pb.ChangeKeyRequest) -> pb.Key:
        name = fields.text("name", request.name) if request.HasField("name") else ""
        key = await self.desk.key(request.key_id)
        policy = ledger.KeyPolicy(
            expires_ms=key.expires_ms, allowed_models=key.allowed_models, allowed_ips=key.allowed_ips
        )
        before = policy.SerializeToString()
        if request.HasField("expires_ms"):
            policy.expires_ms = fields.expiry("expires_ms", request.expires_ms)
        if request.HasField("allowed_models"):
            policy.allowed_models[:] = fields.patterns("allowed_models", request.allowed_models.patterns)
        if request.HasField("allowed_ips"):
            policy.allowed_ips[:] = fields.ranges("allowed_ips", request.allowed_ips.ranges)
        if policy.SerializeToString() != before:
            event = ledger.KeyChanged(key_id=key.key_id, policy=policy)
            await self.desk.append(self.desk.root_of(key), ledger.Event(key_changed=event), already=True)
        if name:
            await self.desk.label(key.key_id, name)
        return self.desk.show_key(key, name)

    @answers
    async def RotateKey(self, request: pb.RotateKeyRequest) -> pb.IssuedKey:
        if request.grace_ms > GRACE_MS_MAX:
            fields.invalid(f"grace_ms must be at most {GRACE_MS_MAX}")
        key = await self.desk.key(request.key_id)
        if key.revoked:
            raise Rejected(grpc.StatusCode.FAILED_PRECONDITION, f"{request.key_id} is revoked, for good")
        api_key, key_hash = self._mint()
        event = ledger.KeyRotated(key_id=key.key_id, key_hash=key_hash, grace_ms=request.grace_ms)
        await self.desk.append(self.desk.root_of(key), ledger.Event(key_rotated=event))
        return pb.IssuedKey(key_id=request.key_id, api_key=api_key)

    @answers
    async def SuspendKey(self, request: pb.KeyRef) -> pb.Key:
        key = await self.desk.key(request.key_id)
        return await self._changed(key, ledger.Event(key_suspended=ledger.KeySuspended(key_id=key.key_id)))

    @answers
    async def ResumeKey(self, request: pb.KeyRef) -> pb.Key:
        key = await self.desk.key(request.key_id)
        return await self._changed(key, ledger.Event(key_resumed=ledger.KeyResumed(key_id=key.key_id)))

    @answers
    async def RevokeKey(self, request: pb.KeyRef) -> pb.Key:
        key = await self.desk.key(request.key_id)
        return await self._changed(key, ledger.Event(key_revoked=ledger.KeyRevoked(key_id=key.key_id)))

    @answers
    async def ListKeys(self, request: pb.AccountRef) -> pb.KeyList:
        account = await self.desk.account(request.account_id)
        keys = (key for key in self.desk.replica.state.keys.values() if key.account_id == account.account_id)
        return pb.KeyList(keys=[self.desk.show_key(key) for key in sorted(keys, key=lambda key: key.key_id)])

    async def _changed(self, key: Key, event: ledger.Event) -> pb.Key:
        await self.desk.append(self.desk.root_of(key), event, already=True)
        return self.desk.show_key(key)

    def _mint(self) -> tuple[str, bytes]:
        """A new secret and its hash."""
        api_key = KEY_PREFIX + secrets.token_hex(KEY_RANDOM_BYTES)
        return api_key, hmac.new(self.desk.pepper, api_key.encode(), hashlib.sha256).digest()
