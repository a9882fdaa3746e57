"""Replicas, locked pools, lost connections, changed pools: nothing is lost, nothing happens twice."""

import asyncio
import random
from collections import Counter
from uuid import UUID

import asyncpg
import pytest

from jackpot_server.apply import apply
from jackpot_server.domain.commands import Contribute, Outcome
from jackpot_server.domain.facts import Recorded, Win, WinState
from jackpot_server.keys import RootKey, RootKeys
from service_kit.errors import Failure, StartRefused
from service_kit.money import MICROS
from tests.integration.jackpot_server.bench import (
    OFTEN,
    POOLS,
    QUIET,
    ROOT_KEYS,
    Bench,
    findings,
    new_spin,
    open_bench,
)
from tests.support.engine import ALWAYS, credited, not_credited, pool_config
from tests.support.fault_proxy import proxied
from tests.support.waiting import eventually

CONTRIBUTIONS = 4000


async def test_two_replicas_on_one_database_are_exact_to_the_micro(jackpots_dsn: str) -> None:
    chance = random.Random(4711)
    pools = {
        **POOLS,
        "minor": pool_config(OFTEN, reserve_ppm=100, reset_minor=20, operator_ids=("operator-1",)),
    }
    recorded: dict[UUID, Recorded] = {}
    async with open_bench(jackpots_dsn, pools) as one, open_bench(jackpots_dsn, pools) as two:

        async def play(bench: Bench, commands: list[Contribute]) -> None:
            while commands:
                size = chance.choice([1, 3, 20, 90])
                some, commands[:size] = commands[:size], []
                for answer in await bench.record(*some):
                    spin_id = answer.contribution.command.spin_id
                    if not answer.replayed:
                        assert spin_id not in recorded
                        recorded[spin_id] = answer
                    for win in answer.wins:
                        if win.state is WinState.PAYABLE and chance.random() < 0.7:
                            await acknowledge(bench, win, chance)

        commands = [
            new_spin(wager_minor=chance.choice([1, 100, 250]), operator_id=f"operator-{chance.randrange(3)}")
            for _ in range(CONTRIBUTIONS)
        ]
        shared = commands[: CONTRIBUTIONS // 5]  # sent to both
        async with asyncio.timeout(60):
            await asyncio.gather(
                *(
                    play(bench, shared[part::4] + commands[CONTRIBUTIONS // 5 :][index * 4 + part :: 8])
                    for index, bench in enumerate((one, two))
                    for part in range(4)
                )
            )
        assert await findings(one.look) == []
        await check_totals(one.look, recorded)
        announced = Counter((view.key, view.version) for view in one.views + two.views)
        versions = await one.look.fetch("SELECT pool_id, version FROM pools")
        assert announced == Counter(
            (row["pool_id"], version) for row in versions for version in range(2, row["version"] + 1)
        )
        deadlocks = await one.look.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        assert deadlocks == 0


async def acknowledge(bench: Bench, win: Win, chance: random.Random) -> None:
    command = credited(win) if chance.random() < 0.8 else not_credited(win, Outcome.FAILED)
    answer = await bench.committer.acknowledge(command)
    assert answer.win.state in (WinState.PAID, WinState.HELD)


async def check_totals(look: asyncpg.Connection, recorded: dict[UUID, Recorded]) -> None:
    assert len(recorded) == CONTRIBUTIONS == await look.fetchval("SELECT count(*) FROM contributions")
    shared: Counter[int] = Counter()
    won: Counter[int] = Counter()
    for answer in recorded.values():
        for share in answer.contribution.shares:
            shared[share[0]] += share[3] + share[4] + share[5]
        for win in answer.wins:
            won[win.pool_key] += win.amount_minor * MICROS
    assert sum(won.values()) > 0
    for row in await look.fetch(
        "SELECT p.pool_key, p.current_micros + p.reserve_micros + p.overflow_micros AS holds,"
        "       (SELECT sum(amount_micros) FROM entries e"
        "         WHERE e.pool_key = p.pool_key AND e.kind = 1) AS opened,"
        "       (SELECT coalesce(sum(amount_micros), 0) FROM entries e"
        "         WHERE e.pool_key = p.pool_key AND e.kind = 4) AS from_house"
        "  FROM pools p"
    ):
        key = row["pool_key"]
        assert row["holds"] == row["opened"] + shared[key] + row["from_house"] - won[key]


async def test_win_events_are_gapless_per_operator_whoever_decides(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as one, open_bench(jackpots_dsn) as two:
        await asyncio.gather(
            *(
                bench.record(*(new_spin(operator_id=f"operator-{number % 3}") for number in range(30)))
                for bench in (one, two) * 5
            )
        )
        for row in await one.look.fetch(
            "SELECT array_agg(sequence ORDER BY sequence) AS sequences FROM win_events GROUP BY operator_id"
        ):
            assert row["sequences"] == list(range(1, len(row["sequences"]) + 1))
        assert await one.count("win_events") == await one.count("wins") > 10


async def test_a_replica_follows_the_cycles_that_another_one_opens(jackpots_dsn: str) -> None:
    pools = {"sure": pool_config(ALWAYS)}
    async with open_bench(jackpots_dsn, pools) as one, open_bench(jackpots_dsn, pools) as two:
        for bench in (one, two) * 3:
            await bench.record(*(new_spin() for _ in range(25)))
        assert await one.look.fetchval("SELECT cycle FROM pools") == 151
        assert await findings(one.look) == []


async def test_a_locked_pool_delays_only_its_own_spins(jackpots_dsn: str) -> None:
    pools = {name: pool_config(contribution_ppm=1000, game_ids=(name,)) for name in ("locked", "free")}
    async with open_bench(jackpots_dsn, pools) as bench:
        somebody = await asyncpg.connect(jackpots_dsn)
        try:
            await somebody.execute("BEGIN")
            await somebody.execute("SELECT FROM pools WHERE pool_id = 'locked' FOR UPDATE")
            stuck = asyncio.gather(bench.record(*(new_spin(game_id="locked") for _ in range(5))))
            async with asyncio.timeout(5):
                for _ in range(20):
                    await bench.record(*(new_spin(game_id="free") for _ in range(5)))
            assert not stuck.done()
            await somebody.execute("ROLLBACK")
            async with asyncio.timeout(5):
                await stuck
        finally:
            await somebody.close()
        assert await bench.count("contributions") == 105
        assert await findings(bench.look) == []


@pytest.mark.parametrize("what", ["reply", "request"])
async def test_a_commit_that_was_lost_on_its_way_is_recorded_once(jackpots_dsn: str, what: str) -> None:
    async with proxied(jackpots_dsn) as (proxy, through), open_bench(through) as bench:
        [won] = await bench.wins(1)
        lose = proxy.lose_reply_to if what == "reply" else proxy.lose_request
        lose(b"COMMIT")
        commands = [new_spin() for _ in range(30)]
        paid, answers = await asyncio.gather(
            bench.committer.acknowledge(credited(won)), bench.record(*commands)
        )
        assert proxy.cuts == 1
        assert [answer.replayed for answer in answers] == [what == "reply"] * 30
        assert (paid.win.state, paid.replayed) == (WinState.PAID, what == "reply")
        again = await bench.record(*commands)
        assert again == [answer._replace(replayed=True) for answer in answers]
        assert await findings(bench.look) == []


async def test_a_batch_of_known_ids_still_writes_after_a_lost_commit(jackpots_dsn: str) -> None:
    """The commit of the second try then waits for a synchronous standby, as the lost one would have."""
    async with proxied(jackpots_dsn) as (proxy, through), open_bench(through) as bench:
        await bench.record(new_spin())
        batches = await bench.count("batches")
        proxy.lose_reply_to(b"COMMIT")
        await bench.record(new_spin())
        assert await bench.count("batches") == batches + 2


async def test_a_database_that_is_away_fails_the_call_and_serves_when_it_is_back(jackpots_dsn: str) -> None:
    async with proxied(jackpots_dsn) as (proxy, through), open_bench(through) as bench:
        command = new_spin()
        proxy.refuse()
        async with asyncio.timeout(10):
            with pytest.raises(Failure, match="DATABASE_UNAVAILABLE"):
                await bench.committer.contribute(command)
        proxy.refuse(False)
        assert not (await bench.committer.contribute(command)).replayed


async def test_a_listener_that_fails_after_the_commit_changes_no_answer(jackpots_dsn: str) -> None:
    def fail(_views: object) -> None:
        raise RuntimeError("a listener's mistake")

    async with open_bench(jackpots_dsn, on_commit=fail) as bench:
        answers = await bench.record(*(new_spin() for _ in range(10)))
        assert not any(answer.replayed for answer in answers)
        assert await bench.count("contributions") == 10


async def test_a_cancelled_caller_stops_nothing(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        commands = [new_spin() for _ in range(20)]
        callers = [asyncio.create_task(bench.committer.contribute(command)) for command in commands]
        await asyncio.sleep(0)
        for caller in callers[::2]:
            caller.cancel()
        await asyncio.gather(*callers[1::2])
        assert all(answer.replayed for answer in await bench.record(*commands))


async def test_a_new_pool_and_a_changed_one_are_noticed_without_a_restart(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        await bench.record(new_spin(game_id=QUIET))
        changed = pool_config(contribution_ppm=999, reset_minor=7000, tier="GRAND", min_wager_minor=150)
        # The new pool's key is the highest; the one in between comes to lie between locked ones.
        await apply(
            bench.look,
            {"grand": changed, "another": pool_config(contribution_ppm=55)},
            ROOT_KEYS,
            actor="a",
            reason="r",
        )
        small, large = await bench.record(new_spin(game_id=QUIET), new_spin(game_id=QUIET, wager_minor=200))
        labels = bench.committer.catalog.labels
        [(grand, too_small), (another, taken)] = [
            (labels[row[0], row[2]].pool_id, row) for row in small.contribution.shares
        ]
        assert (grand, another) == ("grand", "another")
        # The minimum at once, the rate with the next cycle (PR-08).
        assert (too_small[7], taken[3]) == (1, 5500)
        assert large.contribution.shares[0][3] == 200 * 333
        assert bench.views[-1].next_config is None
        [view] = [view for view in bench.views if view.key == "grand"][-1:]
        assert view.config.min_wager_minor == 150
        assert view.config.contribution_ppm == 333
        assert view.next_config == changed


async def test_a_changed_rate_and_reset_begin_with_the_next_cycle(jackpots_dsn: str) -> None:
    before = pool_config(OFTEN, contribution_ppm=1000, reset_minor=500)
    after = pool_config(OFTEN, contribution_ppm=2000, reset_minor=900)
    async with open_bench(jackpots_dsn, {"major": before}) as bench:
        await bench.record(new_spin(wager_minor=1))
        cycle = await bench.look.fetchval("SELECT cycle FROM pools")
        await apply(bench.look, {"major": after}, ROOT_KEYS, actor="a", reason="r")
        [win] = await bench.wins(1)
        assert win.cycle == cycle
        for row in await bench.look.fetch("SELECT * FROM contribution_shares WHERE cycle = $1", cycle):
            assert row["config_version"] == 1
        [later] = await bench.wins(1)
        assert (later.config_version, later.amount_minor >= 900) == (2, True)
        assert await findings(bench.look) == []


@pytest.mark.parametrize("key", [RootKey("root-2", bytes(range(32))), RootKey("root-1", bytes(32))])
async def test_a_start_with_another_root_key_is_refused(jackpots_dsn: str, key: RootKey) -> None:
    async with open_bench(jackpots_dsn):
        pass
    with pytest.raises(StartRefused):
        async with open_bench(jackpots_dsn, root_keys=RootKeys(key)):
            pass


async def test_what_was_taken_is_committed_before_the_committer_closes(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        waiting = asyncio.gather(bench.record(*(new_spin() for _ in range(1200))))
        await eventually(lambda: bench.committer.waiting)
        await bench.committer.close()
        [answers] = await waiting
        assert len(answers) == 1200
        with pytest.raises(Failure, match="DRAINING"):
            await bench.committer.contribute(new_spin())


@pytest.mark.parametrize(
    "table",
    [
        "contributions",
        "wins",
        "win_events",
        "entries",
        "batches",
        "acknowledgements",
        "seed_commitments",
        "pool_configs",
    ],
)
async def test_pr_02_the_application_can_neither_change_nor_delete_what_happened(
    jackpots_dsn: str, table: str
) -> None:
    async with open_bench(jackpots_dsn) as bench:
        await bench.wins(1)
        await bench.look.execute("SET ROLE jackpot_app")
        column = await bench.look.fetchval(
            "SELECT column_name FROM information_schema.columns WHERE table_name = $1"
            " ORDER BY ordinal_position DESC LIMIT 1",
            table,
        )
        for statement in (
            f"UPDATE {table} SET {column} = {column}",
            f"DELETE FROM {table}",
            f"TRUNCATE {table}",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await bench.look.execute(statement)
        assert await bench.count(table) > 0 or table == "acknowledgements"
