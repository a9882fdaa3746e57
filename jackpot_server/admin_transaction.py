"""One request of a person between BEGIN and COMMIT: decided, carried out or noted to wait, and its trail."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import grpc

from jackpot_server import admin_store, catalog_store, config, store, win_store
from jackpot_server.admin_store import AdminEvent, StoredEvent
from jackpot_server.catalog_store import KnownPool
from jackpot_server.chains import append_batch
from jackpot_server.domain import administer, hold
from jackpot_server.domain.admin_commands import (
    ClosePool,
    CorrectPool,
    CreatePool,
    PausePool,
    PoolChange,
    ResumePool,
    UpdatePool,
    What,
    WinChange,
)
from jackpot_server.domain.change import (
    Change,
    Subject,
)
from jackpot_server.domain.decision import (
    COMMITTED_AHEAD,
    Decision,
)
from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.evidence import POOLS, Evidence
from jackpot_server.domain.facts import Account, Batch, EntryKind, EventKind, Win, WinEvent
from jackpot_server.domain.pool import Lifecycle, PoolState
from jackpot_server.keys import RootKeys
from jackpot_server.recall import read_acknowledgements, read_wins
from jackpot_server.seeds import CommittedSeeds
from service_kit.errors import FieldViolation, Refusal, invalid_fields
from service_kit.group_commit import Later

LAPSES_AFTER: Final = timedelta(days=7)

_CODES: Final = {
    Reason.REQUEST_ID_REUSED: grpc.StatusCode.ALREADY_EXISTS,
    Reason.POOL_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Reason.POOL_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.WIN_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
}


@dataclass(frozen=True, slots=True)
class AdminCommand:
    """Who wants what, and why."""

    request_id: UUID
    actor: str
    what: What
    reason: str = field(compare=False)

    @property
    def action(self) -> str:
        """The method's name."""
        return type(self.what).__name__

    @property
    def resource(self) -> str:
        """The name of what is changed."""
        what = self.what
        return what.resource if isinstance(what, WinChange) else f"pools/{what.pool_id}"


class Approval(NamedTuple):
    """How a request stands: done, or waiting for a second person. No `approver` where none is needed."""

    is_done: bool
    actor: str
    approver: str


class _Decided(NamedTuple):
    """`standing` is what must not change between the two people's calls."""

    batch: Batch
    change: Change
    standing: str


class AdminTransaction:
    """One request between BEGIN and COMMIT."""

    def __init__(self, root_keys: RootKeys) -> None:
        self._root_keys = root_keys

    async def __call__(
        self, connection: asyncpg.Connection, commands: list[AdminCommand], must_write: bool
    ) -> list[Approval | Exception | Later]:
        """Answers the one command. An attempt that is in doubt holds the catalog's lock until it ends."""
        (command,) = commands
        known = {pool.pool_id: pool for pool in await catalog_store.lock_all(connection)}
        earlier = await admin_store.read_request(connection, command.request_id)
        if earlier is not None:
            if reused := _other_fields(earlier.event, command):
                return [_refusal(reused)]
            if not earlier.event.pending:
                return [Approval(True, earlier.event.actor, earlier.event.approver)]
        decided = await self._decide(connection, command, known)
        if isinstance(decided, Refused):
            return [_refusal(decided)]
        batch, change, standing = decided
        first = _waiting(earlier, standing, batch.now)
        if change.needs_two and (first is None or first.actor == command.actor):
            if first is None:
                await self._note(connection, batch, _event(command, standing, pending=True))
            return [Approval(False, command.actor, "")]
        actor, approver = (command.actor, "") if not change.needs_two or first is None else (
            first.actor, command.actor,
        )  # fmt: skip
        await self._carry_out(connection, batch, command, change, actor, approver, standing)
        return [Approval(True, actor, approver)]

    async def _decide(
        self, connection: asyncpg.Connection, command: AdminCommand, known: Mapping[str, KnownPool]
    ) -> "_Decided | Refused":
        what = command.what
        if isinstance(what, WinChange):
            return await self._decide_win(connection, what, known)
        pool_ids = [what.pool_id, what.transfer_to] if isinstance(what, ClosePool) else [what.pool_id]
        is_new = isinstance(what, CreatePool)
        if missing := [pool_id for pool_id in pool_ids if pool_id not in known and not is_new]:
            return Refused(Reason.POOL_NOT_FOUND, f"There is no pools/{missing[0]}.")
        keys = sorted({known[pool_id].pool_key for pool_id in pool_ids if pool_id in known})
        locked = await store.lock_pools(connection, keys, [])
        states = {pool.pool_id: pool for pool in locked.pools}
        subjects = {
            pool_id: Subject(states[pool_id], known[pool_id].configured)
            for pool_id in pool_ids
            if pool_id in known
        }
        change = _decided(what, subjects, known, locked.batch.now)
        if isinstance(change, Refused):
            return change
        return _Decided(locked.batch, change, _standing(pool_ids, known))

    async def _decide_win(
        self,
        connection: asyncpg.Connection,
        what: WinChange,
        known: Mapping[str, KnownPool],
    ) -> "_Decided | Refused":
        """The pool's lock orders this and what wallets say of the win."""
        pool = known.get(what.pool_id)
        locked = await store.lock_pools(connection, [] if pool is None else [pool.pool_key], [])
        wins = (await read_wins(connection, [what.spin_id])).get(what.spin_id, [])
        win = next((win for win in wins if win.pool_id == what.pool_id), None)
        if pool is None or win is None:
            return Refused(Reason.WIN_NOT_FOUND, f"There is no {what.resource}.")
        said = (await read_acknowledgements(connection, [what.spin_id])).get((what.pool_id, what.spin_id), ())
        subject = Subject(locked.pools[0], pool.configured)
        change = hold.change_win(what, subject, win, said, locked.batch.now)
        if isinstance(change, Refused):
            return change
        return _Decided(locked.batch, change, _json([win.state.name, win.event_sequence]))

    async def _carry_out(
        self,
        connection: asyncpg.Connection,
        batch: Batch,
        command: AdminCommand,
        change: Change,
        actor: str,
        approver: str,
        standing: str,
    ) -> None:
        evidence = Evidence()
        said_by = {"actor": actor, "reason": command.reason}
        pools = list(change.pools)
        if isinstance(command.what, CreatePool):
            pools.append(await self._create(connection, batch, evidence, command.what, change, said_by))
        for pool in change.pools:
            await catalog_store.write_pool(connection, pool)
        if change.config is not None:
            newest = change.pools[0]
            await catalog_store.insert_config(
                connection, batch, evidence, newest.pool_key, newest.config_version, change.config, **said_by
            )
        if change.told is not None:
            await self._tell(connection, batch, evidence, *change.told)
        for before in change.ended:
            ended = range(before.cycle, before.cycle + 1)
            await catalog_store.insert_unwon_cycles(connection, batch, evidence, before, ended, **said_by)
            await self._commit_to(connection, batch, evidence, before, [before.cycle + COMMITTED_AHEAD + 1])
        await catalog_store.insert_entries(connection, batch, evidence, change.ledger.entries())
        if isinstance(command.what, CreatePool | UpdatePool | ClosePool):
            await catalog_store.bump(connection)
        event = _event(command, standing, pending=False)._replace(
            actor=actor, approver=approver, before=_json(change.before), after=_json(change.after)
        )
        await admin_store.insert_event(connection, batch, evidence, event)
        await append_batch(connection, batch, evidence, pools)

    async def _tell(
        self, connection: asyncpg.Connection, batch: Batch, evidence: Evidence, kind: EventKind, win: Win
    ) -> None:
        """Adds the win's next event."""
        told = Decision(batch.now)
        told.events.append(WinEvent(kind, replace(win, event_sequence=-1), batch.now))
        await win_store.write_wins(connection, batch, told, (), evidence)

    async def _create(
        self,
        connection: asyncpg.Connection,
        batch: Batch,
        evidence: Evidence,
        what: CreatePool,
        change: Change,
        said_by: Mapping[str, str],
    ) -> PoolState:
        opening = administer.opening_micros(what)
        pool = await catalog_store.insert_pool(
            connection, batch, what.pool_id, what.config, what.state, opening
        )
        evidence.add(POOLS, [(pool.pool_key, pool.pool_id, pool.currency_code)])
        if what.state is not Lifecycle.SHADOW:
            currency = pool.currency_code
            change.ledger.pool(Account.CURRENT, EntryKind.OPENING, pool.pool_key, currency, opening)
            change.ledger.house(EntryKind.OPENING, currency, -opening)
        await catalog_store.insert_config(
            connection, batch, evidence, pool.pool_key, 1, what.config, **said_by
        )
        await self._commit_to(connection, batch, evidence, pool, range(1, COMMITTED_AHEAD + 2))
        return pool

    async def _commit_to(
        self,
        connection: asyncpg.Connection,
        batch: Batch,
        evidence: Evidence,
        pool: PoolState,
        cycles: "range | list[int]",
    ) -> None:
        wanted = [(pool.pool_key, cycle) for cycle in cycles]
        commitments = CommittedSeeds(self._root_keys).new(wanted, {pool.pool_key: pool.pool_id})
        await catalog_store.insert_commitments(connection, batch, evidence, commitments)

    async def _note(self, connection: asyncpg.Connection, batch: Batch, event: AdminEvent) -> None:
        evidence = Evidence()
        await admin_store.insert_event(connection, batch, evidence, event)
        await append_batch(connection, batch, evidence, [])


def _decided(
    what: PoolChange, subjects: Mapping[str, Subject], known: Mapping[str, KnownPool], now: datetime
) -> Change | Refused:
    configured = {pool_id: pool.configured for pool_id, pool in known.items()}
    match what:
        case CreatePool():
            return administer.create(what, configured)
        case UpdatePool():
            pool = subjects[what.pool_id]
            try:
                wanted = config.merged(pool.configured.newest, _table(what.table), what.paths)
            except config.InvalidConfig as invalid:
                return Refused(Reason.INVALID_FIELDS, "; ".join(invalid.problems), ("config",))
            return administer.update(pool, wanted, configured, now)
        case PausePool():
            return administer.pause(subjects[what.pool_id], now)
        case ResumePool():
            return administer.resume(subjects[what.pool_id], now)
        case ClosePool():
            return administer.close(what, subjects[what.pool_id], subjects[what.transfer_to], now)
        case CorrectPool():
            return administer.correct(what, subjects[what.pool_id], now)


def _table(text: str) -> dict[str, Any]:
    """A configuration that was kept as JSON, which has no moments."""
    table: dict[str, Any] = json.loads(text)
    must_drop_by = table.get("trigger", {}).get("must_drop_by", {})
    if must_drop_by.get("first_deadline"):
        must_drop_by["first_deadline"] = datetime.fromisoformat(must_drop_by["first_deadline"])
    return table


def _waiting(earlier: StoredEvent | None, standing: str, now: datetime) -> AdminEvent | None:
    """The first person's request, unless it has lapsed: too old, or its resource stands otherwise now."""
    if earlier is None or now - earlier.time > LAPSES_AFTER or earlier.event.standing != standing:
        return None
    return earlier.event


def _standing(pool_ids: Sequence[str], known: Mapping[str, KnownPool]) -> str:
    """Of pools: configuration and state, not the amounts."""
    pools = [known[name] for name in pool_ids if name in known]
    return _json({pool.pool_id: [pool.config_version, pool.configured.state.name] for pool in pools})


def _event(command: AdminCommand, standing: str, *, pending: bool) -> AdminEvent:
    return AdminEvent(
        request_id=command.request_id,
        action=command.action,
        resource=command.resource,
        fields=_json(command.what.fields),
        actor=command.actor,
        approver="",
        reason=command.reason,
        before="",
        after="",
        pending=pending,
        standing=standing,
    )


def _other_fields(earlier: AdminEvent, command: AdminCommand) -> Refused | None:
    """A request id names one request; `reason` is not compared."""
    if earlier.action != command.action:
        return Refused(Reason.REQUEST_ID_REUSED, "The request id was used with another method.")
    before, now = json.loads(earlier.fields), json.loads(_json(command.what.fields))
    if before == now:
        return None
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return Refused(Reason.REQUEST_ID_REUSED, "The request id was used with other fields.", tuple(names))


def _refusal(refused: Refused) -> Refusal:
    if refused.reason is Reason.INVALID_FIELDS:
        return invalid_fields([FieldViolation(name, refused.message) for name in refused.fields])
    code = _CODES.get(refused.reason, grpc.StatusCode.FAILED_PRECONDITION)
    metadata = {"fields": ",".join(refused.fields)} if refused.fields else None
    return Refusal(code, refused.reason.value, refused.message, metadata=metadata)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
