"""PR-23: an audit of wallets, spins and credits; what was changed by hand is found, and where."""

import asyncio
import json
import logging
import os
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from jackpot_outbox.rows import Answer, Booking, ContributionRow
from jackpot_server.witness import read_heads
from service_kit.audit_report import Audit
from spin_server.audit import audit
from tests.integration.spin_server import tampering
from tests.integration.spin_server.commands import TABLE, settle, withdraw
from tests.integration.spin_server.conftest import Bench, open_bench
from tests.integration.spin_server.test_booking import answer_of, win_of
from tests.integration.spin_server.test_voids import void_of
from tests.support.command_line import run

log = logging.getLogger(__name__)

TAMPERINGS = int(os.environ.get("TAMPERINGS") or 60)
SPINS = int(os.environ.get("AUDITED") or 2_000)


@pytest.fixture
async def history(spins_dsn: str) -> AsyncIterator[Bench]:
    """Wallets with deposits and withdrawals, spins of all kinds, answers, wins, voids before and after."""
    async with open_bench(spins_dsn) as bench:
        for wallet_id in ("one", "two", "three"):
            await bench.fund(wallet_id, 100_000)
            await make_history(bench, wallet_id)
        await bench.fund("tester", 1_000, is_test=True)
        await bench.committer.spin(settle("tester"))
        yield bench


async def make_history(bench: Bench, wallet_id: str) -> None:
    spins = [
        (await bench.committer.spin(settle(wallet_id, payout_minor=40 * (number % 2)))).spin
        for number in range(8)
    ]
    await bench.committer.spin(settle(wallet_id, payout_minor=7, game_id=TABLE))
    await bench.committer.wallet(withdraw(wallet_id, 500))
    # The last ones' contributions are still on their way.
    for number, spin in enumerate(spins[:6]):
        wins = (win_of(spin, 1_000 + number),) if number < 3 else ()
        answer = replace(
            answer_of(bench, spin.record.terms.spin_id, *wins),
            audit_chain=number % 2 + 1,
            audit_sequence=number + 1,
            audit_sha256=bytes([number]) * 32,
        )
        await bench.committer.book(Booking(answers=(answer,)))
    for spin in (spins[0], spins[5], spins[7]):
        await bench.committer.void(void_of(spin))
    early = void_of(spins[0], spin_id=settle().terms.spin_id)
    await bench.committer.void(early)


async def audited(look: asyncpg.Connection) -> Audit:
    async with look.transaction():
        return await audit(look)


async def test_pr_23_a_spins_database_that_nobody_changed_audits_clean(history: Bench) -> None:
    done = await audited(history.look)
    assert done.findings.found == []
    assert done.count == await history.count("wallet_entries")
    assert [check for check, count in done.findings.examined.items() if not count] == []


async def test_pr_23_whatever_somebody_changes_in_wallets_and_spins_is_found_and_located(
    history: Bench,
) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    log.warning("play it again with SEED=%d TAMPERINGS=%d", seed, TAMPERINGS)
    chance = random.Random(seed)
    for _ in range(TAMPERINGS):
        tampered, done = await tampered_once(history.look, chance)
        places = [f"{finding.where} {finding.message}" for finding in done.findings.found]
        assert places, f"not found: {tampered.what} of {tampered.places}"
        assert any(place in found for place in tampered.places for found in places), (
            f"not located: {tampered.what}, {tampered.places}: {places[:5]}"
        )
    assert (await audited(history.look)).is_clean, "the test has undone what it did"


async def tampered_once(look: asyncpg.Connection, chance: random.Random) -> tuple[tampering.Tampering, Audit]:
    """One change that the database itself does not refuse, audited and undone."""
    while True:
        undone = look.transaction()
        await undone.start()
        try:
            tampered = await chance.choice(tampering.KINDS)(look, chance)
            return tampered, await audited(look)
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError):
            continue
        finally:
            await undone.rollback()


async def test_pr_23_a_large_spins_database_audits_clean(spins_dsn: str) -> None:
    """AUDITED=1000000 for a million; the rate is in the log."""
    async with open_bench(spins_dsn, lock_timeout_ms=20_000) as bench:
        wallets = [f"w{number}" for number in range(100)]
        for wallet_id in wallets:
            await bench.fund(wallet_id, SPINS * 100)
        for first in range(0, SPINS, 500):
            numbers = range(first, first + 500)
            spins = (settle(wallets[number % 100], payout_minor=number % 3) for number in numbers)
            settled = await asyncio.gather(*map(bench.committer.spin, spins))
            answers = [
                Answer(row, state=1, record_time=row.occur_time)
                for row in bench.offered
                if isinstance(row, ContributionRow)
            ]
            await bench.committer.book(Booking(answers=tuple(answers)))
            bench.offered.clear()
            assert len(settled) == 500
        async with bench.look.transaction(isolation="repeatable_read", readonly=True):
            done = await audit(bench.look)
        log.warning("%s wallet entries audited in %.1f s, %.0f/s", done.count, done.seconds, done.rate)
        assert done.findings.found == []
        assert done.count > SPINS


async def test_pr_23_the_audit_of_spins_goes_on_while_the_server_does(spins_dsn: str) -> None:
    async with open_bench(spins_dsn) as bench, open_bench(spins_dsn) as other:
        await bench.fund("w", 100_000)
        await make_history(bench, "w")
        await other.fund("v", 100_000)
        going_on = asyncio.create_task(make_history(other, "v"))
        found = []
        while not going_on.done():
            async with bench.look.transaction(isolation="repeatable_read", readonly=True):
                found.append((await audit(bench.look)).findings.found)
        await going_on
        assert found
        assert not any(found)


async def test_pr_23_the_command_of_the_spin_server_writes_the_heads_that_it_witnessed(
    history: Bench, spins_dsn: str, tmp_path: Path
) -> None:
    file = tmp_path / "heads.jsonl"
    status, said = await run("spin_server", "audit", "--heads", str(file), SPIN_DATABASE_DSN=spins_dsn)
    assert status == 0, said
    assert "every wallet is the sum of its entries" in said
    heads = read_heads(file.read_text())
    assert [(head.chain, head.sequence) for head in heads] == [(1, 1), (1, 3), (1, 5), (2, 2), (2, 4), (2, 6)]
    await history.look.execute("UPDATE wallets SET balance_minor = balance_minor + 1 WHERE wallet_id = 'one'")
    status, said = await run("spin_server", "audit", "--json", SPIN_DATABASE_DSN=spins_dsn)
    assert status == 1
    findings = json.loads(said[said.index("{") :])["findings"]
    assert [finding["where"] for finding in findings] == ["wallets wallet_id one"]
    status, said = await run("spin_server", "audit", SPIN_DATABASE_DSN=spins_dsn + "_gone")
    assert status == 2, said
