"""The wallet of docs/examples killed again and again: one contribution per spin, one credit per win."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from uuid import UUID

from devstack import auditor
from tests.support.stack import JACKPOT, ROOT, Stack, running_stack

EXAMPLE = ROOT / "docs/examples/sqlite_wallet.py"
OPERATOR, WALLET, CURRENCY, GAME = "sqlite", "alice", "COIN", "lucky-lines"
# The example needs about 0.4 s to begin; some lives end before that.
SHORTEST_LIFE_S, LONGEST_LIFE_S = 0.2, 1.2
FINISH_WITHIN_S = 60.0
# They are cheaper than a server's.
LIVES_PER_KILL = 4


def begin(file: Path, stack: Stack, spins: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(EXAMPLE), str(file), stack.jackpot_address, "--spins", str(spins)]
    log = (stack.folder / "sqlite_wallet.log").open("ab")
    with log:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)


async def end(process: subprocess.Popen[bytes]) -> int:
    deadline = monotonic() + FINISH_WITHIN_S
    while process.poll() is None:
        assert monotonic() < deadline, "the wallet does not finish"
        await asyncio.sleep(0.02)
    assert process.returncode is not None
    return process.returncode


def books_of(file: Path) -> auditor.WalletBooks:
    """What the wallet's own database says, in the auditor's terms."""
    with sqlite3.connect(file) as db:
        spins = db.execute("SELECT spin_id, wager FROM spins").fetchall()
        wins = db.execute(
            "SELECT w.win, w.entry_id, e.amount FROM wins w LEFT JOIN entries e USING (entry_id)"
        ).fetchall()
    contributions = {
        UUID(spin): (UUID(spin), OPERATOR, WALLET, WALLET, CURRENCY, wager, 1, GAME, "", "", 1, "", "", "")
        for spin, wager in spins
    }
    return auditor.WalletBooks(contributions, {win: (str(entry), amount) for win, entry, amount in wins})


def own_findings(file: Path) -> list[str]:
    """What does not add up in the wallet's own database."""
    with sqlite3.connect(file) as db:
        unanswered = db.execute("SELECT * FROM spins WHERE answer IS NOT 'RECORDED'").fetchall()
        unheard = db.execute("SELECT * FROM wins WHERE acknowledgement IS NOT 'ACKNOWLEDGED'").fetchall()
        astray = db.execute(
            "SELECT * FROM entries WHERE reference <> 'opening' AND entry_id NOT IN"
            " (SELECT entry_id FROM wins) AND reference NOT IN (SELECT spin_id FROM spins)"
        ).fetchall()
    found = [f"spin not recorded: {row}" for row in unanswered]
    found += [f"win not acknowledged: {row}" for row in unheard]
    return found + [f"entry of nothing: {row}" for row in astray]


async def test_a_wallet_of_a_hundred_lines_survives_kills_at_any_moment(
    kills: int, rng: random.Random, tally: Callable[[str], None], tmp_path: Path
) -> None:
    file = tmp_path / "wallet.db"
    async with running_stack(tmp_path, servers=(JACKPOT,)) as stack:
        for _ in range(LIVES_PER_KILL * kills):
            process = begin(file, stack, spins=10**6)
            await asyncio.sleep(rng.uniform(SHORTEST_LIFE_S, LONGEST_LIFE_S))
            process.send_signal(signal.SIGKILL)
            assert await end(process) == -signal.SIGKILL, "it ended before it was killed"
        assert await end(begin(file, stack, spins=100)) == 0
        books = books_of(file)
        found = own_findings(file) + await auditor.jackpot_findings(stack.jackpots_dsn, books)
        tally(
            f"{LIVES_PER_KILL * kills} kills, {len(books.contributions)} spins, {len(books.credits)} credits"
        )
        tally(f"{len(found)} findings")
        assert not found, auditor.report(found)
        assert len(books.credits) > kills, "the load was too small to prove anything"
