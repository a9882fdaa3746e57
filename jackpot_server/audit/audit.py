"""One audit: a snapshot of the whole database, read once from its beginning, while the servers go on."""

import struct
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

import asyncpg

from jackpot_server.audit.archived import Archived
from jackpot_server.audit.book_check import BookCheck
from jackpot_server.audit.chain_check import check_digest, follow_chains
from jackpot_server.audit.draw_check import DrawCheck
from jackpot_server.audit.table_check import check_tables
from jackpot_server.audit.trail import RecordedBatch, read_trail
from jackpot_server.domain.evidence import CONTRIBUTIONS, AuditHead
from jackpot_server.keys import RootKeys
from service_kit.audit_report import Audit

# Tables are read from end to end, not row by row; it may take as long as it takes.
_AS_A_WHOLE: Final = """
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL enable_seqscan = on;
SET LOCAL plan_cache_mode = auto;
SET LOCAL work_mem = '64MB'"""
# What reading comes to where somebody has written what no server writes.
_NONSENSE: Final = (ArithmeticError, LookupError, TypeError, ValueError, struct.error)
READABLE: Final = "every row can be understood"
_COUNT: Final = "SELECT count(*) FROM batches"


async def audit(
    connection: asyncpg.Connection,
    *,
    root_keys: RootKeys | None = None,
    witnessed: Iterable[AuditHead] = (),
    archive: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Derives everything again. With `root_keys` every draw too; `witnessed`: heads kept by other databases;
    `archive`: a folder with contributions that are in no table any more.

    `progress(done, total)` is told of batches. Reads only, inside the caller's transaction, which shows one
    moment (REPEATABLE READ): what is committed meanwhile is for the next audit.
    """
    began = monotonic()
    done = Audit("contributions")
    await connection.execute(_AS_A_WHOLE)
    total, batches = await connection.fetchval(_COUNT), 0
    archived = None if archive is None else await Archived.open(connection, archive)
    books = BookCheck(done.findings)
    await books.begin(connection)
    draws = DrawCheck(root_keys, books.configs, done.findings) if root_keys is not None else None
    checks: list[Callable[[RecordedBatch], None]] = [
        partial(check_digest, findings=done.findings),
        books.take,
    ]
    if draws is not None:
        checks.append(draws.take)
    async for batch in read_trail(connection, done.findings, archived):
        for check in checks:
            try:
                check(batch)
            except _NONSENSE as error:
                done.findings.add(READABLE, batch.where, f"a row cannot be understood: {error!r}")
        batches += 1
        done.count += len(batch.of(CONTRIBUTIONS))
        progress(batches, total)
    await follow_chains(connection, done.findings, witnessed)
    await books.end(connection)
    await check_tables(connection, done.findings)
    done.seconds = monotonic() - began
    return done
