"""Cycles that end without a win: a shadow pool becomes active, a restored pool takes another key. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from jackpot_server.domain.facts import Account, Entry, EntryKind
from jackpot_server.domain.pool import Lifecycle, PoolConfig, PoolState
from jackpot_server.domain.trigger import deadline_of_cycle
from service_kit.money import MICROS


class Activated(NamedTuple):
    """A pool that was only tried, at its reset, and the movements that fund it."""

    pool: PoolState
    entries: Sequence[Entry]


def next_cycle(pool: PoolState, newest: PoolConfig, now: datetime, cycle: int | None = None) -> PoolState:
    """The pool in a new cycle, the next one or `cycle`: its amounts stay, its newest configuration begins.

    The cycles that end or are left out are to be kept in `unwon_cycles`, the seeds up to COMMITTED_AHEAD
    cycles beyond the new one are to be committed in the same transaction.
    """
    return replace(
        pool,
        cycle=pool.cycle + 1 if cycle is None else cycle,
        cycle_config_version=pool.config_version,
        cycle_start_micros=pool.current_micros,
        cycle_start_time=now,
        cycle_deadline=deadline_of_cycle(newest.trigger, now, None),
        version=pool.version + 1,
        update_time=now,
    )


def activate(pool: PoolState, newest: PoolConfig, now: datetime) -> Activated:
    """A shadow pool made active (PR-09): what it seemed to hold is gone, its reset is funded by the house.

    A new cycle, because anybody could have learnt from the shadow one's wins where it stands. What is said of
    `next_cycle` holds.
    """
    if pool.state is not Lifecycle.SHADOW:
        raise ValueError(f"pool {pool.pool_id} is not a shadow pool")
    reset = newest.reset_minor * MICROS
    at_its_reset = replace(
        pool,
        state=Lifecycle.ACTIVE,
        current_micros=reset,
        reserve_micros=0,
        overflow_micros=0,
        last_win_minor=None,
        last_win_time=None,
    )
    currency = pool.currency_code
    entries = (
        Entry(Account.CURRENT, EntryKind.OPENING, pool.pool_key, None, currency, reset),
        Entry(Account.HOUSE, EntryKind.OPENING, None, None, currency, -reset),
    )
    return Activated(next_cycle(at_its_reset, newest, now), entries)
