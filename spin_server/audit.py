"""One audit of a spins database: a snapshot that is only read, while the servers go on (PR-23)."""

import json
from collections.abc import Callable
from time import monotonic
from typing import Final, TextIO

import asyncpg

from service_kit.audit_report import Audit
from spin_server.audit_checks import CHECKS, READ_HEADS

_FETCH_AT_ONCE: Final = 2_000
# Tables are read from end to end, not row by row; it may take as long as it takes.
_AS_A_WHOLE: Final = """
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL enable_seqscan = on;
SET LOCAL plan_cache_mode = auto;
SET LOCAL work_mem = '64MB'"""


async def audit(
    connection: asyncpg.Connection, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> Audit:
    """Holds every wallet, spin and win against its entries. `progress(done, total)` is told of checks.

    Reads only, inside the caller's transaction, which shows one moment (REPEATABLE READ).
    """
    began = monotonic()
    done = Audit("wallet entries")
    await connection.execute(_AS_A_WHOLE)
    counts: dict[str, int] = {}
    for number, check in enumerate(CHECKS, 1):
        if check.table not in counts:
            counts[check.table] = await connection.fetchval(f"SELECT count(*) FROM {check.table}")
        done.findings.examined[check.name] += counts[check.table]
        cursor = await connection.cursor(check.sql)
        while rows := await cursor.fetch(_FETCH_AT_ONCE):
            for place, message in rows:
                done.findings.add(check.name, place, message)
        progress(number, len(CHECKS))
    done.count = counts["wallet_entries"]
    done.seconds = monotonic() - began
    return done


async def write_heads(connection: asyncpg.Connection, file: TextIO) -> int:
    """Every audit record of the jackpot server that answers have shown, as JSON lines; how many.

    Inside the caller's transaction.
    """
    await connection.execute(_AS_A_WHOLE)
    cursor = await connection.cursor(READ_HEADS)
    count = 0
    while rows := await cursor.fetch(_FETCH_AT_ONCE):
        for chain, sequence, sha256 in rows:
            file.write(json.dumps({"chain": chain, "sequence": sequence, "sha256": sha256.hex()}) + "\n")
        count += len(rows)
    return count
