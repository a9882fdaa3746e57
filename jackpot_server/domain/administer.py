"""What people do to pools: each change decided from the locked pool, as a value. Pure.

Rates, odds, ceilings and resets begin with the next cycle (PR-08), so a running cycle's hidden amount and
odds never change. Nothing here loses a micro: what leaves an account enters another (PR-09).
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from jackpot_server.domain.admin_commands import (
    ClosePool,
    CorrectPool,
    CreatePool,
)
from jackpot_server.domain.change import Change, Subject
from jackpot_server.domain.cycles import activate, next_cycle
from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.facts import Account, EntryKind
from jackpot_server.domain.plan import Configured, plan
from jackpot_server.domain.pool import (
    Lifecycle,
    MustHitBy,
    Odds,
    PoolConfig,
    PoolState,
    canonical_text,
)
from jackpot_server.domain.terms import ceiling_micros
from service_kit.money import MAX_ACCOUNT_MICROS, MICROS

# What needs a second person when it changes.
_GUARDED: Final = ("contribution_ppm", "reserve_ppm", "trigger", "ceiling_minor", "reset_minor")
# Whom a pool takes; empty means everybody.
_CHOICES: Final = (
    "operator_ids",
    "game_ids",
    "provider_names",
    "game_categories",
    "stake_kinds",
    "country_codes",
)


def create(what: CreatePool, known: Mapping[str, Configured]) -> Change | Refused:
    """A pool that does not exist; what it opens with is the house's, or taken over from another system."""
    if what.pool_id in known:
        return Refused(Reason.POOL_EXISTS, f"There is a pools/{what.pool_id} already.")
    if problems := plan(known, {what.pool_id: what.config}).problems:
        return _invalid("config", "; ".join(problems))
    opening = opening_micros(what)
    if not what.config.reset_minor * MICROS <= opening <= ceiling_micros(what.config):
        return _invalid("opening_micros", "must lie between the reset and the ceiling")
    after = {
        "state": what.state.name,
        "config": json.loads(canonical_text(what.config)),
        "current_micros": opening,
    }
    return Change(needs_two=what.opening_micros != 0, after=after)


def opening_micros(what: CreatePool) -> int:
    """What a new pool shows first."""
    return what.opening_micros or what.config.reset_minor * MICROS


def update(
    pool: Subject, config: PoolConfig, known: Mapping[str, Configured], now: datetime
) -> Change | Refused:
    """Another configuration of a pool that is not closed; one that is the same changes nothing."""
    state = pool.state
    if state.state is Lifecycle.CLOSED:
        return _closed(state)
    planned = plan(known, {state.pool_id: config})
    if planned.problems:
        return _invalid("config", "; ".join(planned.problems))
    if not planned.changed:
        return Change(needs_two=False)
    fields = planned.changed[0].fields
    after = replace(
        state, config_version=state.config_version + 1, version=state.version + 1, update_time=now
    )
    return Change(
        needs_two=any(each.field in _GUARDED for each in fields),
        pools=[after],
        config=config,
        before=planned.changed[0].before,
        after=planned.changed[0].after,
    )


def pause(pool: Subject, now: datetime) -> Change | Refused:
    """A shadow pool has nothing to keep: it is closed or made active."""
    state = pool.state
    if state.state is Lifecycle.CLOSED:
        return _closed(state)
    if state.state is Lifecycle.SHADOW:
        return Refused(Reason.POOL_SHADOW, f"pools/{state.pool_id} is only tried: resume or close it.")
    return _moved(state, Lifecycle.PAUSED, now)


def resume(pool: Subject, now: datetime) -> Change | Refused:
    """Of a paused pool: everything as it was. Of a shadow pool: see `activate`."""
    state = pool.state
    if state.state is Lifecycle.CLOSED:
        return _closed(state)
    if state.state is not Lifecycle.SHADOW:
        return _moved(state, Lifecycle.ACTIVE, now)
    activated = activate(state, pool.configured.newest, now)
    change = Change(
        needs_two=False,
        pools=[activated.pool],
        ended=[state],
        before=_shown(state),
        after=_shown(activated.pool),
    )
    for entry in activated.entries:
        if entry.pool_key is None:
            change.ledger.house(entry.kind, entry.currency_code, entry.amount_micros)
        else:
            change.ledger.pool(
                entry.account, entry.kind, entry.pool_key, entry.currency_code, entry.amount_micros
            )
    return change


def close(what: ClosePool, pool: Subject, target: Subject, now: datetime) -> Change | Refused:
    """Current, reserve and overflow move at once; what the target cannot show is overflow (PR-07)."""
    source, into = pool.state, target.state
    if source.state is Lifecycle.CLOSED:
        return _closed(source)
    if into.state is Lifecycle.CLOSED:
        return _closed(into)
    if into.pool_id == source.pool_id or into.state is Lifecycle.SHADOW:
        return _invalid("transfer_to", "must be another pool that pays")
    if into.currency_code != source.currency_code:
        return Refused(Reason.CURRENCY_MISMATCH, "Both pools must have one currency.")
    if not what.accept_worse_odds and _is_worse(pool.configured.newest, target.configured.newest):
        return Refused(
            Reason.WORSE_ODDS,
            f"Players of pools/{source.pool_id} would be worse off with pools/{into.pool_id}.",
        )
    has_money = source.state is not Lifecycle.SHADOW
    current, reserve, overflow = (
        (source.current_micros, source.reserve_micros, source.overflow_micros) if has_money else (0, 0, 0)
    )
    ceiling = min(ceiling_micros(target.configured.of_cycle), ceiling_micros(target.configured.newest))
    to_current = min(current, max(ceiling - into.current_micros, 0))
    moved_overflow = overflow + current - to_current
    receiver = replace(
        into,
        current_micros=into.current_micros + to_current,
        reserve_micros=into.reserve_micros + reserve,
        overflow_micros=into.overflow_micros + moved_overflow,
        version=into.version + 1,
        update_time=now,
    )
    if max(receiver.current_micros, receiver.reserve_micros, receiver.overflow_micros) > MAX_ACCOUNT_MICROS:
        return _invalid("transfer_to", "cannot hold as much as both pools have")
    emptied = replace(source, state=Lifecycle.CLOSED, current_micros=0, reserve_micros=0, overflow_micros=0)
    change = Change(
        needs_two=True,
        pools=[next_cycle(emptied, pool.configured.newest, now), receiver],
        ended=[source],
        before={source.pool_id: _shown(source), into.pool_id: _shown(into)},
        after={source.pool_id: _shown(emptied), into.pool_id: _shown(receiver)},
    )
    currency = source.currency_code
    for account, taken, given in (
        (Account.CURRENT, current, to_current),
        (Account.RESERVE, reserve, reserve),
        (Account.OVERFLOW, overflow, moved_overflow),
    ):
        change.ledger.pool(account, EntryKind.TRANSFER, source.pool_key, currency, -taken)
        change.ledger.pool(account, EntryKind.TRANSFER, into.pool_key, currency, given)
    return change


def correct(what: CorrectPool, pool: Subject, now: datetime) -> Change | Refused:
    """Between nothing and the ceiling; the other side is the correction account."""
    state = pool.state
    if state.state is Lifecycle.CLOSED:
        return _closed(state)
    if state.state is Lifecycle.SHADOW:
        return Refused(Reason.POOL_SHADOW, f"pools/{state.pool_id} is only tried: it holds no money.")
    current = state.current_micros + what.amount_micros
    if not 0 <= current <= ceiling_micros(pool.configured.of_cycle):
        return _invalid("amount_micros", "the current amount must stay between 0 and the ceiling")
    after = replace(state, current_micros=current, version=state.version + 1, update_time=now)
    change = Change(needs_two=True, pools=[after], before=_shown(state), after=_shown(after))
    currency = state.currency_code
    change.ledger.pool(Account.CURRENT, EntryKind.CORRECTION, state.pool_key, currency, what.amount_micros)
    change.ledger.correction(EntryKind.CORRECTION, currency, -what.amount_micros)
    return change


def _moved(state: PoolState, to: Lifecycle, now: datetime) -> Change:
    if state.state is to:
        return Change(needs_two=False)
    after = replace(state, state=to, version=state.version + 1, update_time=now)
    return Change(
        needs_two=False, pools=[after], before={"state": state.state.name}, after={"state": to.name}
    )


def _is_worse(of_closed: PoolConfig, of_target: PoolConfig) -> bool:
    """Whether somebody who took part would not, or would win less often for the same wager.

    Pools that fall in different ways cannot be compared, nor can two that fall by the clock or by a game's
    word: they count as worse.
    """
    for choice in _CHOICES:
        taken = getattr(of_target, choice)
        if taken and not (getattr(of_closed, choice) and set(getattr(of_closed, choice)) <= set(taken)):
            return True
    if of_target.min_wager_minor > of_closed.min_wager_minor:
        return True
    match of_closed.trigger, of_target.trigger:
        case Odds() as before, Odds() as after:
            return after.one_in * after.per_wager_minor > before.one_in * before.per_wager_minor
        case MustHitBy() as before, MustHitBy() as after:
            # The wagers between two falls: from the reset to the middle of the hidden amounts.
            way_before, way_after = (
                trigger.floor_minor + trigger.ceiling_minor - 2 * config.reset_minor
                for trigger, config in ((before, of_closed), (after, of_target))
            )
            return way_after * of_closed.contribution_ppm > way_before * of_target.contribution_ppm
    return True


def _shown(state: PoolState) -> dict[str, Any]:
    return {
        "state": state.state.name,
        "current_micros": state.current_micros,
        "reserve_micros": state.reserve_micros,
        "overflow_micros": state.overflow_micros,
    }


def _closed(state: PoolState) -> Refused:
    return Refused(Reason.POOL_CLOSED, f"pools/{state.pool_id} is closed.")


def _invalid(name: str, message: str) -> Refused:
    return Refused(Reason.INVALID_FIELDS, message, (name,))
