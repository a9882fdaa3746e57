"""All SQL of a batch: lock, look at repeats, write. Sets in, sets out; rows in the order of their keys."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from jackpot_outbox.rows import Kind, VoidRow
from jackpot_outbox.store import DISPATCH_LEAD_MS, void_arrays, voids_insert
from spin_server.domain.commands import SpinMethod, StakeKind, WalletMethod
from spin_server.domain.facts import NewSpin, SettledSpin, WalletEntry, WalletRequest
from spin_server.domain.game import GameCategory
from spin_server.domain.money_moves import WalletMove
from spin_server.domain.void import NewVoid
from spin_server.domain.wallet import EntryKind, Wallet
from spin_server.rows import SELECT_SPINS, settled_spin

# What is known is as of the statement's beginning: an id that was committed while the locks were waited for
# is found by its unique key (an insert), or by looking again (a refusal).
_WALLETS = """
WITH wanted AS MATERIALIZED (
    SELECT wallet_id, operator_id, user_id, currency_code, balance_minor, entry_count, is_test, create_time
      FROM wallets
     WHERE wallet_id = ANY($1::text[])
     ORDER BY wallet_id
       {lock}
)
SELECT clock_timestamp() AS now,
       array_agg(wallet_id) AS wallet_ids,
       array_agg(operator_id) AS operator_ids,
       array_agg(user_id) AS user_ids,
       array_agg(currency_code) AS currency_codes,
       array_agg(balance_minor) AS balances,
       array_agg(entry_count) AS entry_counts,
       array_agg(is_test) AS test_flags,
       array_agg(create_time) AS create_times,
       (SELECT array_agg(spin_id) FROM spins WHERE spin_id = ANY($2::uuid[])) AS known_spins,
       (SELECT array_agg(request_id) FROM wallet_requests WHERE request_id = ANY($3::uuid[]))
           AS known_requests
  FROM wanted
"""
_LOCK_WALLETS = _WALLETS.format(lock="FOR NO KEY UPDATE")
_LOOK_AT_WALLETS = _WALLETS.format(lock="")

_FIND_SPINS = f"{SELECT_SPINS} WHERE s.spin_id = ANY($1::uuid[])"

_FIND_REQUESTS = """
SELECT r.*, w.create_time, e.kind, e.amount_minor AS entry_amount_minor, e.balance_minor
  FROM wallet_requests r
  JOIN wallets w USING (wallet_id)
  LEFT JOIN wallet_entries e ON e.wallet_id = r.wallet_id AND e.entry_number = r.entry_number
 WHERE r.request_id = ANY($1::uuid[])
"""

# A spin's entries and its outbox row follow from the spin: one set of arrays serves them all.
_SETTLED = """settled AS MATERIALIZED (
    SELECT *
      FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[],
                  $8::text[], $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::smallint[],
                  $14::text[], $15::text[], $16::text[], $17::bigint[], $18::boolean[], $19::bigint[])
        AS s (spin_id, method, operator_id, user_id, wallet_id, game_id, game_category,
              provider_name, provider_round_id, currency_code, wager_minor, payout_minor, stake_kind,
              country_code, client_seed, triggered_tiers, balance_minor, has_jackpot, first_entry)"""

_NEW_SPINS = f""", new_spins AS (
    INSERT INTO spins (spin_id, method, operator_id, user_id, wallet_id, game_id, game_category,
                       provider_name, provider_round_id, currency_code, wager_minor, payout_minor, stake_kind,
                       country_code, client_seed, triggered_tiers, balance_minor, has_jackpot, settle_time)
    SELECT spin_id, method, operator_id, user_id, wallet_id, game_id, game_category,
           provider_name, provider_round_id, currency_code, wager_minor, payout_minor, stake_kind,
           country_code, client_seed, triggered_tiers, balance_minor, has_jackpot, $20::timestamptz
      FROM settled
     ORDER BY spin_id
), new_entries AS (
    INSERT INTO wallet_entries (wallet_id, entry_number, kind, amount_minor, balance_minor, spin_id,
                                entry_time)
    SELECT wallet_id, first_entry, {int(EntryKind.STAKE)},
           -wager_minor, balance_minor - payout_minor, spin_id, $20::timestamptz
      FROM settled
     WHERE wager_minor > 0
     UNION ALL
    SELECT wallet_id, first_entry + (wager_minor > 0)::integer, {int(EntryKind.PAYOUT)},
           payout_minor, balance_minor, spin_id, $20::timestamptz
      FROM settled
     WHERE payout_minor > 0
     ORDER BY 1, 2
)"""

# Whoever inserts the rows dispatches them after the commit; the relay takes them once they are due.
_NEW_CONTRIBUTIONS = f""", new_contributions AS (
    INSERT INTO jackpot_outbox (kind, spin_id, operator_id, user_id, wallet_id, currency_code, wager_minor,
                                game_category, game_id, provider_name, provider_round_id, stake_kind,
                                country_code, client_seed, triggered_tiers, occur_time, create_time, due_time)
    SELECT {int(Kind.CONTRIBUTION)}, spin_id, operator_id, user_id, wallet_id, currency_code, wager_minor,
           game_category, game_id, provider_name, provider_round_id, stake_kind,
           country_code, client_seed, triggered_tiers, $20::timestamptz, $20::timestamptz,
           $20::timestamptz + interval '{DISPATCH_LEAD_MS} ms'
      FROM settled
     WHERE has_jackpot
     ORDER BY spin_id
)"""

_MOVE_WALLETS = """
UPDATE wallets
   SET balance_minor = w.balance_minor, entry_count = w.entry_count
  FROM unnest($21::text[], $22::bigint[], $23::bigint[]) AS w (wallet_id, balance_minor, entry_count)
 WHERE wallets.wallet_id = w.wallet_id
"""

# Wallets that were only looked at are locked now; each of their movements has changed the entry count.
_UNCHANGED = """
WITH locked AS MATERIALIZED (
    SELECT wallet_id, entry_count
      FROM wallets
     WHERE wallet_id = ANY($21::text[])
     ORDER BY wallet_id
       FOR NO KEY UPDATE
), unchanged AS MATERIALIZED (
    SELECT count(*) = cardinality($21::text[]) AS holds
      FROM locked
      JOIN unnest($21::text[], $24::bigint[]) AS seen (wallet_id, entry_count)
        ON seen.wallet_id = locked.wallet_id AND seen.entry_count = locked.entry_count
), """
_IF_UNCHANGED = "(SELECT holds FROM unchanged)"


def _write_spins_statement(*, contributing: bool, checked: bool) -> str:
    """`checked`: writes everything or nothing, and says which; otherwise the wallets are locked already."""
    inserts = _NEW_SPINS + (_NEW_CONTRIBUTIONS if contributing else "")
    if not checked:
        return f"WITH {_SETTLED}){inserts}{_MOVE_WALLETS}"
    return (
        f"{_UNCHANGED}{_SETTLED} WHERE {_IF_UNCHANGED}){inserts}, moved AS ({_MOVE_WALLETS}"
        f" AND {_IF_UNCHANGED}) SELECT holds FROM unchanged"
    )


_WRITE_SPINS = _write_spins_statement(contributing=False, checked=False)
_WRITE_SPINS_AND_CONTRIBUTIONS = _write_spins_statement(contributing=True, checked=False)
_WRITE_SPINS_IF_UNCHANGED = _write_spins_statement(contributing=False, checked=True)
_WRITE_SPINS_AND_CONTRIBUTIONS_IF_UNCHANGED = _write_spins_statement(contributing=True, checked=True)

_WRITE_MONEY = """
WITH new_wallets AS (
    INSERT INTO wallets (wallet_id, operator_id, user_id, currency_code, balance_minor, entry_count, is_test,
                         create_time)
    SELECT *
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[],
                  $8::timestamptz[]) AS w (wallet_id)
     ORDER BY wallet_id
), new_requests AS (
    INSERT INTO wallet_requests (request_id, method, wallet_id, operator_id, user_id, currency_code,
                                 amount_minor, is_test, entry_number, request_time)
    SELECT *
      FROM unnest($9::uuid[], $10::smallint[], $11::text[], $12::text[], $13::text[], $14::text[],
                  $15::bigint[], $16::boolean[], $17::bigint[], $18::timestamptz[]) AS r (request_id)
     ORDER BY request_id
), new_entries AS (
    INSERT INTO wallet_entries (wallet_id, entry_number, kind, amount_minor, balance_minor, win, request_id,
                                spin_id, entry_time)
    SELECT *
      FROM unnest($19::text[], $20::bigint[], $21::smallint[], $22::bigint[], $23::bigint[], $24::text[],
                  $25::uuid[], $26::uuid[], $27::timestamptz[]) AS e (wallet_id, entry_number)
     ORDER BY wallet_id, entry_number
)
UPDATE wallets
   SET balance_minor = w.balance_minor, entry_count = w.entry_count
  FROM unnest($28::text[], $29::bigint[], $30::bigint[]) AS w (wallet_id, balance_minor, entry_count)
 WHERE wallets.wallet_id = w.wallet_id
"""

# Of a spin that has not arrived, a row without money takes its place.
_WRITE_VOIDS = f"""
WITH voided AS (
    INSERT INTO spin_voids (spin_id, operator_id, wallet_id, reason, void_time)
    SELECT u.*, $1::timestamptz
      FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[])
        AS u (spin_id, operator_id, wallet_id, reason)
     ORDER BY u.spin_id
), ahead AS (
    INSERT INTO spins (spin_id, method, operator_id, user_id, wallet_id, game_id, game_category,
                       provider_name, provider_round_id, currency_code, wager_minor, payout_minor, stake_kind,
                       country_code, client_seed, triggered_tiers, balance_minor, has_jackpot, settle_time)
    SELECT u.spin_id, {int(SpinMethod.VOIDED_AHEAD)}, u.operator_id, u.user_id, u.wallet_id, '',
           {int(GameCategory.OTHER)}, '', '', u.currency_code, 0, 0, {int(StakeKind.CASH)}, '', '', '',
           u.balance_minor, false, $1::timestamptz
      FROM unnest($6::uuid[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[])
        AS u (spin_id, operator_id, user_id, wallet_id, currency_code, balance_minor)
     ORDER BY u.spin_id
)
{voids_insert(first_parameter=12)}
"""

_TOUCH_WALLETS = "UPDATE wallets SET entry_count = entry_count WHERE wallet_id = ANY($1::text[])"


@dataclass(frozen=True, slots=True)
class Found:
    """What a batch starts from. `now` is the clock after all wallets were read, and locked if they are."""

    now: datetime
    wallets: dict[str, Wallet]
    known_spins: frozenset[UUID]
    known_requests: frozenset[UUID]


async def lock_wallets(
    connection: asyncpg.Connection,
    wallet_ids: Collection[str],
    spin_ids: Sequence[UUID],
    request_ids: Sequence[UUID],
) -> Found:
    """Locks the wallets that exist until the transaction ends, and says which of the ids are known."""
    return _found(await connection.fetchrow(_LOCK_WALLETS, list(wallet_ids), spin_ids, request_ids))


async def look_at_wallets(
    connection: asyncpg.Connection, wallet_ids: Collection[str], spin_ids: Sequence[UUID]
) -> Found:
    """The wallets that exist as they are now, not locked, and which of the spins are known."""
    return _found(await connection.fetchrow(_LOOK_AT_WALLETS, list(wallet_ids), spin_ids, ()))


def _found(row: asyncpg.Record | None) -> Found:
    assert row is not None
    now, *columns, known_spins, known_requests = row
    wallets = {fields[0]: Wallet(*fields) for fields in zip(*columns, strict=True)} if columns[0] else {}
    return Found(now, wallets, frozenset(known_spins or ()), frozenset(known_requests or ()))


async def find_spins(connection: asyncpg.Connection, spin_ids: Collection[UUID]) -> dict[UUID, SettledSpin]:
    """The spins that exist, as first settled, with their jackpots as they are now."""
    rows = await connection.fetch(_FIND_SPINS, list(spin_ids))
    return {row["spin_id"]: settled_spin(row) for row in rows}


async def find_requests(
    connection: asyncpg.Connection, request_ids: Collection[UUID]
) -> dict[UUID, WalletMove]:
    """The wallet requests that took effect, as the first time."""
    rows = await connection.fetch(_FIND_REQUESTS, list(request_ids))
    return {row["request_id"]: _wallet_move(row) for row in rows}


async def write_spins(
    connection: asyncpg.Connection, spins: Sequence[NewSpin], now: datetime, moved: Iterable[Wallet]
) -> None:
    """Inserts spins, their entries and outbox rows, and brings `moved` wallets to their new state."""
    contributing = any(spin.record.has_jackpot for spin in spins)
    statement = _WRITE_SPINS_AND_CONTRIBUTIONS if contributing else _WRITE_SPINS
    await connection.execute(statement, *_spin_arrays(spins), now, *_wallet_arrays(moved))


async def write_spins_if_unchanged(
    connection: asyncpg.Connection,
    spins: Sequence[NewSpin],
    now: datetime,
    wallets: Sequence[Wallet],
    seen_counts: Sequence[int],
) -> bool:
    """What `write_spins` does, if `wallets[i]`, locked now, still has `seen_counts[i]` entries.

    Otherwise it writes nothing and returns False. One statement, which may be a transaction of its own.
    """
    contributing = any(spin.record.has_jackpot for spin in spins)
    statement = _WRITE_SPINS_AND_CONTRIBUTIONS_IF_UNCHANGED if contributing else _WRITE_SPINS_IF_UNCHANGED
    holds: bool = await connection.fetchval(
        statement, *_spin_arrays(spins), now, *_wallet_arrays(wallets), seen_counts
    )
    return holds


async def write_money(
    connection: asyncpg.Connection,
    created: Sequence[Wallet],
    requests: Sequence[WalletRequest],
    entries: Sequence[WalletEntry],
    moved: Iterable[Wallet],
) -> None:
    """Inserts wallets as they are after the batch, requests, entries; brings `moved` to their new state."""
    await connection.execute(
        _WRITE_MONEY,
        [w.wallet_id for w in created],
        [w.operator_id for w in created],
        [w.user_id for w in created],
        [w.currency_code for w in created],
        [w.balance_minor for w in created],
        [w.entry_count for w in created],
        [w.is_test for w in created],
        [w.create_time for w in created],
        [r.request_id for r in requests],
        [r.method for r in requests],
        [r.wallet_id for r in requests],
        [r.operator_id for r in requests],
        [r.user_id for r in requests],
        [r.currency_code for r in requests],
        [r.amount_minor for r in requests],
        [r.is_test for r in requests],
        [r.entry_number for r in requests],
        [r.request_time for r in requests],
        [e.wallet_id for e in entries],
        [e.entry_number for e in entries],
        [e.kind for e in entries],
        [e.amount_minor for e in entries],
        [e.balance_minor for e in entries],
        [e.win for e in entries],
        [e.request_id for e in entries],
        [e.spin_id for e in entries],
        [e.entry_time for e in entries],
        *_wallet_arrays(moved),
    )


async def write_voids(
    connection: asyncpg.Connection, voids: Sequence[NewVoid], rows: Sequence[VoidRow], now: datetime
) -> None:
    """Inserts voids and their outbox rows, sorted by spin; what stands for spins that have not arrived."""
    ahead = [void.spin.record for void in voids if void.is_ahead]
    await connection.execute(
        _WRITE_VOIDS,
        now,
        [v.command.spin_id for v in voids],
        [v.command.operator_id for v in voids],
        [v.command.wallet_id for v in voids],
        [v.command.reason for v in voids],
        [r.terms.spin_id for r in ahead],
        [r.terms.operator_id for r in ahead],
        [r.terms.user_id for r in ahead],
        [r.terms.wallet_id for r in ahead],
        [r.terms.currency_code for r in ahead],
        [r.balance_minor for r in ahead],
        *void_arrays(rows),
    )


async def touch_wallets(connection: asyncpg.Connection, wallet_ids: Collection[str]) -> None:
    """Writes without changing anything, so that the commit waits for a synchronous standby."""
    await connection.execute(_TOUCH_WALLETS, list(wallet_ids))


def _spin_arrays(spins: Sequence[NewSpin]) -> tuple[Sequence[Any], ...]:
    records = [spin.record for spin in spins]
    terms = [record.terms for record in records]
    return (
        [t.spin_id for t in terms],
        [r.method for r in records],
        [t.operator_id for t in terms],
        [t.user_id for t in terms],
        [t.wallet_id for t in terms],
        [t.game_id for t in terms],
        [r.game_category for r in records],
        [t.provider_name for t in terms],
        [t.provider_round_id for t in terms],
        [t.currency_code for t in terms],
        [t.wager_minor for t in terms],
        [r.payout_minor for r in records],
        [t.stake_kind for t in terms],
        [t.country_code for t in terms],
        [t.client_seed for t in terms],
        [t.triggered_tiers for t in terms],
        [r.balance_minor for r in records],
        [r.has_jackpot for r in records],
        [spin.first_entry for spin in spins],
    )


def _wallet_arrays(moved: Iterable[Wallet]) -> tuple[list[str], list[int], list[int]]:
    wallets = list(moved)
    return (
        [w.wallet_id for w in wallets],
        [w.balance_minor for w in wallets],
        [w.entry_count for w in wallets],
    )


def _wallet_move(row: "asyncpg.Record") -> WalletMove:
    request = WalletRequest(
        request_id=row["request_id"],
        method=WalletMethod(row["method"]),
        wallet_id=row["wallet_id"],
        operator_id=row["operator_id"],
        user_id=row["user_id"],
        currency_code=row["currency_code"],
        amount_minor=row["amount_minor"],
        is_test=row["is_test"],
        entry_number=row["entry_number"],
        request_time=row["request_time"],
    )
    entry: WalletEntry | None = None
    if request.entry_number:
        entry = WalletEntry(
            wallet_id=request.wallet_id,
            entry_number=request.entry_number,
            kind=EntryKind(row["kind"]),
            amount_minor=row["entry_amount_minor"],
            balance_minor=row["balance_minor"],
            entry_time=request.request_time,
            request_id=request.request_id,
        )
    return WalletMove(request, row["create_time"], entry)
