"""PR-21: each committed batch is one record of an audit chain, and answers carry it."""

import asyncio
import hashlib
import struct

import asyncpg

from jackpot_server.domain.commands import Outcome
from jackpot_server.domain.evidence import AuditHead
from tests.integration.jackpot_server.bench import new_spin as spin
from tests.integration.jackpot_server.bench import open_bench
from tests.support.engine import credited, not_credited

RECORDS = "SELECT * FROM batches ORDER BY chain, sequence"


async def chain_breaks(look: asyncpg.Connection) -> list[str]:
    """What does not hold of the chains, by the formula of the docs."""
    found = []
    heads = {row["chain"]: row for row in await look.fetch("SELECT * FROM audit_chains")}
    last = {
        chain: (0, hashlib.sha256(struct.pack(">iq", chain, row["first_batch_id"])).digest())
        for chain, row in heads.items()
    }
    for row in await look.fetch(RECORDS):
        sequence, before = last[row["chain"]]
        microseconds = round(row["batch_time"].timestamp() * 1_000_000)
        record = struct.pack(">iq", row["chain"], row["sequence"]) + before
        record += struct.pack(">qq", row["batch_id"], microseconds) + row["digest"]
        if (row["sequence"], row["sha256"]) != (sequence + 1, hashlib.sha256(record).digest()):
            found.append(f"chain {row['chain']} breaks at {row['sequence']}")
        last[row["chain"]] = (row["sequence"], row["sha256"])
    found += [
        f"chain {chain} ends elsewhere"
        for chain, row in heads.items()
        if last[chain] != (row["sequence"], row["sha256"])
    ]
    return found


async def test_pr_21_every_batch_is_one_record_and_its_answers_carry_it(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        answers = await bench.record(*(spin() for _ in range(20)))
        win = (await bench.wins(1))[0]
        await bench.committer.acknowledge(credited(win))
        heads = {answer.contribution.recording.head for answer in answers}
        rows = await bench.look.fetch(RECORDS)
        assert heads < {AuditHead(row["chain"], row["sequence"], row["sha256"]) for row in rows}
        assert len(rows) == await bench.count("batches")
        assert len({row["batch_id"] for row in rows}) == len(rows)
        assert await chain_breaks(bench.look) == []


async def test_pr_21_a_repeat_shows_the_record_of_the_first_time(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench, open_bench(jackpots_dsn) as other:
        command = spin()
        first = (await bench.record(command))[0].contribution.recording.head
        await bench.record(spin())
        assert first is not None
        assert (await other.record(command))[0].contribution.recording.head == first


async def test_pr_21_replicas_on_other_pools_take_other_chains(jackpots_dsn: str) -> None:
    """A batch that is held up keeps its chain; the others go on with theirs."""
    async with open_bench(jackpots_dsn) as bench:
        await bench.record(spin())
        async with bench.look.transaction():
            await bench.look.execute("SELECT FROM audit_chains WHERE chain <= 3 FOR UPDATE")
            head = (await bench.record(spin()))[0].contribution.recording.head
            assert head is not None
            assert head.chain > 3
        assert await chain_breaks(bench.look) == []


async def test_pr_21_where_no_chain_is_free_a_batch_waits_for_one(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn, lock_timeout_ms=20_000) as bench:
        await bench.warm()
        async with bench.look.transaction():
            await bench.look.execute("SELECT FROM audit_chains FOR UPDATE")
            waiting = asyncio.ensure_future(bench.record(spin()))
            done, _ = await asyncio.wait([waiting], timeout=0.2)
            assert not done
        assert (await waiting)[0].contribution.recording.head is not None
        assert await chain_breaks(bench.look) == []


async def test_pr_21_the_chains_hold_with_many_replicas(jackpots_dsn: str) -> None:
    async with (
        open_bench(jackpots_dsn, lock_timeout_ms=20_000) as first,
        open_bench(jackpots_dsn, lock_timeout_ms=20_000) as second,
        open_bench(jackpots_dsn, lock_timeout_ms=20_000) as third,
    ):
        for _ in range(15):
            # Games that no pool takes: nothing but the chains is shared.
            await asyncio.gather(
                *(
                    bench.record(spin(currency_code="USD"), spin(**others))
                    for bench in (first, second, third)
                    for others in ({"currency_code": "USD"}, {})
                )
            )
        wins = await first.wins(2)
        await first.committer.acknowledge(not_credited(wins[0], Outcome.FAILED))
        assert await chain_breaks(first.look) == []
        assert await first.count("batches") > 40


async def test_pr_21_a_batch_alone_takes_no_further_round_trip(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn) as bench:
        await bench.warm()
        await bench.record(spin(game_id="quiet"))
        assert len(bench.statements) == 4, bench.statements
