"""What a win pays, how its pool goes on, and what is told of it."""

from datetime import timedelta

from jackpot_server.domain.commands import Outcome
from jackpot_server.domain.facts import (
    Account,
    Acknowledged,
    EntryKind,
    EventKind,
    Recorded,
    Win,
    WinState,
)
from service_kit.money import MICROS
from tests.support.engine import ALWAYS, NEVER, Engine, credited, not_credited, pool_config, spin


def recorded(answer: object) -> Recorded:
    assert isinstance(answer, Recorded)
    return answer


def won(engine: Engine, number: int = 1, **others: object) -> Win:
    """The only win of a spin."""
    [answer] = engine.submit(spin(number, **others))  # type: ignore[arg-type]
    [win] = recorded(answer).wins
    return win


def test_pr_03_a_win_pays_whole_minor_units_with_its_own_share_and_the_fraction_stays() -> None:
    engine = Engine({"major": pool_config(ALWAYS, contribution_ppm=15_555, reset_minor=1000)})
    win = won(engine, wager_minor=100)  # a share of 1.5555 minor units
    assert win.amount_minor == 1001
    assert engine.pool("major").current_micros == 1000 * MICROS + 555_500
    assert won(engine, 2).amount_minor == 1002  # 0.5555 + 1.5555 on top of the reset


def test_pr_03_a_one_cent_wager_can_win() -> None:
    engine = Engine({"major": pool_config(ALWAYS, contribution_ppm=1)})
    assert won(engine, wager_minor=1).amount_minor == 1000


def test_pr_06_the_reset_is_paid_by_the_reserve_then_by_the_house() -> None:
    engine = Engine({"major": pool_config(ALWAYS, contribution_ppm=10_000, reserve_ppm=20_000)})
    engine.configure("major", pool_config(NEVER, contribution_ppm=10_000, reserve_ppm=20_000))
    won(engine, wager_minor=10_000)  # 200 minor units of reserve for a reset of 1000
    pool = engine.pool("major")
    assert (pool.current_micros, pool.reserve_micros) == (1000 * MICROS, 0)
    assert engine.balance(Account.HOUSE) == -800 * MICROS
    resets = {entry.account: entry.amount_micros for entry in engine.entries if entry.kind is EntryKind.RESET}
    assert resets == {
        Account.CURRENT: 1000 * MICROS,
        Account.RESERVE: -200 * MICROS,
        Account.HOUSE: -800 * MICROS,
    }


def test_pr_06_the_pool_reopens_with_its_reset_and_what_the_overflow_holds() -> None:
    engine = Engine({"major": pool_config(NEVER, contribution_ppm=100_000, ceiling_minor=1001)})
    engine.submit(spin(1, wager_minor=200))  # 20 in: 1 into the pool, 19 over
    engine.configure("major", pool_config(NEVER, contribution_ppm=100_000, ceiling_minor=5000))
    engine.let_fall("major", spin(2))
    pool = engine.pool("major")
    assert (pool.current_micros, pool.overflow_micros) == (1019 * MICROS, 0)
    assert engine.balance(Account.HOUSE) == -1000 * MICROS


def test_pr_06_what_does_not_fit_under_the_ceiling_stays_in_the_overflow() -> None:
    engine = Engine({"major": pool_config(NEVER, contribution_ppm=100_000, ceiling_minor=1001)})
    engine.submit(spin(1, wager_minor=20_000))  # 2000 in: 1 into the pool, 1999 over
    engine.let_fall("major", spin(2))
    pool = engine.pool("major")
    assert (pool.current_micros, pool.overflow_micros) == (1001 * MICROS, 998 * MICROS)
    assert engine.balance(Account.HOUSE) == 0


def test_pr_10_of_two_wins_at_once_the_second_wins_the_pool_as_reset() -> None:
    engine = Engine({"major": pool_config(ALWAYS, contribution_ppm=10_000)})
    engine.submit(spin(1, wager_minor=50_000, operator_id="another"))
    first, second = engine.decide([spin(2), spin(3)])
    [one], [two] = recorded(first).wins, recorded(second).wins
    assert (one.cycle, two.cycle) == (2, 3)
    assert (one.amount_minor, two.amount_minor) == (1001, 1001)


def test_a_share_shows_the_pool_with_it_in_before_the_win() -> None:
    engine = Engine({"major": pool_config(ALWAYS, contribution_ppm=10_000)})
    [answer] = engine.submit(spin(1))
    [share] = recorded(answer).contribution.shares
    assert share[6] == 1001 * MICROS


def test_one_spin_can_win_several_pools() -> None:
    engine = Engine({"minor": pool_config(ALWAYS, reset_minor=5), "major": pool_config(ALWAYS)})
    [answer] = engine.submit(spin(1))
    assert [(win.pool_id, win.amount_minor) for win in recorded(answer).wins] == [
        ("minor", 6),
        ("major", 1001),
    ]
    assert [event.win.event_sequence for event in engine.events["operator"]] == [1, 2]


def test_pr_11_an_unpaid_win_never_expires() -> None:
    engine = Engine({"major": pool_config(ALWAYS)})
    win = won(engine)
    for number in range(2, 200):
        engine.submit(spin(number))
    engine.now += timedelta(days=3650)
    [answer] = engine.submit(credited(win))
    assert isinstance(answer, Acknowledged)
    assert (answer.win.state, answer.win.amount_minor) == (WinState.PAID, win.amount_minor)


def test_pr_18_every_win_is_told_in_the_batch_that_decided_it_gapless_per_operator() -> None:
    engine = Engine({"major": pool_config(ALWAYS)})
    commands = [spin(number, operator_id=f"operator-{number % 3}") for number in range(40)]
    for start in range(0, 40, 8):
        engine.submit(*commands[start : start + 8])
    assert {operator: len(events) for operator, events in engine.events.items()} == {
        "operator-0": 14,
        "operator-1": 13,
        "operator-2": 13,
    }
    for events in engine.events.values():
        assert [event.win.event_sequence for event in events] == list(range(1, len(events) + 1))
        assert {event.kind for event in events} == {EventKind.DECIDED}
    for answer in engine.recorded.values():
        [win] = answer.wins
        assert engine.events[win.operator_id][win.event_sequence - 1].win == win


def test_pr_18_an_events_win_is_the_win_as_it_was_after_it() -> None:
    engine = Engine({"major": pool_config(ALWAYS)})
    win = won(engine)
    engine.submit(not_credited(win, Outcome.FAILED))
    engine.submit(credited(win))
    told = [(event.kind, event.win.state, event.win.event_sequence) for event in engine.events["operator"]]
    assert told == [
        (EventKind.DECIDED, WinState.PAYABLE, 1),
        (EventKind.HELD, WinState.HELD, 2),
        (EventKind.PAID, WinState.PAID, 3),
    ]
