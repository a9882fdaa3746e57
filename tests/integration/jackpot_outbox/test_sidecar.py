"""`python -m jackpot_outbox` as a process beside a wallet that knows only the tables."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from uuid import UUID, uuid4

import asyncpg
import pytest

from jackpot_outbox import sidecar
from jackpot_outbox.settings import SidecarSettings
from protos.jackpot.v1 import jackpot_pb2 as pb
from service_kit.database import connect
from tests.integration.jackpot_outbox.jackpot_double import JackpotDouble
from tests.integration.jackpot_outbox.wallet_double import Look
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]

INSERT = """
INSERT INTO jackpot_outbox (kind, spin_id, operator_id, user_id, wallet_id, currency_code, wager_minor,
                            game_category, game_id)
SELECT 1, spin_id, 'demo', 'anna', 'anna-coins', 'COIN', 100, 1, 'demo-slots'
FROM unnest($1::uuid[]) AS s (spin_id)
"""
# What architecture.md asks of a foreign wallet, in SQL alone.
CREDIT = """
WITH win AS (
    SELECT * FROM jackpot_wins
    WHERE state = 1 AND wallet_entry_id IS NULL AND event_sequence > acted_sequence
    ORDER BY win LIMIT 1 FOR UPDATE SKIP LOCKED
), credit AS (
    INSERT INTO credits SELECT win, amount_minor FROM win
), noted AS (
    UPDATE jackpot_wins w SET wallet_entry_id = 'entry of ' || w.win, acted_sequence = w.event_sequence
    FROM win WHERE w.win = win.win
)
INSERT INTO jackpot_outbox (kind, spin_id, win, event_sequence, operator_id, outcome, wallet_entry_id,
                            currency_code, credited_minor, credit_time)
SELECT 3, spin_id, win, event_sequence, operator_id, 1, 'entry of ' || win, currency_code, amount_minor, now()
FROM win RETURNING win
"""


class Sidecar:
    """`python -m jackpot_outbox` with its environment."""

    def __init__(self, dsn: str, address: str, **variables: str) -> None:
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OUTBOX_")},
            "OUTBOX_DATABASE_DSN": dsn,
            "OUTBOX_JACKPOT_ADDRESS": address,
            "OUTBOX_LEASE_MS": "1500",
            "OUTBOX_CALL_TIMEOUT_MS": "600",
            "OUTBOX_CURSOR_LEASE_MS": "1500",
            "LOG_FORMAT": "json",
            **variables,
        }

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """A command to its end: exit status, stdout, stderr."""
        process = await self._start(*arguments)
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """`serve`, from its first event on; killed at the end if it still runs."""
        process = await self._start("serve")
        assert process.stderr is not None
        drain: asyncio.Task[bytes] | None = None
        try:
            while b"outbox_started" not in (line := await process.stderr.readline()):
                assert line, "the sidecar ended before it started"
            drain = asyncio.create_task(process.stderr.read())
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate() if drain is None else await asyncio.gather(process.wait(), drain)

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "jackpot_outbox",
            *arguments,
            cwd=ROOT,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )


async def insert(look: Look, count: int) -> set[UUID]:
    spins = {uuid4() for _ in range(count)}
    await look.connection.execute(INSERT, list(spins))
    return spins


async def credit_all(connection: asyncpg.Connection) -> None:
    while await connection.fetchval(CREDIT):
        pass


async def test_a_foreign_row_is_sent_within_200_ms_because_its_insert_wakes_the_sidecar(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str
) -> None:
    # It polls every 10 s: only the wake-up can be so quick.
    async with Sidecar(wallet_dsn, jackpot.address, OUTBOX_POLL_MS="10000").serving():
        await insert(look, 1)  # opens the channel
        await eventually(look.is_empty, within_s=15)
        delays = []
        for _ in range(5):
            inserted = monotonic()
            (spin_id,) = await insert(look, 1)
            await eventually(look.is_empty)
            delays.append(jackpot.arrival_times[str(spin_id)] - inserted)
        assert sorted(delays)[2] < 0.2, delays


async def test_a_foreign_wallet_is_told_of_its_wins_and_its_credits_are_acknowledged(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str
) -> None:
    jackpot.win_amount = lambda _: 4_200
    async with Sidecar(wallet_dsn, jackpot.address).serving():
        await insert(look, 20)

        async def all_paid() -> bool:
            await credit_all(look.connection)
            stored = await look.wins()
            return len(stored) == 20 and all(win["state"] == pb.Win.STATE_PAID for win in stored.values())

        await eventually(all_paid, within_s=15)
        await eventually(look.is_empty)
    assert len(await look.credits()) == 20
    assert {len(told) for told in jackpot.acknowledgements.values()} == {1}


async def test_a_sidecar_killed_in_the_middle_of_its_work_loses_nothing_and_credits_nothing_twice(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str
) -> None:
    jackpot.win_amount = lambda request: 700 if request.spin_id[0] in "0123" else None
    jackpot.delay_s = 0.01
    sidecar_process = Sidecar(wallet_dsn, jackpot.address, OUTBOX_MAX_BATCH="40")
    spins: set[UUID] = set()
    for _ in range(5):
        async with sidecar_process.serving() as process:
            calls = len(jackpot.call_sizes)
            spins |= await insert(look, 400)
            await credit_all(look.connection)
            await eventually(lambda calls=calls: len(jackpot.call_sizes) >= calls + 3)  # type: ignore[misc]
            process.kill()
            await process.wait()
    assert not await look.is_empty(), "every kill came too late to prove anything"
    async with sidecar_process.serving():

        async def done() -> bool:
            await credit_all(look.connection)
            return await look.is_empty() and len(await look.credits()) == len(jackpot.wins)

        await eventually(done, within_s=20)
    assert await look.results() == spins == {UUID(spin_id) for spin_id in jackpot.contributions}
    assert await look.credits() == dict.fromkeys(jackpot.wins, 700)
    assert all(win.state == pb.Win.STATE_PAID for win in jackpot.wins.values())
    assert {len(told) for told in jackpot.acknowledgements.values()} == {1}


async def test_a_locked_win_delays_only_its_own_booking(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str
) -> None:
    jackpot.win_amount = lambda _: 700
    async with Sidecar(wallet_dsn, jackpot.address).serving():
        (locked,) = await insert(look, 1)

        async def told() -> bool:
            return len(await look.wins()) == 1

        await eventually(told, within_s=15)
        other = await connect(wallet_dsn, application_name="foreign wallet")
        async with other.transaction():
            await other.execute("SELECT FROM jackpot_wins FOR UPDATE")
            win = jackpot.wins[f"pools/mini/wins/{locked}"]
            await jackpot.tell(win, pb.Win.STATE_HELD, pb.WinEvent.KIND_HELD)
            spins = await insert(look, 50)

            async def others_are_done() -> bool:
                return spins <= await look.results()

            await eventually(others_are_done, within_s=15)

        async def held() -> bool:
            return int((await look.wins())[win.name]["state"]) == pb.Win.STATE_HELD

        await eventually(held, within_s=15)
        await other.close()


async def test_sigterm_books_what_is_in_flight_and_ends_with_status_0(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str
) -> None:
    jackpot.delay_s = 0.3
    async with Sidecar(wallet_dsn, jackpot.address).serving() as process:
        await insert(look, 5)
        await eventually(lambda: len(jackpot.call_sizes) == 1)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert await look.is_empty()
    holders = await look.connection.fetch("SELECT lease_holder FROM jackpot_cursors")
    assert [row["lease_holder"] for row in holders] == [""]


async def test_migrate_may_be_repeated_and_run_by_several_at_once(empty_dsn: str) -> None:
    settings = SidecarSettings(database_dsn=empty_dsn)  # type: ignore[arg-type]
    made = await asyncio.gather(*(sidecar.migrate(settings) for _ in range(4)))
    assert sorted(made) == [False, False, False, True]
    status, out, _ = await Sidecar(empty_dsn, "127.0.0.1:1").run("migrate")
    assert (status, out) == (0, "The outbox's tables are there already.\n")


async def test_serve_refuses_a_database_without_an_outbox(empty_dsn: str) -> None:
    status, _, err = await Sidecar(empty_dsn, "127.0.0.1:1").run("serve")
    assert status == 1
    assert "jackpot_outbox migrate" in err


@pytest.mark.parametrize("command", ["serve", "status", "list", "migrate"])
async def test_wrong_settings_are_all_named_at_once(command: str) -> None:
    status, _, err = await Sidecar("mysql://x", "nowhere", OUTBOX_POLL_MS="soon").run(command)
    assert status == 2
    for variable in ("OUTBOX_DATABASE_DSN", "OUTBOX_JACKPOT_ADDRESS", "OUTBOX_POLL_MS"):
        assert variable in err


async def test_parked_rows_are_listed_counted_and_released_by_commands(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str
) -> None:
    first, second = sorted(await insert(look, 2))
    await look.connection.execute(
        "UPDATE jackpot_outbox SET parked_time = now(), last_error = 'SPIN_ID_REUSED: another wager'"
    )
    await insert(look, 1)
    commands = Sidecar(wallet_dsn, jackpot.address)
    status, out, _ = await commands.run("status", "--json")
    counts = json.loads(out)
    assert (status, counts["open_rows"], counts["parked_rows"]) == (0, 1, 2)
    _, out, _ = await commands.run("list", "--parked", "--json")
    assert [row["last_error"] for row in json.loads(out)] == ["SPIN_ID_REUSED: another wager"] * 2
    _, out, _ = await commands.run("list")
    assert "SPIN_ID_REUSED: another wager" in out
    assert str(second) in out

    _, out, _ = await commands.run("release", str(first), "--json")
    assert json.loads(out) == [{"kind": "contribution", "spin_id": str(first), "win": ""}]
    assert set(await look.parked()) == {second}
    status, out, _ = await commands.run("release", "--all")
    assert (status, out) == (0, "1 released.\n")
    assert await look.parked() == {}
    assert (await commands.run("release"))[0] == 2
