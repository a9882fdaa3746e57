"""Closing pools: who would be worse off, and where the money goes."""

from dataclasses import replace

import pytest

from jackpot_server.domain.admin_commands import (
    ClosePool,
    CorrectPool,
)
from jackpot_server.domain.administer import (
    close,
    correct,
)
from jackpot_server.domain.change import (
    Change,
    Subject,
)
from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.facts import Account
from jackpot_server.domain.plan import Configured
from jackpot_server.domain.pool import GameSays, Lifecycle, MustHitBy, Odds, PoolConfig
from service_kit.money import MICROS
from tests.support.engine import Engine, pool_config

ODDS = pool_config(Odds(1000, 100))
HIDDEN = pool_config(MustHitBy(2_000, 10_000))


def subjects(closed: PoolConfig, target: PoolConfig, *, overflow_micros: int = 0) -> tuple[Subject, Subject]:
    engine = Engine({"one": closed, "two": target})
    one, two = (
        Subject(engine.pool(name), Configured(config, config, Lifecycle.ACTIVE))
        for name, config in (("one", closed), ("two", target))
    )
    return one._replace(state=replace(one.state, overflow_micros=overflow_micros)), two


def closed(closed: PoolConfig, target: PoolConfig, *, accept: bool = False) -> Change | Refused:
    one, two = subjects(closed, target)
    return close(ClosePool("one", "two", accept), one, two, one.state.update_time)


@pytest.mark.parametrize(
    ("target", "is_worse"),
    [
        (ODDS, False),
        (replace(ODDS, trigger=Odds(500, 100)), False),
        (replace(ODDS, trigger=Odds(1001, 100)), True),
        (replace(ODDS, trigger=Odds(1000, 101)), True),
        (replace(ODDS, min_wager_minor=5), True),
        (replace(ODDS, game_ids=("g",)), True),
        (replace(ODDS, game_categories=(1, 2)), False),
        (HIDDEN, True),
        (replace(ODDS, trigger=GameSays()), True),
    ],
)
def test_pr_09_nobody_is_worse_off_in_another_pool_unless_that_is_accepted(
    target: PoolConfig, is_worse: bool
) -> None:
    answer = closed(ODDS, target)
    assert (isinstance(answer, Refused) and answer.reason is Reason.WORSE_ODDS) is is_worse
    assert isinstance(closed(ODDS, target, accept=True), Change)


@pytest.mark.parametrize(
    ("target", "is_worse"),
    [
        (HIDDEN, False),
        (replace(HIDDEN, trigger=MustHitBy(2_000, 10_002)), True),
        (replace(HIDDEN, contribution_ppm=9_999), True),
        (replace(HIDDEN, trigger=MustHitBy(2_000, 20_000), contribution_ppm=30_000), False),
    ],
)
def test_pr_09_hidden_amounts_are_compared_by_the_wagers_between_two_falls(
    target: PoolConfig, is_worse: bool
) -> None:
    assert isinstance(closed(HIDDEN, target), Refused) is is_worse


def test_pr_09_what_the_other_pool_cannot_show_becomes_its_overflow() -> None:
    one, two = subjects(ODDS, replace(ODDS, ceiling_minor=1_500), overflow_micros=7)
    change = close(ClosePool("one", "two", True), one, two, one.state.update_time)
    assert isinstance(change, Change)
    emptied, receiver = change.pools
    assert (emptied.state, emptied.current_micros, emptied.overflow_micros) == (Lifecycle.CLOSED, 0, 0)
    assert (receiver.current_micros, receiver.overflow_micros) == (1_500 * MICROS, 500 * MICROS + 7)
    assert sum(entry.amount_micros for entry in change.ledger.entries()) == 0


@pytest.mark.parametrize(
    ("amount", "is_done"), [(-1000 * MICROS, True), (-1000 * MICROS - 1, False), (1, True)]
)
def test_pr_02_a_correction_has_an_account_of_its_own_and_no_pool_falls_below_zero(
    amount: int, is_done: bool
) -> None:
    one, _ = subjects(ODDS, ODDS)
    answer = correct(CorrectPool("one", amount), one, one.state.update_time)
    assert isinstance(answer, Change) is is_done
    if isinstance(answer, Change):
        assert {entry.account: entry.amount_micros for entry in answer.ledger.entries()} == {
            Account.CURRENT: amount,
            Account.CORRECTION: -amount,
        }
