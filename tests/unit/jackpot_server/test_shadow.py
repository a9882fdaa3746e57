"""PR-09: a shadow pool decides, draws and marks everything, and pays nothing."""

from datetime import timedelta
from uuid import UUID

import pytest

from jackpot_server.domain.commands import Outcome
from jackpot_server.domain.cycles import activate, next_cycle
from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.facts import Account, Acknowledged, Recorded, Share, WinState
from jackpot_server.domain.pool import Lifecycle, MustDropBy, Odds
from service_kit.money import MICROS
from tests.support.engine import ALWAYS, START, Engine, credited, not_credited, pool_config, spin

EVEN = Odds(one_in=2, per_wager_minor=100)


def tried(**pools: object) -> Engine:
    engine = Engine({"pool": pool_config(ALWAYS, reserve_ppm=5_000, **pools)})  # type: ignore[arg-type]
    engine.set_state("pool", Lifecycle.SHADOW)
    return engine


def test_pr_09_shares_and_wins_of_a_shadow_pool_are_marked_and_counted() -> None:
    engine = tried()
    [answer] = engine.submit(spin(1))
    assert isinstance(answer, Recorded)
    [share] = map(Share._make, answer.contribution.shares)
    assert share.shadow == 1
    assert (share.amount_micros, share.reserve_micros) == (MICROS, MICROS // 2)
    [win] = answer.wins
    assert win.shadow
    assert win.state is WinState.SHADOW
    assert win.amount_minor == 1001


def test_pr_09_a_shadow_pool_is_outside_funding_ledger_and_events() -> None:
    engine = tried()
    engine.submit(*(spin(number) for number in range(40)))
    assert len(engine.wins) == 40
    assert engine.entries == []
    assert not any(engine.events.values())
    assert engine.funding() == 0


def test_pr_09_a_shadow_win_resets_the_pool() -> None:
    engine = tried()
    engine.submit(spin(1))
    pool = engine.pool("pool")
    assert (pool.cycle, pool.current_micros) == (2, 1000 * MICROS)
    assert pool.last_win_minor == 1001


def test_pr_09_beside_a_shadow_pool_the_others_are_funded_and_paid_as_ever() -> None:
    configs = {"real": pool_config(EVEN, contribution_ppm=10_000), "tried": pool_config(EVEN)}
    alone, beside = Engine({"real": configs["real"]}), Engine(configs)
    beside.set_state("tried", Lifecycle.SHADOW)
    for number in range(200):  # each in a batch of its own: entries are sums of a batch
        alone.submit(spin(number))
        beside.submit(spin(number))
    assert beside.entries == alone.entries
    assert beside.events == alone.events
    assert {key for key, win in beside.wins.items() if not win.shadow} == alone.wins.keys()
    assert any(win.shadow for win in beside.wins.values())
    assert beside.balance(Account.WINS_PAYABLE) == alone.balance(Account.WINS_PAYABLE) > 0


def test_pr_09_a_shadow_pool_draws_as_it_would_if_it_were_active() -> None:
    active, shadow = (Engine({"pool": pool_config(EVEN)}) for _ in range(2))
    shadow.set_state("pool", Lifecycle.SHADOW)
    commands = [spin(number) for number in range(200)]
    active.submit(*commands)
    shadow.submit(*commands)
    assert active.wins.keys() == shadow.wins.keys()
    assert [win.proof for win in active.wins.values()] == [win.proof for win in shadow.wins.values()]


def test_pr_09_a_wallet_that_credits_a_shadow_win_is_contradicted() -> None:
    engine = tried()
    engine.submit(spin(1))
    win = engine.wins["pool", UUID(int=1)]
    [answer] = engine.submit(credited(win))
    assert isinstance(answer, Refused)
    assert answer.reason is Reason.WIN_NOT_PAYABLE
    assert len(engine.decisions[-1].contradictions) == 1
    for outcome in (Outcome.FAILED, Outcome.HOLD_CONFIRMED):
        [answer] = engine.submit(not_credited(win, outcome))
        assert isinstance(answer, Acknowledged)
        assert answer.replayed
        assert answer.win.state is WinState.SHADOW


def test_pr_09_the_same_again_shows_the_shadow_win_again() -> None:
    engine = tried()
    [first] = engine.submit(spin(1))
    [again] = engine.submit(spin(1))
    assert isinstance(first, Recorded)
    assert isinstance(again, Recorded)
    assert again.replayed
    assert again.wins == first.wins


def test_pr_09_resuming_a_shadow_pool_makes_it_active_at_its_reset_which_the_house_funds() -> None:
    config = pool_config(EVEN, reserve_ppm=5_000)
    engine = Engine({"pool": config})
    engine.set_state("pool", Lifecycle.SHADOW)
    engine.submit(*(spin(number, 10_000) for number in range(5)), spin(6, 1))
    before = engine.pool("pool")
    pool, entries = activate(before, config, START)
    assert pool.state is Lifecycle.ACTIVE
    assert pool.current_micros == pool.cycle_start_micros == 1000 * MICROS
    assert (pool.reserve_micros, pool.overflow_micros) == (0, 0)
    assert (pool.last_win_minor, pool.last_win_time) == (None, None)
    assert (pool.cycle, pool.version) == (before.cycle + 1, before.version + 1)
    assert sum(entry.amount_micros for entry in entries) == 0
    assert {entry.account: entry.amount_micros for entry in entries} == {
        Account.CURRENT: 1000 * MICROS,
        Account.HOUSE: -1000 * MICROS,
    }


def test_a_pool_that_is_not_a_shadow_is_not_activated() -> None:
    engine = Engine({"pool": pool_config()})
    with pytest.raises(ValueError, match="not a shadow"):
        activate(engine.pool("pool"), pool_config(), START)


def test_a_cycle_that_ends_without_a_win_keeps_every_micro_and_begins_a_period_anew() -> None:
    config = pool_config(MustDropBy(3600, START), ceiling_minor=1001, overflow_limit_minor=1, reserve_ppm=7)
    engine = Engine({"pool": config})
    engine.submit(spin(1, 1000))
    before = engine.pool("pool")
    now = START + timedelta(minutes=90)
    after = next_cycle(before, config, now)
    kept = ("current_micros", "reserve_micros", "overflow_micros", "state", "last_win_minor")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert after.cycle == before.cycle + 1
    assert after.cycle_start_micros == before.current_micros
    assert after.cycle_deadline == START + timedelta(hours=2)
