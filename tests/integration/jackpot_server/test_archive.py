"""PR-21: closed months in files; the audit verifies from files and tables when the rows are gone."""

import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from jackpot_server.archive import Damaged, export
from jackpot_server.audit.audit import audit
from service_kit.audit_report import Audit
from tests.integration.jackpot_server.bench import ROOT_KEYS, Bench, open_bench
from tests.integration.jackpot_server.test_audit import POOLS, make_history
from tests.support.command_line import run


@pytest.fixture
async def history(jackpots_dsn: str) -> AsyncIterator[Bench]:
    async with open_bench(jackpots_dsn, POOLS) as bench:
        await make_history(bench, 6)
        yield bench


async def audited(look: asyncpg.Connection, archive: Path | None = None) -> Audit:
    async with look.transaction():
        return await audit(look, root_keys=ROOT_KEYS, archive=archive)


def the_month_after(moment: datetime) -> datetime:
    return (moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(
        day=1
    )


async def archived(look: asyncpg.Connection, folder: Path) -> list[tuple[str, int]]:
    """Exports everything, as if the month that runs were over."""
    async with look.transaction():
        months = await export(look, the_month_after(datetime.now(UTC)), folder)
    return [(month.month, month.rows) for month in months]


def rewrite(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Changes the rows of the only month and makes its manifest fit, as somebody would who knows how."""
    (manifest,) = folder.glob("contributions-*.json")
    file = manifest.with_suffix(".jsonl.gz")
    rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    change(rows)
    file.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    said = json.loads(manifest.read_text())
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest.write_text(json.dumps({**said, "rows": len(rows), "sha256": sha256}))


async def test_pr_21_the_audit_verifies_from_files_and_tables(history: Bench, tmp_path: Path) -> None:
    look = history.look
    count = await history.count("contributions")
    assert await history.look.fetchval("SELECT count(*) FROM voids JOIN contributions USING (spin_id)")
    assert sum(rows for _, rows in await archived(look, tmp_path)) == count
    assert await archived(look, tmp_path) == [], "a month is written once"
    both = await audited(look, tmp_path)
    assert both.findings.found == []
    assert both.findings.examined["every archived row is the one of the table"] == count
    await look.execute("DELETE FROM contributions")
    assert not (await audited(look)).is_clean
    alone = await audited(look, tmp_path)
    assert alone.findings.found == []
    assert alone.count == count


async def test_pr_21_what_is_changed_in_an_archive_is_found(history: Bench, tmp_path: Path) -> None:
    await archived(history.look, tmp_path)
    await history.look.execute("DELETE FROM contributions")
    changed: list[str] = []

    def another_wager(rows: list[dict[str, Any]]) -> None:
        rows[7]["wager_minor"] += 1
        changed.append(rows[7]["spin_id"])

    rewrite(tmp_path, another_wager)
    done = await audited(history.look, tmp_path)
    assert any(changed[0] in finding.where for finding in done.findings.found)

    def as_it_was_and_one_less(rows: list[dict[str, Any]]) -> None:
        rows[7]["wager_minor"] -= 1
        changed.append(f"batch {rows.pop(9)['batch_id']} ")

    rewrite(tmp_path, as_it_was_and_one_less)
    done = await audited(history.look, tmp_path)
    assert any(changed[1] in finding.where for finding in done.findings.found)


async def test_pr_21_a_row_of_the_table_that_the_archive_does_not_have_is_found(
    history: Bench, tmp_path: Path
) -> None:
    await archived(history.look, tmp_path)
    await history.look.execute("UPDATE contributions SET country_code = 'XX' WHERE ctid = '(0,1)'")
    found = (await audited(history.look, tmp_path)).findings.found
    assert [finding.message for finding in found] == ["the archive has another row, or none"]


async def test_pr_21_a_damaged_file_cannot_be_audited(
    history: Bench, tmp_path: Path, jackpots_dsn: str
) -> None:
    await archived(history.look, tmp_path)
    (file,) = tmp_path.glob("*.gz")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(Damaged):
        await audited(history.look, tmp_path)
    settings = {"JACKPOT_DATABASE_DSN": jackpots_dsn}
    status, said = await run("jackpot_server", "audit", "--archive", str(tmp_path), **settings)
    assert status == 2, said
    assert "is not what its manifest says" in said


async def test_the_command_writes_months_that_are_over(jackpots_dsn: str, tmp_path: Path) -> None:
    async with open_bench(jackpots_dsn, POOLS) as bench:
        await make_history(bench, 1)
    settings = {"JACKPOT_DATABASE_DSN": jackpots_dsn}
    now = datetime.now(UTC)
    arguments = ("jackpot_server", "archive", "--into", str(tmp_path), "--before")
    status, said = await run(*arguments, f"{the_month_after(now):%Y-%m}", **settings)
    assert status == 1
    assert "has not been over for an hour" in said
    assert await run(*arguments, "2020-01", **settings) == (0, "nothing to write\n")
    assert (await run(*arguments, "January", **settings))[0] == 1
    assert list(tmp_path.iterdir()) == []
