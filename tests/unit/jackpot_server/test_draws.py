"""PR-12 to PR-14: odds, seeds, draws, hidden amounts."""

import hashlib
import hmac
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackpot_server.domain.decision import (
    COMMITTED_AHEAD,
    NotReached,
)
from jackpot_server.domain.draw import (
    Draws,
    commitment,
    cycle_seed,
    draw_prefix,
    draw_suffix,
    hidden_amount,
    number,
    part,
    threshold,
)
from jackpot_server.domain.facts import Proof, Recorded
from jackpot_server.domain.pool import MustHitBy, Odds
from jackpot_server.domain.trigger import OddsDraw
from service_kit.money import MICROS
from tests.support.engine import ALWAYS, ROOT_KEY, START, Engine, pool_config, spin

DIGEST = bytes(32)


@given(
    one_in=st.integers(1, 10**12),
    per_wager=st.integers(1, 10**12),
    wager=st.integers(1, 10**12),
)
def test_pr_12_the_threshold_is_the_floor_of_the_exact_odds(one_in: int, per_wager: int, wager: int) -> None:
    limit = threshold(Odds(one_in, per_wager), wager)
    if wager >= one_in * per_wager:
        assert limit == 2**256  # every draw is below it
    else:
        assert limit * one_in * per_wager <= wager << 256 < (limit + 1) * one_in * per_wager


def test_pr_12_odds_are_proportional_to_the_wager() -> None:
    odds = Odds(one_in=1_000_000, per_wager_minor=100)
    assert threshold(odds, 100) == 2**256 // 10**6
    for wager in (1, 3, 250, 100_000):
        assert abs(threshold(odds, wager) - threshold(odds, 1) * wager) <= wager


def test_pr_12_the_draw_does_not_depend_on_the_wager() -> None:
    odds = Odds(one_in=3, per_wager_minor=100)
    for number_of_spin in range(1, 60):
        values = set()
        for wager in (300, 200, 100):
            engine = Engine({"major": pool_config(odds)})
            [answer] = engine.submit(spin(number_of_spin, wager))
            assert isinstance(answer, Recorded)
            values |= {(win.proof.value, win.amount_minor > 0) for win in answer.wins}
        assert len(values) == 1  # a wager of 300 is certain to win: its draw is shown, and it is the only one


def test_pr_13_a_seed_follows_from_root_key_pool_and_cycle() -> None:
    message = b"\0\0\0\x04mini" + b"\0\0\0\x08" + (7).to_bytes(8, "big")
    seed = hmac.new(ROOT_KEY, message, hashlib.sha256).digest()
    assert cycle_seed(ROOT_KEY, "mini", 7) == seed
    assert commitment(seed) == hashlib.sha256(seed).digest()


def test_pr_13_a_draw_is_the_hmac_of_length_prefixed_pool_cycle_spin_client_seed_and_configuration() -> None:
    seed, spin_id = bytes(range(32)), UUID(int=0x0123456789ABCDEF0123456789ABCDEF)
    message = (
        b"\0\0\0\x04mini\0\0\0\x08\0\0\0\0\0\0\0\x07\0\0\0\x10"
        + spin_id.bytes
        + b"\0\0\0\x05lucky\0\0\0\x20"
        + DIGEST
    )
    expected = int.from_bytes(hmac.new(seed, message, hashlib.sha256).digest(), "big")
    prefix, suffix = draw_prefix("mini", 7), draw_suffix("lucky", DIGEST)
    assert Draws(seed).draw(prefix, spin_id.bytes, suffix) == expected


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_the_prepared_hmac_is_the_hmac(seed: bytes, message: bytes) -> None:
    expected = int.from_bytes(hmac.digest(seed, message, "sha256"), "big")
    assert Draws(seed).draw(message, b"", b"") == expected


def test_pr_13_the_same_spin_draws_the_same_in_another_process() -> None:
    config = pool_config(Odds(one_in=2, per_wager_minor=100))
    one, other = Engine({"major": config}), Engine({"major": config})
    commands = [spin(number) for number in range(200)]
    one.submit(*commands)
    for command in commands:
        other.submit(command)
    assert one.wins.keys() == other.wins.keys()
    assert {key: win.proof for key, win in one.wins.items()} == {
        key: win.proof for key, win in other.wins.items()
    }


@pytest.mark.parametrize(
    "change",
    [{"client_seed": "x"}, {"spin_id": UUID(int=2)}],
)
def test_pr_13_the_player_and_the_spin_change_the_draw(change: dict[str, object]) -> None:
    values = set()
    for others in ({}, change):
        engine = Engine({"major": pool_config(ALWAYS)})
        [answer] = engine.submit(spin(1)._replace(**others))  # type: ignore[arg-type]
        assert isinstance(answer, Recorded)
        values.add(answer.wins[0].proof.value)
    assert len(values) == 2


def test_pr_13_the_seeds_of_the_next_sixteen_cycles_are_always_committed() -> None:
    engine = Engine({"major": pool_config(ALWAYS)})
    for start in range(0, 60, 7):
        engine.submit(*(spin(number) for number in range(start, start + 7)))
        cycle = engine.pool("major").cycle
        assert sorted(engine.seeds) == [(1, number) for number in range(1, cycle + COMMITTED_AHEAD + 1)]


def test_pr_13_a_batch_ends_before_an_item_whose_cycle_is_not_committed() -> None:
    engine = Engine({"major": pool_config(ALWAYS), "usd": pool_config(currency_code="USD")})
    commands = [spin(number) for number in range(30)]
    commands[25] = spin(25, currency_code="USD")
    answers = engine.decide(commands)
    reached = [not isinstance(answer, NotReached) for answer in answers]
    # 17 cycles are committed at the start. Nothing overtakes: the USD spin waits with the others.
    assert reached == [True] * 17 + [False] * 13
    assert engine.pool("major").cycle == 18
    assert len(engine.submit(*commands[17:])) == 13
    assert engine.pool("major").cycle == 30


def test_pr_13_repeats_of_one_batch_wait_too_once_it_has_ended() -> None:
    engine = Engine({"major": pool_config(ALWAYS)})
    answers = engine.decide([*(spin(number) for number in range(18)), spin(0)])
    assert isinstance(answers[16], Recorded)
    assert isinstance(answers[17], NotReached)
    assert isinstance(answers[18], NotReached)


@given(low=st.integers(0, 10**18), size=st.integers(1, 10**18), cycle=st.integers(1, 10**6))
def test_pr_14_a_hidden_amount_lies_within_its_bounds_both_included(low: int, size: int, cycle: int) -> None:
    amount = hidden_amount(bytes(32), "mini", cycle, DIGEST, low, low + size - 1)
    assert low <= amount <= low + size - 1


def test_pr_14_hidden_amounts_take_every_value_about_equally_often() -> None:
    counts = [0] * 10
    for cycle in range(20_000):
        counts[hidden_amount(bytes(32), "mini", cycle, DIGEST, 5, 14) - 5] += 1
    assert all(1800 < count < 2200 for count in counts), counts


def test_pr_14_a_value_beyond_the_fair_range_is_thrown_away_and_the_next_counter_tried() -> None:
    size = 2**255 + 1  # half of all values are beyond the largest multiple
    taken = set()
    for cycle in range(64):
        message = part(b"must_hit_by") + part(b"mini") + number(cycle) + part(DIGEST)
        counter = 0
        while True:
            value = int.from_bytes(hmac.digest(bytes(32), message + number(counter), "sha256"), "big")
            if value < size:
                break
            counter += 1
        assert hidden_amount(bytes(32), "mini", cycle, DIGEST, 0, size - 1) == value
        taken.add(counter)
    assert len(taken) > 1


def test_pr_14_must_hit_by_falls_to_the_contribution_that_reaches_the_hidden_amount() -> None:
    engine = Engine({"mini": pool_config(MustHitBy(1000, 1060), contribution_ppm=10_000)})
    for number_of_spin in range(1, 500):
        [answer] = engine.submit(spin(number_of_spin))
        assert isinstance(answer, Recorded)
        [share] = answer.contribution.shares
        for win in answer.wins:
            reached, hidden = win.proof.reached, win.proof.hidden
            assert reached is not None
            assert hidden is not None
            assert reached == share[6]
            assert hidden <= reached < hidden + MICROS  # it did not pass by the amount before
            assert 1000 * MICROS <= hidden <= 1060 * MICROS
            assert win.amount_minor == reached // MICROS
    assert len(engine.wins) > 7


def test_pr_14_a_hidden_amount_is_not_below_what_the_cycle_opened_with() -> None:
    config = pool_config(MustHitBy(floor_minor=1, ceiling_minor=1010), contribution_ppm=10_000)
    engine = Engine({"mini": config})
    engine.submit(*(spin(number_of_spin) for number_of_spin in range(300)))
    assert engine.wins
    assert all(win.proof.hidden >= 1000 * MICROS for win in engine.wins.values())  # type: ignore[operator]


def test_pr_14_every_cycle_has_fallen_when_the_ceiling_is_reached() -> None:
    engine = Engine({"mini": pool_config(MustHitBy(1000, 1005), contribution_ppm=10_000)})
    engine.submit(*(spin(number_of_spin, wager_minor=100) for number_of_spin in range(400)))
    assert all(win.amount_minor <= 1005 for win in engine.wins.values())
    assert engine.pool("mini").current_micros < 1005 * MICROS
    assert len(engine.wins) >= 400 // 6


def test_pr_12_a_draw_wins_below_its_threshold_and_not_at_it() -> None:
    trigger = OddsDraw(Odds(one_in=2**256, per_wager_minor=1), "major", 1, bytes(32), DIGEST)
    spin_id = spin(1).spin_id
    value = Draws(bytes(32)).draw(draw_prefix("major", 1), spin_id.bytes, draw_suffix("", DIGEST))
    # These odds make the wager the threshold.
    assert trigger.falls(spin(1, wager_minor=value), 0, START) is None
    assert trigger.falls(spin(1, wager_minor=value + 1), 0, START) == Proof(value=value, threshold=value + 1)
