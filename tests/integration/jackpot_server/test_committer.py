"""Contributions and wins on a real database: what was answered is there, and the same again is the same."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import asyncpg
import grpc
import pytest

from jackpot_server.domain.commands import Outcome
from jackpot_server.domain.decision import (
    COMMITTED_AHEAD,
)
from jackpot_server.domain.facts import Recorded, Share, SkipReason, WinState
from jackpot_server.recall import read_acknowledgements, read_contributions, read_wins
from service_kit.errors import Refusal
from service_kit.money import MAX_AMOUNT_MINOR, MICROS
from tests.integration.jackpot_server.bench import OFTEN, POOLS, QUIET, findings, new_spin, open_bench
from tests.support.engine import ALWAYS, credited, not_credited, pool_config


async def test_what_was_answered_is_what_is_stored(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        [won] = await bench.wins(1)
        full = new_spin(
            provider_round_id="",
            client_seed='lucky\'s \\ "seed"',
            triggered_tiers=("A", "B"),
            country_code="",
        )
        answers = await bench.record(new_spin(), full, new_spin(game_category=2))
        ids = [answer.contribution.command.spin_id for answer in answers]
        stored = await read_contributions(bench.look, ids)
        assert [stored[spin_id] for spin_id in ids] == [answer.contribution for answer in answers]
        assert await read_wins(bench.look, [won.spin_id]) == {won.spin_id: [won]}
        assert [Share(*row).skip_reason for row in answers[0].contribution.shares] == [0, 0]
        assert answers[2].contribution.shares == []
        assert await findings(bench.look) == []


async def test_a_contribution_alone_takes_four_round_trips(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        await bench.warm()
        await bench.committer.contribute(new_spin(game_id=QUIET))
        assert [statement.split()[0] for statement in bench.statements] == ["BEGIN", "WITH", "WITH", "COMMIT"]


async def test_a_batch_takes_the_same_statements_whatever_its_size(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        await bench.warm()
        await bench.record(*(new_spin(game_id=QUIET) for _ in range(500)))
        assert len(bench.statements) == 4


async def test_a_batch_of_everything_takes_at_most_eight_statements(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        known = [new_spin() for _ in range(50)]
        await bench.record(*known)
        wins = await bench.wins(6)
        bench.statements.clear()
        await asyncio.gather(
            bench.record(*known, *(new_spin() for _ in range(25))),
            *(bench.committer.acknowledge(credited(win)) for win in wins[:3]),
            *(bench.committer.acknowledge(not_credited(win, Outcome.FAILED)) for win in wins[3:]),
        )
        assert bench.statements.count("COMMIT") == 1
        assert len(bench.statements) <= 8, bench.statements
        assert await findings(bench.look) == []


async def test_a_repeat_gets_the_first_answer_also_from_another_replica(jackpots_dsn: str) -> None:
    commands = [new_spin() for _ in range(40)]
    async with open_bench(jackpots_dsn) as bench, open_bench(jackpots_dsn) as other:
        first = await bench.record(*commands)
        counts = [await bench.count(table) for table in ("entries", "wins", "win_events", "batches")]
        assert sum(len(answer.wins) for answer in first) > 0
        for again in (await bench.record(*commands), await other.record(*commands)):
            assert again == [answer._replace(replayed=True) for answer in first]
        assert [await bench.count(table) for table in ("entries", "wins", "win_events", "batches")] == counts


async def test_a_thousand_replays_change_nothing(jackpots_dsn: str) -> None:
    command = new_spin()
    async with open_bench(jackpots_dsn) as bench:
        first = await bench.committer.contribute(command)
        again = await asyncio.gather(*(bench.committer.contribute(command) for _ in range(1000)))
        assert {answer.contribution for answer in map(_hashable, again)} == {_hashable(first).contribution}
        assert await bench.count("contributions") == 1
        assert await findings(bench.look) == []


def _hashable(answer: Recorded) -> Recorded:
    return answer._replace(
        contribution=answer.contribution._replace(shares=tuple(answer.contribution.shares))
    )


async def test_a_spin_id_with_another_field_is_refused_and_touches_no_other(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        known = new_spin()
        await bench.record(known)
        fresh = new_spin()
        reused, foreign, other = await bench.committer.contribute_many(
            [known._replace(wager_minor=7, game_id="x"), known._replace(operator_id="other"), fresh]
        )
        assert isinstance(reused, Refusal)
        assert (reused.code, reused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "SPIN_ID_REUSED")
        assert set(reused.metadata["fields"].split(",")) == {"wager", "game_id"}
        assert isinstance(foreign, Refusal)
        assert (foreign.reason, foreign.metadata) == ("SPIN_ID_REUSED", {})
        assert isinstance(other, Recorded)
        assert await bench.count("contributions") == 2


async def test_the_second_of_two_equal_ids_in_one_call_is_a_replay(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        command = new_spin()
        first, again, reused = await bench.committer.contribute_many(
            [command, command, command._replace(wager_minor=1)]
        )
        assert isinstance(first, Recorded)
        assert (first.replayed, again) == (False, first._replace(replayed=True))
        assert isinstance(reused, Refusal)
        assert await bench.count("contributions") == 1


async def test_a_text_that_the_columns_cannot_hold_fails_alone(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        bad = [new_spin(user_id="a\x1fb"), new_spin(user_id="a\0b"), new_spin(user_id="\ud800")]
        answers = await bench.committer.contribute_many([new_spin(), *bad, new_spin()])
        assert [isinstance(answer, Recorded) for answer in answers] == [True, False, False, False, True]
        assert await bench.count("contributions") == 2
        assert await findings(bench.look) == []


async def test_pr_05_the_largest_wagers_fit(jackpots_dsn: str) -> None:
    pools = {
        f"pool-{number:02}": pool_config(contribution_ppm=500_000, reserve_ppm=500_000)
        for number in range(16)
    }
    async with open_bench(jackpots_dsn, pools) as bench:
        await bench.record(*(new_spin(wager_minor=MAX_AMOUNT_MINOR) for _ in range(60)))
        funded = await bench.look.fetchval("SELECT sum(amount_micros) FROM entries WHERE account = 1")
        assert -funded > 2**63
        assert await findings(bench.look) == []


async def test_pr_13_commitments_are_always_sixteen_ahead_and_a_batch_waits_for_them(
    jackpots_dsn: str,
) -> None:
    pools = {"sure": pool_config(ALWAYS)}
    async with open_bench(jackpots_dsn, pools) as bench:
        for size in (1, 40, 100):
            answers = await bench.record(*(new_spin() for _ in range(size)))
            assert all(len(answer.wins) == 1 for answer in answers)
            cycle = await bench.look.fetchval("SELECT cycle FROM pools")
            committed = await bench.look.fetch("SELECT cycle FROM seed_commitments ORDER BY cycle")
            assert [row["cycle"] for row in committed] == list(range(1, cycle + COMMITTED_AHEAD + 1))
        assert cycle == 142
        # No cycle was decided in the batch that committed its seed, or before.
        early = await bench.look.fetchval(
            "SELECT count(*) FROM wins w JOIN seed_commitments c USING (pool_key, cycle)"
            " WHERE c.commit_time >= w.decide_time"
        )
        assert early == 0


async def test_pr_17_an_acknowledgement_pays_once_and_is_remembered(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench, open_bench(jackpots_dsn) as other:
        [win] = await bench.wins(1)
        command = credited(win)
        answer = await bench.committer.acknowledge(command)
        assert (answer.win.state, answer.replayed) == (WinState.PAID, False)
        for replica in (bench, other):
            again = await replica.committer.acknowledge(command)
            assert (again.win.pay_time, again.replayed) == (answer.win.pay_time, True)
            with pytest.raises(Refusal, match="WIN_ALREADY_PAID"):
                await replica.committer.acknowledge(credited(win, "entry-2"))
        with pytest.raises(Refusal, match="AMOUNT_MISMATCH"):
            await bench.committer.acknowledge(command._replace(credited_minor=1))
        [stored] = (await read_wins(bench.look, [win.spin_id]))[win.spin_id]
        assert stored == replace(
            answer.win, review_required=True, event_sequence=answer.win.event_sequence + 1
        )
        said = await read_acknowledgements(bench.look, [win.spin_id])
        assert said["mini", win.spin_id] == [command, credited(win, "entry-2")]
        assert await findings(bench.look) == []


async def test_pr_17_failed_holds_and_hold_confirmed_is_kept(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        [win] = await bench.wins(1)
        held = (
            await bench.committer.acknowledge(not_credited(win, Outcome.FAILED, failure_reason="closed"))
        ).win
        assert held.state is WinState.HELD
        late = await bench.committer.acknowledge(not_credited(win, Outcome.HOLD_CONFIRMED))
        assert late.replayed
        confirmed = await bench.committer.acknowledge(not_credited(held, Outcome.HOLD_CONFIRMED))
        assert not confirmed.replayed
        paid = (await bench.committer.acknowledge(credited(win))).win
        assert (paid.state, paid.review_required) == (WinState.PAID, True)
        effects = await bench.look.fetch("SELECT took_effect FROM acknowledgements ORDER BY 1")
        assert [row["took_effect"] for row in effects] == [False, True, True, True]
        assert await findings(bench.look) == []


async def test_a_win_that_does_not_exist_is_not_found(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        [win] = await bench.wins(1)
        for pool_id, spin_id in (("mini", uuid4()), ("nowhere", win.spin_id), ("grand", win.spin_id)):
            with pytest.raises(Refusal, match="WIN_NOT_FOUND"):
                await bench.committer.acknowledge(credited(win)._replace(pool_id=pool_id, spin_id=spin_id))


async def test_changed_pools_are_announced_after_the_commit_and_only_then(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn, lock_timeout_ms=50) as bench:
        somebody = await asyncpg.connect(jackpots_dsn)
        try:
            await somebody.execute("BEGIN")
            await somebody.execute("LOCK TABLE contributions IN EXCLUSIVE MODE")
            waiting = asyncio.create_task(bench.record(new_spin()))
            assert not (await asyncio.wait([waiting], timeout=0.3))[0]
            assert bench.views == []
            await somebody.execute("ROLLBACK")
            await waiting
        finally:
            await somebody.close()
        assert sorted(view.key for view in bench.views) == ["grand", "mini"]
        for _ in range(5):
            await bench.record(new_spin(), new_spin())
        rows = await bench.look.fetch("SELECT pool_id, version, current_micros FROM pools")
        for row in rows:
            views = [view for view in bench.views if view.key == row["pool_id"]]
            assert [view.version for view in views] == list(range(2, row["version"] + 1))
            assert views[-1].state.current_micros == row["current_micros"]


async def test_an_announced_pool_shows_the_commitment_of_its_cycle(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        await bench.wins(30)
        for view in bench.views:
            stored = await bench.look.fetchval(
                "SELECT commitment FROM seed_commitments WHERE pool_key = $1 AND cycle = $2",
                view.state.pool_key,
                view.state.cycle,
            )
            assert view.seed_commitment == stored


async def test_a_repeat_alone_writes_and_announces_nothing(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        command = new_spin()
        await bench.record(command)
        views, batches = list(bench.views), await bench.count("batches")
        await bench.record(command)
        assert (bench.views, await bench.count("batches")) == (views, batches)


async def test_pools_that_only_currency_or_stake_kind_keep_out_are_not_locked(jackpots_dsn: str) -> None:
    pools = {**POOLS, "usd": pool_config(OFTEN, currency_code="USD")}
    async with open_bench(jackpots_dsn, pools) as bench:
        somebody = await asyncpg.connect(jackpots_dsn)
        try:
            await somebody.execute("BEGIN")
            await somebody.execute("SELECT FROM pools WHERE pool_id = 'usd' FOR UPDATE")
            async with asyncio.timeout(5):
                [answer] = await bench.record(new_spin())
        finally:
            await somebody.close()
        reasons = [Share(*row).skip_reason for row in answer.contribution.shares]
        assert reasons == [0, 0, SkipReason.CURRENCY]


async def test_a_cycle_opens_funded_by_reserve_and_house(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn, {"sure": pool_config(ALWAYS, reserve_ppm=10_000)}) as bench:
        await bench.record(new_spin(wager_minor=30_000))
        resets = await bench.look.fetch(
            "SELECT account, amount_micros FROM entries WHERE kind = 4 ORDER BY 1"
        )
        assert [tuple(row) for row in resets] == [(2, 1000 * MICROS), (3, -300 * MICROS), (5, -700 * MICROS)]
