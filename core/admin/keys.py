"""API keys: issued, revoked, listed. Only a key's hash is stored; the key itself is shown once."""

import hashlib
import hmac
import secrets

import grpc

from core.admin.answers import Rejected, answers
from core.admin.desk import Subject
from core.admin.fields import identity, text
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger
from runtime import ids

KEY_PREFIX = "sk-ony-"
KEY_RANDOM_BYTES = 24


class Keys(Subject):
    """What operators do to keys."""

    @answers
    async def IssueKey(self, request: pb.IssueKeyRequest) -> pb.IssuedKey:
        name = text("name", request.name)
        account = await self.desk.account(request.account_id)
        api_key = KEY_PREFIX + secrets.token_hex(KEY_RANDOM_BYTES)
        key_hash = hmac.new(self.desk.pepper, api_key.encode(), hashlib.sha256).digest()
        event = ledger.KeyIssued(key_id=ids.mint(), account_id=account.account_id, key_hash=key_hash)
        await self.desk.append(account.account_id, ledger.Event(key_issued=event))
        await self.desk.label(event.key_id, name)
        return pb.IssuedKey(key_id=ids.text(ids.KEY, event.key_id), api_key=api_key)

    @answers
    async def RevokeKey(self, request: pb.KeyRef) -> pb.Key:
        key_id = identity("key_id", ids.KEY, request.key_id)
        await self.desk.fresh()
        key = self.desk.replica.state.keys.get(key_id)
        if key is None:
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"there is no key {request.key_id}")
        event = ledger.Event(key_revoked=ledger.KeyRevoked(key_id=key_id))
        await self.desk.append(key.account_id, event, already=True)
        return self.desk.show_key(key)

    @answers
    async def ListKeys(self, request: pb.AccountRef) -> pb.KeyList:
        account = await self.desk.account(request.account_id)
        keys = (key for key in self.desk.replica.state.keys.values() if key.account_id == account.account_id)
        return pb.KeyList(keys=[self.desk.show_key(key) for key in sorted(keys, key=lambda key: key.key_id)])
