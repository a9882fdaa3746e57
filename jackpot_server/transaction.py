"""What one batch does between BEGIN and COMMIT, and what is told of it once it is committed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID
from weakref import WeakKeyDictionary

import asyncpg
import grpc

from jackpot_server import store, void_store, win_store
from jackpot_server.catalog_store import load_catalog, read_commitments
from jackpot_server.domain.commands import Acknowledge, Contribute, Void
from jackpot_server.domain.decide import decide
from jackpot_server.domain.decision import (
    COMMITTED_AHEAD,
    Command,
    Decision,
    KnownWin,
    NotReached,
    WinKey,
)
from jackpot_server.domain.draw import commitment
from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.evidence import Evidence
from jackpot_server.domain.facts import Acknowledged, Batch, Recorded, Voided
from jackpot_server.domain.pool import PoolView, pool_view
from jackpot_server.domain.terms import Rules
from jackpot_server.keys import RootKeys
from jackpot_server.narration import Narration
from jackpot_server.recall import read_acknowledgements, read_contributions, read_wins
from jackpot_server.seeds import Commitment, CommittedSeeds
from jackpot_server.store import Locked
from service_kit.errors import Refusal
from service_kit.group_commit import LATER, Later
from service_kit.telemetry import get_log

log = get_log("committer")

Answer: TypeAlias = Recorded | Voided | Acknowledged
# The pools that took a share of a voided contribution, by spin; of those that have arrived.
PoolsOfVoids: TypeAlias = dict[UUID, tuple[int, ...]]

_MAX_RELOADS: Final = 10

_CODES: Final = {
    Reason.SPIN_ID_REUSED: grpc.StatusCode.ALREADY_EXISTS,
    Reason.WIN_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.WIN_NOT_PAYABLE: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.WIN_ALREADY_PAID: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.AMOUNT_MISMATCH: grpc.StatusCode.FAILED_PRECONDITION,
}


@dataclass(frozen=True, slots=True)
class _Written:
    """What a transaction has written, until it is known to be committed."""

    decision: Decision
    commitments: Sequence[Commitment]


class JackpotTransaction:
    """Decides and writes batches under the rules that are in the database.

    Owns the catalog and the seeds of this process. `on_commit(views)` gets the pools that a committed batch
    changed; it must neither block nor raise.
    """

    def __init__(
        self,
        root_keys: RootKeys,
        on_commit: Callable[[Sequence[PoolView]], None],
        narration: Narration,
    ) -> None:
        self._seeds = CommittedSeeds(root_keys)
        self._on_commit = on_commit
        self._narration = narration
        self._rules: Rules | None = None
        # Of voids that were tried last: one that is set aside waits behind these rows.
        self._pools_of_voids: PoolsOfVoids = {}
        self._written: WeakKeyDictionary[asyncpg.Connection, _Written] = WeakKeyDictionary()

    @property
    def rules(self) -> Rules:
        """As last read; `load` comes first."""
        if self._rules is None:
            raise RuntimeError("the rules have not been loaded")
        return self._rules

    async def load(self, connection: asyncpg.Connection) -> None:
        """Reads the catalog and the seeds' commitments. StartRefused if the root key is another one."""
        catalog = await load_catalog(connection)
        self._seeds.add(await read_commitments(connection), catalog.pool_ids)
        self._rules = Rules(catalog, self._seeds)

    def pool_keys(self, command: Command) -> tuple[int, ...]:
        """The pools whose rows a command locks: a win's changes are ordered by its pool's lock."""
        return _pool_keys(self.rules, command, self._pools_of_voids)

    async def __call__(
        self, connection: asyncpg.Connection, commands: list[Command], must_write: bool
    ) -> list[Answer | Exception | Later]:
        """One batch, inside the caller's transaction: `results[i]` answers `commands[i]`.

        With `must_write` it writes a row even if every command is a repeat. Raises database errors.
        """
        rules, locked = await self._lock(connection, commands)
        known, wins = await _recall(connection, commands, locked.known)
        void_ids = _void_ids(commands)
        voids = await void_store.read_voids(connection, void_ids) if void_ids else {}
        decision = decide(
            rules, locked.pools, commands, known=known, wins=wins, voids=voids, now=locked.batch.now
        )
        commitments = self._seeds.new(decision.commitments, rules.catalog.pool_ids)
        if must_write or not decision.is_empty:
            await self._write(connection, locked.batch, decision, commitments)
        self._written[connection] = _Written(decision, commitments)
        return [_shown(answer) for answer in decision.answers]

    def committed(self, connection: asyncpg.Connection) -> None:
        """What the last call on this connection wrote is durable: its seeds may be used, its pools shown."""
        written = self._written.pop(connection, None)
        if written is None:
            return
        catalog, decision = self.rules.catalog, written.decision
        self._seeds.add(written.commitments, catalog.pool_ids)
        views = []
        for pool in decision.pools:
            key = pool.pool_key
            newest, of_cycle = (
                catalog.configs[key, version].config
                for version in (pool.config_version, pool.cycle_config_version)
            )
            views.append(pool_view(pool, newest, of_cycle, commitment(self._seeds[key, pool.cycle])))
            self._seeds.forget(key, pool.cycle)
        self._on_commit(views)
        self._narration.committed(decision, catalog.labels)
        _log_contradictions(decision)
        _log_unanswered_tiers(decision)

    async def _write(
        self,
        connection: asyncpg.Connection,
        batch: Batch,
        decision: Decision,
        commitments: Sequence[Commitment],
    ) -> None:
        """Every row of the batch joins the evidence; its record comes last."""
        evidence = Evidence()
        if decision.wins or decision.events or decision.acknowledgements:
            last_before = await win_store.write_wins(connection, batch, decision, commitments, evidence)
            decision.number_events(last_before)
        if decision.voids:
            await void_store.insert_voids(connection, batch, decision.voids, evidence)
        await store.write_batch(connection, batch, decision, evidence)

    async def _lock(
        self, connection: asyncpg.Connection, commands: Sequence[Command]
    ) -> tuple[Rules, Locked]:
        """Locks what the batch needs. If the rules turn out older than the rows: reads them, locks anew."""
        spin_ids = [command.spin_id for command in commands if not isinstance(command, Acknowledge)]
        void_ids = _void_ids(commands)
        for _ in range(_MAX_RELOADS):
            rules = self.rules
            pools_of_voids = await void_store.read_pools_of(connection, void_ids) if void_ids else {}
            self._pools_of_voids = pools_of_voids
            pool_keys = _pool_keys_of_all(rules, commands, pools_of_voids)
            locked = await store.lock_pools(connection, pool_keys, spin_ids)
            has_all = all(void in pools_of_voids for void in void_ids.intersection(locked.known))
            if has_all and _is_current(rules, locked):
                await self._see_seeds(connection, rules, locked)
                return rules, locked
            await connection.execute("ROLLBACK")
            if not _is_current(rules, locked):
                await self.load(connection)
                log.info("rules_reloaded", catalog_version=self.rules.catalog.version)
            await connection.execute("BEGIN")
        raise RuntimeError("the configuration changes faster than it can be read")

    async def _see_seeds(self, connection: asyncpg.Connection, rules: Rules, locked: Locked) -> None:
        """Reads the commitments that another replica has added since."""
        short = [
            pool.pool_key
            for pool in locked.pools
            if (pool.pool_key, pool.cycle + COMMITTED_AHEAD) not in self._seeds
        ]
        if short:
            self._seeds.add(await read_commitments(connection, short), rules.catalog.pool_ids)


def _void_ids(commands: Sequence[Command]) -> set[UUID]:
    return {command.spin_id for command in commands if isinstance(command, Void)}


def _pool_keys(rules: Rules, command: Command, pools_of_voids: PoolsOfVoids) -> tuple[int, ...]:
    if isinstance(command, Contribute):
        return rules.eligibility.candidates(command.eligibility).pool_keys
    if isinstance(command, Void):
        return pools_of_voids.get(command.spin_id, ())
    pool_key = rules.catalog.pool_keys.get(command.pool_id)
    return () if pool_key is None else (pool_key,)


def _pool_keys_of_all(rules: Rules, commands: Sequence[Command], pools_of_voids: PoolsOfVoids) -> list[int]:
    contributors = {command.eligibility for command in commands if isinstance(command, Contribute)}
    keys = {key for each in contributors for key in rules.eligibility.candidates(each).pool_keys}
    for command in commands:
        if not isinstance(command, Contribute):
            keys.update(_pool_keys(rules, command, pools_of_voids))
    return sorted(keys)


def _is_current(rules: Rules, locked: Locked) -> bool:
    catalog = rules.catalog
    return locked.catalog_version == catalog.version and all(
        pool.config_version == catalog.newest[pool.pool_key] for pool in locked.pools
    )


async def _recall(
    connection: asyncpg.Connection, commands: Sequence[Command], known_ids: Sequence[UUID]
) -> tuple[dict[UUID, Recorded], dict[WinKey, KnownWin]]:
    """What is known of repeats, of what is voided, of acknowledged wins; read under the locks (P5b)."""
    acknowledged = {command.spin_id for command in commands if isinstance(command, Acknowledge)}
    if not known_ids and not acknowledged:
        return {}, {}
    contributions = await read_contributions(connection, known_ids) if known_ids else {}
    wins = await read_wins(connection, acknowledged.union(known_ids))
    said = await read_acknowledgements(connection, acknowledged) if acknowledged else {}
    known = {
        spin_id: Recorded(contribution, tuple(wins.get(spin_id, ())), True)
        for spin_id, contribution in contributions.items()
    }
    known_wins = {
        (win.pool_id, win.spin_id): KnownWin(win, said.get((win.pool_id, win.spin_id), ()))
        for spin_id in acknowledged
        for win in wins.get(spin_id, ())
    }
    return known, known_wins


def _shown(answer: Answer | Refused | NotReached) -> Answer | Exception | Later:
    if isinstance(answer, Refused):
        metadata = {"fields": ",".join(answer.fields)} if answer.fields else None
        return Refusal(_CODES[answer.reason], answer.reason.value, answer.message, metadata=metadata)
    return LATER if isinstance(answer, NotReached) else answer


def _log_contradictions(decision: Decision) -> None:
    for said in decision.contradictions:
        log.error(
            "wallet_contradicted",
            reason=said.reason.value,
            pool=said.pool_id,
            spin_id=str(said.spin_id),
            wallet_entry_id=said.wallet_entry_id,
        )


def _log_unanswered_tiers(decision: Decision) -> None:
    for command in decision.unanswered_tiers:
        log.warning(
            "triggered_tier_not_won",
            spin_id=str(command.spin_id),
            operator_id=command.operator_id,
            game_id=command.game_id,
            tiers=",".join(command.triggered_tiers),
        )
