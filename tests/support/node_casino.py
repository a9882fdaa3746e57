"""A casino with its wallet in Node: docs/examples/node, set up as docs/integration.md says."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

import asyncpg
import pytest

from devstack.auditor import WalletBooks
from devstack.postgres import with_database
from tests.support.stack import FOREIGN_DATABASE, OUTBOX, SPINS_DB, Stack

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples/node"
GUIDE = ROOT / "docs/integration.md"
OLDEST_NODE = 18
INSTALL_WITHIN_S = 90
RUN_WITHIN_S = 60.0

OPERATOR, CURRENCY = "node-casino", "COIN"
WALLET, FUNDS_MINOR = "alice", 100_000_000
HELD, PAID, CREDIT_FAILED = 2, 3, 4
# As in casino.mjs.
NAMESPACE = UUID("79857152-0258-5db7-97e7-091ef386f34a")

OPEN_ROWS = {
    "outbox_wallet.mjs": """
        SELECT (SELECT count(*) FROM jackpot_outbox) + (SELECT count(*) FROM jackpot_wins
                 WHERE wallet_entry_id IS NULL AND state IN (1, 2) AND event_sequence > acted_sequence)""",
    "grpc_wallet.mjs": """
        SELECT (SELECT count(*) FROM jackpot_calls WHERE answer IS NULL)
             + (SELECT count(*) FROM jackpot_acts WHERE NOT is_answered)""",
}
BETS = f"""
SELECT spin_id, '{OPERATOR}' AS operator_id, user_id, wallet_id, '{CURRENCY}' AS currency_code, wager_minor,
       1::smallint AS game_category, game_id, provider AS provider_name, round AS provider_round_id,
       1::smallint AS stake_kind, '' AS country_code, '' AS client_seed, '' AS triggered_tiers
  FROM bets"""
CREDITS = (
    "SELECT reference, wallet_id || ':' || entry_id, amount_minor FROM entries WHERE reference LIKE 'pools/%'"
)
UNBALANCED = """
SELECT wallet_id, balance_minor FROM wallets w
 WHERE balance_minor <> $1 + (SELECT coalesce(sum(amount_minor), 0) FROM entries e
                               WHERE e.wallet_id = w.wallet_id)
    OR (SELECT coalesce(sum(payout_minor - wager_minor), 0) FROM bets b
         WHERE b.wallet_id = w.wallet_id AND NOT b.is_voided)
       <> (SELECT coalesce(sum(amount_minor), 0) FROM entries e
            WHERE e.wallet_id = w.wallet_id AND reference NOT LIKE 'pools/%')"""
WINS_OF_JACKPOTS = """
SELECT 'pools/' || p.pool_id || '/wins/' || w.spin_id AS win, e.state, e.hold_reason
  FROM wins w JOIN pools p USING (pool_key)
  JOIN LATERAL (SELECT state, hold_reason FROM win_events e
                 WHERE e.pool_key = w.pool_key AND e.spin_id = w.spin_id
                 ORDER BY sequence DESC LIMIT 1) e ON true"""
HOLDS_CONFIRMED = "SELECT count(DISTINCT spin_id::text || pool_key) FROM acknowledgements WHERE outcome = 3"


def install(folder: Path) -> Path:
    """The example programs with the packages of their lock file, and the protos where they look for them.

    Skips the test where there is no Node; what goes wrong afterwards fails it.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not on this machine")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < OLDEST_NODE:
        pytest.skip(f"node {version} is older than {OLDEST_NODE}")
    programs = folder / EXAMPLES.relative_to(ROOT)
    shutil.copytree(EXAMPLES, programs, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(ROOT / "protos", folder / "protos", ignore=shutil.ignore_patterns("*.py*", "__pycache__"))
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    ended = subprocess.run(
        command, cwd=programs, capture_output=True, text=True, timeout=INSTALL_WITHIN_S, check=False
    )
    if ended.returncode != 0 and "CI" not in os.environ:
        pytest.skip(f"npm could not install what the programs need:\n{ended.stderr}")
    assert ended.returncode == 0, f"npm ci failed:\n{ended.stdout}{ended.stderr}"
    return programs


def sql_of_the_guide() -> list[str]:
    """The blocks of SQL in docs/integration.md, in order."""
    return re.findall(r"^```sql\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Casino:
    """One wallet's database and the program that keeps it."""

    program: Path
    # As the wallet's own role, and as the superuser.
    url: str
    dsn: str
    jackpot_address: str

    def _environment(self) -> dict[str, str]:
        own = {"DATABASE_URL": self.url, "JACKPOT_ADDRESS": self.jackpot_address}
        return {"PATH": os.environ["PATH"]} | own

    async def spawn(self, *arguments: str) -> asyncio.subprocess.Process:
        """Starts the program; its errors go to the test's own output."""
        return await asyncio.create_subprocess_exec(
            "node", str(self.program), *arguments, env=self._environment(), stdin=subprocess.DEVNULL
        )

    async def void(self, number: int) -> None:
        """Takes a bet back."""
        process = await self.spawn("void", WALLET, str(number))
        try:
            assert await asyncio.wait_for(process.wait(), RUN_WITHIN_S) == 0
        finally:
            await kill(process)

    async def bet(self, first: int, count: int) -> None:
        """Settles bets by number; each number is the same bet whenever it is asked for."""
        process = await self.spawn("bet", WALLET, str(first), str(count))
        try:
            assert await asyncio.wait_for(process.wait(), RUN_WITHIN_S) == 0
        finally:
            await kill(process)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Credits wins (and makes the calls, where no sidecar does); ends by SIGTERM with status 0."""
        process = await self.spawn("serve")
        try:
            yield
            process.terminate()
            assert await asyncio.wait_for(process.wait(), RUN_WITHIN_S) == 0
        finally:
            await kill(process)

    async def value(self, sql: str) -> int:
        """The one number that a query gives."""
        connection = await asyncpg.connect(self.dsn)
        try:
            found: int = await connection.fetchval(sql)
            return found
        finally:
            await connection.close()

    async def execute(self, sql: str) -> None:
        await _execute(self.dsn, sql)

    async def is_done(self) -> bool:
        """Whether everything was sent and answered, and every win that was heard of was acted on."""
        return await self.value(OPEN_ROWS[self.program.name]) == 0

    async def books(self) -> WalletBooks:
        """What this wallet says, for the auditor."""
        connection = await asyncpg.connect(self.dsn)
        try:
            bets, credits_ = await connection.fetch(BETS), await connection.fetch(CREDITS)
            voided = await connection.fetch("SELECT spin_id FROM bets WHERE is_voided")
        finally:
            await connection.close()
        return WalletBooks(
            {row["spin_id"]: tuple(row) for row in bets},
            {row[0]: (row[1], row[2]) for row in credits_},
            {row["spin_id"] for row in voided},
        )

    async def unbalanced(self) -> list[str]:
        """Wallets that are not what their bets and credits make them."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return [f"wallet: {dict(row)}" for row in await connection.fetch(UNBALANCED, FUNDS_MINOR)]
        finally:
            await connection.close()


async def casino_with_the_outbox(stack: Stack, programs: Path) -> Casino:
    """Way 2: the outbox's tables in the wallet's database, two roles with the rights that the guide gives.

    The sidecar of the stack is to be started afterwards.
    """
    superuser = stack.clusters[SPINS_DB].dsn(FOREIGN_DATABASE)
    password = stack.template.password
    for role in ("wallet", "outbox"):
        await _execute(superuser, f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    await _execute(superuser, (EXAMPLES / "casino.sql").read_text())
    await _execute(superuser, next(block for block in sql_of_the_guide() if "GRANT" in block))
    await _open_for_bets(superuser)
    sidecar = stack.servers[OUTBOX]
    sidecar.env = {**sidecar.env, "OUTBOX_DATABASE_DSN": _login(stack, FOREIGN_DATABASE, "outbox")}
    url = _login(stack, FOREIGN_DATABASE, "wallet")
    return Casino(programs / "outbox_wallet.mjs", url, superuser, stack.jackpot_address)


async def casino_with_jackpot_v1(stack: Stack, programs: Path, jackpot_address: str | None = None) -> Casino:
    """Way 3: a database of its own, with nothing of ours in it."""
    superuser = stack.clusters[SPINS_DB].dsn()
    await _execute(superuser, f"CREATE ROLE wallet LOGIN PASSWORD '{stack.template.password}'")
    await _execute(superuser, "CREATE DATABASE casino OWNER wallet")
    dsn = with_database(superuser, "casino")
    for file in ("casino.sql", "grpc_wallet.sql"):
        await _execute(_login(stack, "casino", "wallet"), (EXAMPLES / file).read_text())
    await _open_for_bets(dsn)
    url = _login(stack, "casino", "wallet")
    return Casino(programs / "grpc_wallet.mjs", url, dsn, jackpot_address or stack.jackpot_address)


async def wins_in(jackpots_dsn: str) -> list[tuple[str, int, int]]:
    """Every win there is, its state and why it is held."""
    connection = await asyncpg.connect(jackpots_dsn)
    try:
        return [tuple(row) for row in await connection.fetch(WINS_OF_JACKPOTS)]
    finally:
        await connection.close()


async def holds_confirmed_in(jackpots_dsn: str) -> int:
    """How many wins their wallet said it would not credit without a newer event."""
    connection = await asyncpg.connect(jackpots_dsn)
    try:
        count: int = await connection.fetchval(HOLDS_CONFIRMED)
        return count
    finally:
        await connection.close()


async def kill(process: asyncio.subprocess.Process) -> None:
    """SIGKILL, and gone when this returns; nothing happens if it has ended."""
    if process.returncode is None:
        process.kill()
        await process.wait()


def _login(stack: Stack, database: str, role: str) -> str:
    return stack.clusters[SPINS_DB].dsn(database, role, stack.template.password)


async def _open_for_bets(superuser_dsn: str) -> None:
    await _execute(
        superuser_dsn,
        "GRANT SELECT, INSERT, UPDATE ON wallets, bets, entries TO wallet;"
        f"INSERT INTO wallets VALUES ('{WALLET}', {FUNDS_MINOR})",
    )


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def spin_id(number: int) -> str:
    """The id of the bet with this number, as the programs derive it."""
    return str(uuid5(NAMESPACE, f"acme-games {WALLET}-{number}"))


def spin_ids(programs: Path, namespace: UUID, names: list[tuple[str, str]]) -> list[str]:
    """What spin_ids.mjs derives for (provider, transaction), one call per name."""
    return [
        subprocess.run(
            ["node", str(programs / "spin_ids.mjs"), str(namespace), provider, transaction],
            capture_output=True, text=True, check=True, timeout=RUN_WITHIN_S,
        ).stdout.strip()
        for provider, transaction in names
    ]  # fmt: skip


def lock_file() -> dict[str, dict[str, str]]:
    """The packages of the examples' package-lock.json by place."""
    packages: dict[str, dict[str, str]] = json.loads((EXAMPLES / "package-lock.json").read_text())["packages"]
    return packages
