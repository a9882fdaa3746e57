"""The books: balances, entries, wins, states derived again from what was recorded (PR-02, PR-20, PR-23)."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg

from jackpot_server.audit.trail import RecordedBatch
from jackpot_server.domain.evidence import (
    CONTRIBUTIONS,
    ENTRIES,
    POOL_CONFIGS,
    UNWON_CYCLES,
    VOIDS,
    WIN_EVENTS,
    WINS,
    state_numbers,
)
from jackpot_server.domain.facts import Account, EntryKind, EventKind, Share, WinState
from jackpot_server.domain.pool import Lifecycle, PoolConfig, parse_canonical
from jackpot_server.recall import POOL_COLUMNS, pool_of, share_rows
from service_kit.audit_report import Findings
from service_kit.money import MICROS

BALANCE: Final = "every batch balances"
DERIVED: Final = "every entry follows from contributions, voids and wins"
POOL_BALANCES: Final = "every pool holds the sum of its entries"
SHARES: Final = "every share is the wager times the rate"
WIN_AMOUNTS: Final = "every win paid what its pool held, each cycle once"
EVENTS: Final = "every win event is of a win"
CONFIGS: Final = "every configuration has its digest, versions are gapless"
STATES: Final = "every pool is as its last batch left it, version by version"
PAYABLE: Final = "what is payable and paid is what the wins say"

Movement: TypeAlias = tuple[Account, EntryKind, int | None, str | None, str]
_POOL_ACCOUNTS: Final = (Account.CURRENT, Account.RESERVE, Account.OVERFLOW)
# Of a pool's state as numbers.
_STATE, _CYCLE, _CURRENT, _BALANCES, _VERSION = 1, 4, 7, slice(7, 10), 10


@dataclass(slots=True)
class _KnownWin:
    operator_id: str
    currency_code: str
    amount_minor: int
    shadow: bool
    state: int = 0


class BookCheck:
    """Takes batches in the order of their numbers, which for each pool is the order of its lock."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._balances: defaultdict[tuple[Account, int | None, str | None, str], int] = defaultdict(int)
        self._pools: dict[int, Sequence[int]] = {}
        self._currencies: dict[int, str] = {}
        self._versions: Counter[int] = Counter()
        self.configs: dict[tuple[int, int], PoolConfig] = {}
        self._wins: dict[tuple[int, UUID], _KnownWin] = {}
        self._cycles: set[tuple[int, int]] = set()

    async def begin(self, connection: asyncpg.Connection) -> None:
        """Reads what no batch tells of pools from before the trail: their currencies."""
        rows = await connection.fetch("SELECT pool_key, currency_code FROM pools")
        self._currencies = {row["pool_key"]: row["currency_code"] for row in rows}

    def take(self, batch: RecordedBatch) -> None:
        """One batch, held against everything before it."""
        self._take_configs(batch)
        derived: defaultdict[Movement, int] = defaultdict(int)
        self._take_contributions(batch, derived)
        self._take_voids(batch, derived)
        self._take_wins(batch, derived)
        self._take_events(batch, derived)
        for values in batch.of(UNWON_CYCLES):
            self._close_cycle(values[0], values[1], batch)
        self._take_entries(batch, derived)
        for state in batch.pool_states:
            self._take_state(state, batch)

    async def end(self, connection: asyncpg.Connection) -> None:
        """Holds what came out against the tables that say how everything stands now."""
        findings = self._findings
        for row in await connection.fetch(f"SELECT {POOL_COLUMNS} FROM pools ORDER BY pool_key"):
            pool = pool_of(tuple(row))
            recorded = self._pools.get(pool.pool_key)
            if recorded is not None:
                stored = state_numbers(pool)[: len(recorded)]
                findings.equal(STATES, f"pools/{pool.pool_id}", "its row", stored, list(recorded))
        self._check_open_wins(await connection.fetch("SELECT pool_key, spin_id, state FROM open_wins"))
        self._check_payable()

    def _take_configs(self, batch: RecordedBatch) -> None:
        for pool_key, version, config, digest, *_ in batch.of(POOL_CONFIGS):
            where = f"pool_configs {pool_key} version {version}"
            self._findings.equal(CONFIGS, where, "its digest", digest, sha256(config.encode()).digest())
            self._findings.equal(CONFIGS, where, "the version", version, self._versions[pool_key] + 1)
            self._versions[pool_key] = version
            try:
                self.configs[pool_key, version] = parse_canonical(config)
            except (ValueError, KeyError, TypeError) as error:
                self._findings.add(CONFIGS, where, f"it cannot be read: {type(error).__name__}")

    def _take_contributions(self, batch: RecordedBatch, derived: defaultdict[Movement, int]) -> None:
        for values in batch.of(CONTRIBUTIONS):
            spin_id, wager, operator, currency = values[0], values[5], values[6], values[7]
            for share in map(Share._make, share_rows(values[-1])):
                self._check_share(spin_id, wager, share, batch)
                micros = share.amount_micros + share.reserve_micros + share.overflow_micros
                if share.shadow or not micros:
                    continue
                derived[Account.FUNDING, EntryKind.CONTRIBUTION, None, operator, currency] -= micros
                parts = (share.amount_micros, share.reserve_micros, share.overflow_micros)
                for account, part in zip(_POOL_ACCOUNTS, parts, strict=True):
                    derived[account, EntryKind.CONTRIBUTION, share.pool_key, None, currency] += part

    def _check_share(self, spin_id: UUID, wager_minor: int, share: Share, batch: RecordedBatch) -> None:
        config = self.configs.get((share.pool_key, share.config_version))
        if config is None:
            return  # its pool's configuration is from before the trail
        rate = 0 if share.skip_reason else config.contribution_ppm + config.reserve_ppm
        self._findings.equal(
            SHARES,
            f"contributions spin_id {spin_id}, pool {share.pool_key}, {batch.where}",
            "the share",
            share.amount_micros + share.reserve_micros + share.overflow_micros,
            wager_minor * rate,
        )

    def _take_voids(self, batch: RecordedBatch, derived: defaultdict[Movement, int]) -> None:
        for (_, operator, *_), (currency, numbers) in zip(batch.of(VOIDS), batch.voided_shares, strict=True):
            for share in map(Share._make, share_rows(numbers or ())):
                if not share.shadow:
                    micros = share.amount_micros + share.reserve_micros + share.overflow_micros
                    derived[Account.FUNDING, EntryKind.VOID, None, operator, currency] += micros

    def _take_wins(self, batch: RecordedBatch, derived: defaultdict[Movement, int]) -> None:
        balances = self._balances_shown(batch) if batch.of(WINS) else {}
        for values in batch.of(WINS):
            pool_key, spin_id, cycle, _, _, operator, _, _, _, currency, amount, shadow, *_ = values
            where = f"wins pool_key {pool_key}, spin_id {spin_id}, {batch.where}"
            held = balances.get((pool_key, spin_id), -1)
            self._findings.equal(WIN_AMOUNTS, where, "the amount", amount, held // MICROS)
            self._close_cycle(pool_key, cycle, batch)
            self._wins[pool_key, spin_id] = _KnownWin(operator, currency, amount, shadow)
            if not shadow:
                micros = amount * MICROS
                derived[Account.CURRENT, EntryKind.WIN, pool_key, None, currency] -= micros
                derived[Account.WINS_PAYABLE, EntryKind.WIN, None, operator, currency] += micros

    def _balances_shown(self, batch: RecordedBatch) -> Mapping[tuple[int, UUID], int]:
        return {
            (share.pool_key, values[0]): share.balance_micros
            for values in batch.of(CONTRIBUTIONS)
            for share in map(Share._make, share_rows(values[-1]))
        }

    def _close_cycle(self, pool_key: int, cycle: int, batch: RecordedBatch) -> None:
        self._findings.examined[WIN_AMOUNTS] += 1
        if (pool_key, cycle) in self._cycles:
            self._findings.add(WIN_AMOUNTS, f"pool {pool_key}, {batch.where}", f"cycle {cycle} ends again")
        self._cycles.add((pool_key, cycle))

    def _take_events(self, batch: RecordedBatch, derived: defaultdict[Movement, int]) -> None:
        for operator, sequence, pool_key, spin_id, kind, state, *_ in sorted(
            map(tuple, batch.of(WIN_EVENTS))
        ):
            where = f"win_events operator_id {operator}, sequence {sequence}, {batch.where}"
            self._findings.examined[EVENTS] += 1
            win = self._wins.get((pool_key, spin_id))
            if win is None or win.operator_id != operator:
                self._findings.add(EVENTS, where, "there is no such win of this operator")
                continue
            micros, currency = win.amount_minor * MICROS, win.currency_code
            if kind == EventKind.PAID:
                derived[Account.WINS_PAYABLE, EntryKind.PAYMENT, None, operator, currency] -= micros
                derived[Account.WINS_PAID, EntryKind.PAYMENT, None, operator, currency] += micros
            elif kind == EventKind.REJECTED:
                derived[Account.WINS_PAYABLE, EntryKind.REJECTION, None, operator, currency] -= micros
            win.state = state

    def _take_entries(self, batch: RecordedBatch, derived: Mapping[Movement, int]) -> None:
        """What follows from contributions, voids and wins must be there; the rest must balance it."""
        sums: Counter[str] = Counter()
        booked: Counter[Movement] = Counter()
        for _, account, kind, pool_key, operator, currency, micros in batch.of(ENTRIES):
            amount = int(micros)
            sums[currency] += amount
            self._balances[Account(account), pool_key, operator, currency] += amount
            booked[Account(account), EntryKind(kind), pool_key, operator, currency] += amount
        for currency, total in sums.items():
            self._findings.equal(BALANCE, batch.where, f"the sum of its entries in {currency}", total, 0)
        wanted = {movement for movement, amount in derived.items() if amount}
        for movement in wanted | {movement for movement in booked if _is_derived(movement)}:
            account, kind, pool_key, operator, _ = movement
            whose = f" of pool {pool_key}" if pool_key is not None else f" of {operator}"
            self._findings.equal(
                DERIVED,
                batch.where,
                f"{account.name}{whose} for {kind.name}",
                booked[movement],
                derived.get(movement, 0),
            )

    def _take_state(self, state: Sequence[int], batch: RecordedBatch) -> None:
        pool_key = state[0]
        before = self._pools.get(pool_key)
        if before is not None:
            self._take_version(before, state, batch)
        self._pools[pool_key] = state
        currency = self._currencies.get(pool_key)
        if state[_STATE] == Lifecycle.SHADOW or currency is None:
            return
        for account, stored in zip(_POOL_ACCOUNTS, state[_BALANCES], strict=True):
            self._findings.equal(
                POOL_BALANCES,
                f"pool {pool_key}, {batch.where}",
                account.name,
                stored,
                self._balances[account, pool_key, None, currency],
            )

    def _take_version(self, before: Sequence[int], state: Sequence[int], batch: RecordedBatch) -> None:
        """A pool's next state: its versions have no gap, and within a cycle only people lower it (PR-04)."""
        where = f"pool {state[0]}, {batch.where}"
        self._findings.equal(STATES, where, "the version", state[_VERSION], before[_VERSION] + 1)
        fell = state[_CURRENT] < before[_CURRENT] and state[_CYCLE] == before[_CYCLE]
        if fell and not any(values[2] == EntryKind.CORRECTION for values in batch.of(ENTRIES)):
            self._findings.add(STATES, where, f"it fell to {state[_CURRENT]} within its cycle")

    def _check_open_wins(self, rows: Sequence[asyncpg.Record]) -> None:
        derived = {
            key: win.state
            for key, win in self._wins.items()
            if win.state in (WinState.PAYABLE, WinState.HELD)
        }
        stored = {(pool_key, spin_id): state for pool_key, spin_id, state in rows}
        for key in derived.keys() | stored.keys():
            where = f"open_wins pool_key {key[0]}, spin_id {key[1]}"
            self._findings.equal(PAYABLE, where, "its state", stored.get(key), derived.get(key))

    def _check_payable(self) -> None:
        owed: Counter[tuple[Account, str, str]] = Counter()
        for win in self._wins.values():
            if win.shadow or win.state == WinState.REJECTED:
                continue
            account = Account.WINS_PAID if win.state == WinState.PAID else Account.WINS_PAYABLE
            owed[account, win.operator_id, win.currency_code] += win.amount_minor * MICROS
        booked: dict[tuple[Account, str, str], int] = {
            (account, str(operator), currency): amount
            for (account, _, operator, currency), amount in self._balances.items()
            if account in (Account.WINS_PAYABLE, Account.WINS_PAID)
        }
        for account, operator, currency in owed.keys() | booked.keys():
            self._findings.equal(
                PAYABLE,
                f"operator {operator}, {currency}",
                account.name,
                booked.get((account, operator, currency), 0),
                owed[account, operator, currency],
            )


def _is_derived(movement: Movement) -> bool:
    """Whether nothing but contributions, voids, wins and their events moves this."""
    account, kind, *_ = movement
    match kind:
        case EntryKind.CONTRIBUTION | EntryKind.WIN | EntryKind.PAYMENT:
            return True
        case EntryKind.VOID:
            return account is Account.FUNDING
        case EntryKind.REJECTION:
            return account is Account.WINS_PAYABLE
    return False
