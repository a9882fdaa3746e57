"""What goes into a pool: exact shares, ceilings, skipped pools."""

import pytest

from jackpot_server.domain.facts import Account, EntryKind, Recorded, Share, SkipReason
from jackpot_server.domain.pool import Lifecycle, MustHitBy
from service_kit.money import MAX_ACCOUNT_MICROS, MAX_AMOUNT_MINOR, MICROS
from tests.support.engine import NEVER, Engine, pool_config, spin


def shares_of(engine: Engine, *commands: object) -> list[list[Share]]:
    answers = engine.submit(*commands)  # type: ignore[arg-type]
    assert all(isinstance(answer, Recorded) for answer in answers)
    return [[Share(*row) for row in answer.contribution.shares] for answer in answers]  # type: ignore[union-attr]


def test_pr_01_a_share_is_exact_also_of_a_one_cent_wager() -> None:
    engine = Engine({"major": pool_config(contribution_ppm=333, reserve_ppm=7)})
    [[share]] = shares_of(engine, spin(1, wager_minor=1))
    assert (share.amount_micros, share.reserve_micros, share.overflow_micros) == (333, 7, 0)
    assert share.balance_micros == 1000 * MICROS + 333
    assert engine.pool("major").current_micros == 1000 * MICROS + 333
    assert engine.pool("major").reserve_micros == 7


def test_pr_01_many_small_shares_lose_nothing() -> None:
    engine = Engine({"major": pool_config(contribution_ppm=1, reserve_ppm=1)})
    for start in range(0, 5000, 500):
        engine.submit(*(spin(number, wager_minor=3) for number in range(start, start + 500)))
    assert engine.pool("major").current_micros - 1000 * MICROS == 5000 * 3
    assert engine.pool("major").reserve_micros == 5000 * 3


def test_pr_02_a_batch_has_one_entry_per_account_and_kind_and_they_sum_to_zero() -> None:
    engine = Engine({"minor": pool_config(reserve_ppm=500), "major": pool_config()})
    engine.decide([spin(number, operator_id=f"operator-{number % 2}") for number in range(10)])
    entries = engine.decisions[-1].entries
    assert sum(entry.amount_micros for entry in entries) == 0
    names = [(entry.account, entry.kind, entry.pool_key, entry.operator_id) for entry in entries]
    assert len(names) == len(set(names))
    assert {name[:2] for name in names} == {
        (Account.FUNDING, EntryKind.CONTRIBUTION),
        (Account.CURRENT, EntryKind.CONTRIBUTION),
        (Account.RESERVE, EntryKind.CONTRIBUTION),
    }
    assert [entry.amount_micros for entry in entries if entry.account is Account.FUNDING] == [-10_250_000] * 2


def test_pr_05_the_largest_wagers_keep_every_account_within_63_bits() -> None:
    largest = {"contribution_ppm": 500_000, "reserve_ppm": 500_000}
    engine = Engine({f"pool-{number}": pool_config(**largest) for number in range(16)})  # type: ignore[arg-type]
    for start in range(0, 100, 50):
        engine.submit(*(spin(number, MAX_AMOUNT_MINOR) for number in range(start, start + 50)))
    for pool in engine.states.values():
        for micros in (pool.current_micros, pool.reserve_micros, pool.overflow_micros):
            assert 0 <= micros <= MAX_ACCOUNT_MICROS < 2**63
    # Not lost where no account can hold it, but not taken either, and said so.
    last = Share(*engine.recorded[spin(99).spin_id].contribution.shares[0])
    assert last.skip_reason == SkipReason.ABOVE_BOUND
    assert last.amount_micros == last.reserve_micros == last.overflow_micros == 0


def test_pr_07_at_the_ceiling_the_rest_goes_to_the_overflow_then_to_the_reserve() -> None:
    config = pool_config(
        contribution_ppm=100_000, reserve_ppm=50_000, ceiling_minor=1015, overflow_limit_minor=8
    )
    engine = Engine({"major": config})
    shares = [share for [share] in shares_of(engine, *(spin(number) for number in range(4)))]
    parts = [(s.amount_micros, s.overflow_micros, s.reserve_micros) for s in shares]
    assert parts == [
        (10 * MICROS, 0, 5 * MICROS),
        (5 * MICROS, 5 * MICROS, 5 * MICROS),
        (0, 3 * MICROS, 12 * MICROS),
        (0, 0, 15 * MICROS),
    ]
    assert {sum(each) for each in parts} == {15 * MICROS}
    pool = engine.pool("major")
    assert (pool.current_micros, pool.overflow_micros, pool.reserve_micros) == (
        1015 * MICROS,
        8 * MICROS,
        37 * MICROS,
    )


def test_pr_07_without_an_overflow_limit_nothing_runs_into_the_reserve() -> None:
    engine = Engine({"major": pool_config(contribution_ppm=100_000, ceiling_minor=1001)})
    engine.submit(*(spin(number) for number in range(5)))
    assert engine.pool("major").overflow_micros == 49 * MICROS
    assert engine.pool("major").reserve_micros == 0


def test_the_ceiling_of_must_hit_by_is_the_pools_ceiling() -> None:
    engine = Engine({"mini": pool_config(MustHitBy(1005, 1005), contribution_ppm=100_000)})
    [[share]] = shares_of(engine, spin(1))
    assert (share.amount_micros, share.overflow_micros) == (5 * MICROS, 5 * MICROS)


@pytest.mark.parametrize(
    ("config", "command", "reason"),
    [
        ({"min_wager_minor": 101}, {}, SkipReason.BELOW_MINIMUM),
        ({"max_contribution_minor": 1}, {"wager_minor": 101}, SkipReason.ABOVE_BOUND),
        ({"stake_kinds": (1, 2)}, {"stake_kind": 3}, SkipReason.STAKE_KIND),
        ({"currency_code": "USD"}, {}, SkipReason.CURRENCY),
        ({"max_contribution_minor": 1}, {}, SkipReason.NOT_SKIPPED),
    ],
)
def test_a_pool_kept_out_by_its_bounds_alone_is_listed_with_the_reason(
    config: dict[str, object], command: dict[str, object], reason: SkipReason
) -> None:
    engine = Engine({"major": pool_config(**config)})  # type: ignore[arg-type]
    [[share]] = shares_of(engine, spin(1, **command))  # type: ignore[arg-type]
    assert share.skip_reason == reason
    assert (share.amount_micros == 0) == (reason is not SkipReason.NOT_SKIPPED)
    assert (engine.funding() == 0) == (reason is not SkipReason.NOT_SKIPPED)


@pytest.mark.parametrize(
    "config",
    [
        {"operator_ids": ("another",)},
        {"game_ids": ("another",)},
        {"provider_names": ("another",)},
        {"game_categories": (2, 3)},
        {"country_codes": ("AT", "CH")},
    ],
)
def test_a_pool_that_is_not_for_this_spin_is_not_listed(config: dict[str, object]) -> None:
    engine = Engine({"major": pool_config(**config)})  # type: ignore[arg-type]
    assert shares_of(engine, spin(1)) == [[]]


def test_a_paused_pool_keeps_its_amount_and_is_listed() -> None:
    engine = Engine({"major": pool_config()})
    engine.set_state("major", Lifecycle.PAUSED)
    [[share]] = shares_of(engine, spin(1))
    assert (share.skip_reason, share.balance_micros) == (SkipReason.PAUSED, 1000 * MICROS)
    assert engine.pool("major").version == 1


def test_at_most_sixteen_pools_are_listed_and_those_that_take_part_come_first() -> None:
    configs = {f"usd-{number:02}": pool_config(currency_code="USD") for number in range(10)}
    configs |= {f"eur-{number:02}": pool_config(NEVER) for number in range(12)}
    [shares] = shares_of(Engine(configs), spin(1))
    assert [share.skip_reason for share in shares] == [0] * 12 + [SkipReason.CURRENCY] * 4
