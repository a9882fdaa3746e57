"""How contributions may be kept by the month: `python -m bench.retention [ROWS]`; see docs/decisions/0007.

Three ways to store the same rows, each preloaded with ROWS of them (2,000,000) and then fed with batches of
500 on one connection, in turns: as it is today (one table, the spin's id its key); by the month with a table
of ids; by the month with a key per month, which is asked for in every month. Then the oldest month is dropped
while batches go on.
"""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from uuid import UUID, uuid4

import asyncpg
from rich.console import Console
from rich.table import Table

from devstack.postgres import Cluster

MONTHS = 12
BATCH = 500
ROUNDS = 5
BATCHES_A_ROUND = 60
NOW = datetime(2026, MONTHS, 20, tzinfo=UTC)
SHARES = [1, 120, 3, 15_000_000, 7_000_000, 0, 5_812_345_678, 0, 0] * 4
WIDE = """
    spin_id uuid NOT NULL, batch_id bigint NOT NULL, operator_id text NOT NULL, user_id text NOT NULL,
    wallet_id text NOT NULL, currency_code text NOT NULL, game_id text NOT NULL, provider_name text NOT NULL,
    provider_round_id text NOT NULL, country_code text NOT NULL, client_seed text NOT NULL,
    triggered_tiers text NOT NULL, wager_minor bigint NOT NULL, record_time timestamptz NOT NULL,
    shares bigint[] NOT NULL
"""
COLUMNS = (
    "spin_id, batch_id, operator_id, user_id, wallet_id, currency_code, game_id, provider_name, "
    "provider_round_id, country_code, client_seed, triggered_tiers, wager_minor, record_time, shares"
)
ROWS_OF_A_BATCH = """
    SELECT u.spin_id, $2::bigint, 'operator-1', 'user-' || u.n, 'wallet-' || u.n, 'COIN', 'demo-slots',
           'house', 'round-' || u.n, '', '', '', 100, $3::timestamptz, $4::bigint[]
      FROM unnest($1::uuid[]) WITH ORDINALITY AS u (spin_id, n) ORDER BY u.spin_id
"""
LOAD_MONTH = f"""
    INSERT INTO {{table}} ({COLUMNS})
    SELECT gen_random_uuid(), n / {BATCH}, 'operator-1', 'user-' || n, 'wallet-' || n, 'COIN', 'demo-slots',
           'house', 'round-' || n, '', '', '', 100,
           '2026-01-01Z'::timestamptz + make_interval(months => $2) + n * interval '1 ms', $3::bigint[]
      FROM generate_series(1, $1) AS n
"""


def months(table: str, key: str) -> str:
    """A table of partitions by the month, the last of which is being written."""
    return f"CREATE TABLE {table} ({WIDE}{key}) PARTITION BY RANGE (record_time);" + "".join(
        f"CREATE TABLE {table}_{n} PARTITION OF {table} FOR VALUES FROM "
        f"('2026-01-01Z'::timestamptz + interval '{n} month') TO "
        f"('2026-01-01Z'::timestamptz + interval '{n + 1} month');"
        for n in range(MONTHS)
    )


class Way:
    """One way to keep them: its tables, which of a batch's ids are known, and how a batch is written."""

    def __init__(
        self, name: str, schema: str, known: str, write: str, tables: str, oldest: str | None
    ) -> None:
        self.name = name
        self.schema = schema
        self.known = known
        self.write = write
        self.tables = tables
        self.oldest = oldest
        self.rates: list[float] = []


WAYS = (
    Way(
        "one table (today)",
        f"CREATE TABLE a ({WIDE}, PRIMARY KEY (spin_id));"
        "CREATE INDEX a_by_operator ON a (operator_id, record_time, spin_id)",
        "SELECT spin_id FROM a WHERE spin_id = ANY($1::uuid[])",
        f"INSERT INTO a ({COLUMNS}) {ROWS_OF_A_BATCH}",
        "a",
        None,
    ),
    Way(
        "months, and a table of ids",
        months("b", "") + "CREATE INDEX b_by_batch ON b (batch_id);"
        "CREATE INDEX b_by_operator ON b (operator_id, record_time, spin_id);"
        "CREATE TABLE b_ids (spin_id uuid PRIMARY KEY, batch_id bigint NOT NULL)",
        "SELECT spin_id FROM b_ids WHERE spin_id = ANY($1::uuid[])",
        "WITH ids AS (INSERT INTO b_ids SELECT spin_id, $2 FROM unnest($1::uuid[]) AS u (spin_id) "
        f"ORDER BY spin_id) INSERT INTO b ({COLUMNS}) {ROWS_OF_A_BATCH}",
        "b%",
        "b_0",
    ),
    Way(
        "months, a key in each",
        months("c", ", UNIQUE (spin_id, record_time)")
        + "CREATE INDEX c_by_operator ON c (operator_id, record_time, spin_id)",
        "SELECT spin_id FROM c WHERE spin_id = ANY($1::uuid[])",
        f"INSERT INTO c ({COLUMNS}) {ROWS_OF_A_BATCH}",
        "c%",
        "c_0",
    ),
)


def ids(count: int) -> list[UUID]:
    return [uuid4() for _ in range(count)]


async def load(connection: asyncpg.Connection, way: Way, rows: int) -> None:
    """The months full, as they are after a year."""
    await connection.execute(way.schema)
    table = way.tables.rstrip("%")
    for month in range(MONTHS):
        await connection.execute(
            LOAD_MONTH.format(table=table),
            rows // MONTHS,
            month,
            SHARES,
        )
    if table == "b":
        await connection.execute("INSERT INTO b_ids SELECT spin_id, batch_id FROM b")
    await connection.execute(f"VACUUM ANALYZE {table}")


async def write(connection: asyncpg.Connection, way: Way, spins: Sequence[UUID], batch_id: int) -> float:
    """One batch: which of its ids are known, then all of them; durable when it returns. Seconds."""
    begin = perf_counter()
    async with connection.transaction():
        known = await connection.fetch(way.known, spins)
        assert not known
        await connection.execute(way.write, spins, batch_id, NOW, SHARES)
    return perf_counter() - begin


async def sizes(connection: asyncpg.Connection, way: Way) -> tuple[int, int]:
    """Bytes of the tables' rows and of their indexes."""
    row = await connection.fetchrow(
        "SELECT sum(pg_table_size(oid)), sum(pg_indexes_size(oid)) FROM pg_class "
        "WHERE relkind = 'r' AND relname LIKE $1 AND relname !~ 'pg_'",
        way.tables,
    )
    assert row is not None
    return int(row[0]), int(row[1])


async def drop_oldest(dsn: str, connection: asyncpg.Connection, way: Way) -> tuple[float, float, float]:
    """Detaches and drops the oldest month while batches go on: seconds it took, and the slowest batch
    meanwhile beside the median of the batches before."""
    other = await asyncpg.connect(dsn)
    before = [await write(connection, way, ids(BATCH), 10**9 + n) for n in range(BATCHES_A_ROUND)]
    during: list[float] = []
    table = way.tables.rstrip("%")

    async def drop() -> float:
        begin = perf_counter()
        await other.execute(f"ALTER TABLE {table} DETACH PARTITION {way.oldest} CONCURRENTLY")
        await other.execute(f"DROP TABLE {way.oldest}")
        return perf_counter() - begin

    dropping = asyncio.create_task(drop())
    while not dropping.done():
        during.append(await write(connection, way, ids(BATCH), 2 * 10**9 + len(during)))
        await asyncio.sleep(0)
    await other.close()
    return await dropping, max(during), median(before)


async def forget_ids(connection: asyncpg.Connection) -> float:
    """The ids of the dropped month, deleted a batch at a time: how many a second."""
    found = await connection.fetch("SELECT spin_id FROM b_ids LIMIT $1", BATCH * BATCHES_A_ROUND)
    spins = [row["spin_id"] for row in found]
    begin = perf_counter()
    for start in range(0, len(spins), BATCH):
        batch = spins[start : start + BATCH]
        await connection.execute("DELETE FROM b_ids WHERE spin_id = ANY($1::uuid[])", batch)
    return len(spins) / (perf_counter() - begin)


async def measure(dsn: str, rows: int, console: Console) -> None:
    """Everything, and the table of it."""
    connection = await asyncpg.connect(dsn, server_settings={"enable_seqscan": "off"})
    for way in WAYS:
        begin = perf_counter()
        await load(connection, way, rows)
        console.print(f"{way.name}: {rows:,} rows loaded in {perf_counter() - begin:.0f} s")
    for turn in range(ROUNDS):
        for way in WAYS:
            batches = [
                await write(connection, way, ids(BATCH), 1000 * turn + n) for n in range(BATCHES_A_ROUND)
            ]
            way.rates.append(BATCH * len(batches) / sum(batches))
    table = Table(title=f"{rows:,} rows in {MONTHS} months, batches of {BATCH}, one connection")
    for column in (
        "",
        "rows/s",
        "of today's",
        "bytes a row",
        "of them indexes",
        "drop of a month",
        "slowest batch",
    ):
        table.add_column(column, justify="right" if column else "left")
    today = WAYS[0].rates
    for way in WAYS:
        heap, index = await sizes(connection, way)
        count = rows + ROUNDS * BATCHES_A_ROUND * BATCH
        share = median(one / other for one, other in zip(way.rates, today, strict=True))
        dropped = ["–", "–"]
        if way.oldest:
            took, slowest, usual = await drop_oldest(dsn, connection, way)
            dropped = [f"{took * 1e3:.0f} ms", f"{slowest * 1e3:.1f} ms (usual {usual * 1e3:.1f})"]
        table.add_row(
            way.name, f"{median(way.rates):,.0f}", f"{share:.2f}", f"{(heap + index) / count:.0f}",
            f"{index / count:.0f}", *dropped,
        )  # fmt: skip
    console.print(table)
    console.print(f"ids of a dropped month forgotten: {await forget_ids(connection):,.0f}/s")
    await connection.close()


def main(arguments: Sequence[str]) -> None:
    """Starts a PostgreSQL of its own and measures there."""
    rows = int(arguments[0]) if arguments else 2_000_000
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder) / "postgres", password="bench")
        cluster.start()
        try:
            asyncio.run(measure(cluster.dsn(), rows, Console(width=140)))
        finally:
            cluster.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
