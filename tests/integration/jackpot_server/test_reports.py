"""PR-20 and PR-22: meters and reports are the sums of what was booked and recorded, to the micro."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from protos.jackpot.v1 import jackpot_pb2 as pb
from tests.integration.jackpot_server.serving import (
    POOLS,
    Client,
    contribution,
    credited,
    error_of,
    pool,
    serving,
)
from tests.support.command_line import run

ALICE, BOB = (("x-actor", "alice"),), (("x-actor", "bob"),)
MICROS = 1_000_000


@pytest.fixture
async def client(jackpots_dsn: str) -> AsyncIterator[Client]:
    pools = POOLS + pool("idle") + pool("spare")
    async with serving(jackpots_dsn, pools=pools, environment="demo") as client:
        yield client


async def a_history(client: Client) -> None:
    """Contributions of two operators, wins paid, held and open, a void, a correction, a closing."""
    for _ in range(7):
        await client.win()
    paid, open_win = await client.win(), await client.win("winner-2")
    await client.jackpots.AcknowledgeWin(credited(paid))
    await client.jackpots.VoidContribution(
        pb.VoidContributionRequest(spin_id=open_win.spin_id, operator_id="winner-2")
    )
    await asyncio.gather(*(client.record() for _ in range(20)))
    fields = {"request_id": str(uuid4()), "reason": "because"}
    correction = pb.CorrectPoolRequest(name="pools/grand", amount_micros=-7, **fields)
    closing = pb.ClosePoolRequest(
        request_id=str(uuid4()), reason="because", name="pools/spare", transfer_to="pools/idle",
        accept_worse_odds=True,
    )  # fmt: skip
    for actor in (ALICE, BOB):
        await client.admin.CorrectPool(correction, metadata=actor)
        await client.admin.ClosePool(closing, metadata=actor)


def stamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def period(**fields: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "start_time": stamp(now - timedelta(hours=1)),
        "end_time": stamp(now + timedelta(hours=1)),
        **fields,
    }


async def ledger(client: Client, pool_id: str) -> dict[tuple[int, int], int]:
    """A pool's entries by account and kind."""
    look = await asyncpg.connect(client.dsn)
    try:
        rows = await look.fetch(
            "SELECT account, kind, sum(amount_micros) FROM entries JOIN pools USING (pool_key)"
            " WHERE pool_id = $1 GROUP BY 1, 2",
            pool_id,
        )
        return {(account, kind): int(micros) for account, kind, micros in rows}
    finally:
        await look.close()


async def meters(client: Client, pool_id: str) -> pb.GetPoolMetersResponse:
    request = pb.GetPoolMetersRequest(name=f"pools/{pool_id}")
    answer: pb.GetPoolMetersResponse = await client.admin.GetPoolMeters(request, metadata=ALICE)
    return answer


async def test_pr_20_a_pools_meters_are_the_sums_of_its_entries(client: Client) -> None:
    await a_history(client)
    for pool_id in ("mini", "grand", "sure", "idle", "spare"):
        entries = await ledger(client, pool_id)
        shown = await meters(client, pool_id)
        for account, micros in (
            (2, shown.current_micros),
            (3, shown.reserve_micros),
            (4, shown.overflow_micros),
        ):
            assert int(micros) == sum(amount for (each, _), amount in entries.items() if each == account)
        assert int(shown.contributed_micros) == sum(entries.get((account, 2), 0) for account in (2, 3, 4))
        assert int(shown.won_micros) == -entries.get((2, 3), 0)
        assert int(shown.house_funded_micros) == sum(
            amount for (_, kind), amount in entries.items() if kind in (1, 4)
        )


async def test_pr_20_meters_count_contributions_and_wins_and_show_the_last_ones(client: Client) -> None:
    await a_history(client)
    sure = await meters(client, "sure")
    assert (sure.contribution_count, sure.win_count, len(sure.last_wins)) == (9, 9, 9)
    assert int(sure.won_micros) == sum(win.amount.amount_minor for win in sure.last_wins) * MICROS
    times = [win.decide_time.ToMicroseconds() for win in sure.last_wins]
    assert times == sorted(times, reverse=True)
    open_wins = [w for w in sure.last_wins if w.state in (pb.Win.STATE_PAYABLE, pb.Win.STATE_HELD)]
    assert int(sure.payable_micros) == sum(win.amount.amount_minor for win in open_wins) * MICROS
    assert (await meters(client, "idle")).contribution_count == 29, "it takes everybody"
    unknown = await error_of(
        client.admin.GetPoolMeters(pb.GetPoolMetersRequest(name="pools/none"), metadata=ALICE)
    )
    assert (unknown.code, unknown.reason) == ("NOT_FOUND", "POOL_NOT_FOUND")


async def test_pr_22_the_liability_is_what_pools_hold_and_wins_are_owed(client: Client) -> None:
    before = datetime.now(UTC)
    await a_history(client)
    report = await client.admin.GetLiabilityReport(pb.GetLiabilityReportRequest(), metadata=ALICE)
    lines = {line.pool: line for line in report.lines}
    assert set(lines) == {f"pools/{name}" for name in ("mini", "grand", "sure", "idle", "spare")}
    for name, line in lines.items():
        shown = await meters(client, name.removeprefix("pools/"))
        assert (line.current_micros, line.reserve_micros, line.overflow_micros) == (
            shown.current_micros, shown.reserve_micros, shown.overflow_micros,
        )  # fmt: skip
        assert line.day_micros == line.month_micros == line.year_micros == line.life_micros
        assert line.life_micros == shown.contributed_micros
        assert int(line.payable_micros) + int(line.held_micros) == int(shown.payable_micros)
    assert int(lines["pools/sure"].held_micros) > 0
    earlier = await client.admin.GetLiabilityReport(
        pb.GetLiabilityReportRequest(at_time=stamp(before)), metadata=ALICE
    )
    assert {line.life_micros for line in earlier.lines} == {"0"}, "no activity"
    opened = {line.pool: int(line.current_micros) for line in earlier.lines}
    assert opened["pools/grand"] == 5000 * MICROS


async def test_pr_22_operators_are_shown_what_they_put_in_and_won(client: Client) -> None:
    await a_history(client)
    report = await client.admin.GetOperatorReport(pb.GetOperatorReportRequest(**period()), metadata=ALICE)
    lines = {(line.operator_id, line.pool): line for line in report.lines}
    assert {operator for operator, _ in lines} == {"demo", "winner", "winner-2"}
    sure = lines["winner", "pools/sure"]
    assert (sure.contribution_count, sure.win_count) == (8, 8)
    assert int(sure.contributed_micros) == 8 * 100 * 1000
    assert lines["demo", "pools/grand"].contribution_count == 20
    assert ("winner-2", "pools/grand") not in lines, "its only contribution was voided"
    assert lines["winner-2", "pools/sure"].win_count == 1
    alone = await client.admin.GetOperatorReport(
        pb.GetOperatorReportRequest(**period(operator_id="winner")), metadata=ALICE
    )
    assert list(alone.lines) == [line for line in report.lines if line.operator_id == "winner"]


async def test_pr_22_an_operators_hours_add_up(client: Client) -> None:
    await a_history(client)
    early = contribution(operator_id="winner")
    await client.jackpots.VoidContribution(
        pb.VoidContributionRequest(spin_id=early.spin_id, operator_id="winner")
    )
    await client.jackpots.RecordContribution(early)
    totals = await client.jackpots.GetContributionTotals(
        pb.GetContributionTotalsRequest(**period(operator_id="winner"))
    )
    assert all(hour.start_time.seconds % 3600 == 0 for hour in totals.hours)
    assert sum(hour.count for hour in totals.hours) == 8, "what was voided before it came is no contribution"
    assert sum(hour.wager_minor for hour in totals.hours) == 800
    assert sum(hour.win_count for hour in totals.hours) == 8
    other = await client.jackpots.GetContributionTotals(
        pb.GetContributionTotalsRequest(**period(operator_id="winner-2"))
    )
    [hour] = other.hours
    assert (hour.count, hour.voided_count, hour.win_count) == (1, 1, 1)
    listed = await client.jackpots.ListContributions(pb.ListContributionsRequest(operator_id="winner-2"))
    [only] = listed.contributions
    shares = sum(share.amount_micros + share.reserve_micros + share.overflow_micros for share in only.shares)
    assert int(hour.contributed_micros) == shares


async def test_a_report_without_a_period_or_of_a_whole_year_is_told_what_is_wrong(client: Client) -> None:
    now = datetime.now(UTC)
    year: dict[str, Any] = {"start_time": stamp(now - timedelta(days=365)), "end_time": stamp(now)}
    for call, fields in (
        (
            client.admin.GetOperatorReport(pb.GetOperatorReportRequest(), metadata=ALICE),
            {"start_time", "end_time"},
        ),
        (client.admin.GetOperatorReport(pb.GetOperatorReportRequest(**year), metadata=ALICE), {"end_time"}),
        (
            client.jackpots.GetContributionTotals(pb.GetContributionTotalsRequest()),
            {"operator_id", "start_time", "end_time"},
        ),
    ):
        error = await error_of(call)
        assert (error.code, set(error.fields)) == ("INVALID_ARGUMENT", fields)


async def test_pr_22_the_commands_show_the_same_as_tables_json_and_csv(client: Client) -> None:
    await a_history(client)
    environment = {"JACKPOT_DATABASE_DSN": client.dsn}
    command = ("jackpot_server", "report")
    status, said = await run(*command, "meters", "sure", "--json", **environment)
    assert status == 0, said
    [line] = json.loads(said)
    shown = await meters(client, "sure")
    assert (line["contributions"], line["wins"]) == (shown.contribution_count, shown.win_count)
    assert line["current_micros"] == int(shown.current_micros)
    status, said = await run(*command, "operators", "winner", "--csv", **environment)
    assert status == 0, said
    rows = list(csv.DictReader(io.StringIO(said)))
    assert {row["pool"]: int(row["wins"]) for row in rows}["sure"] == 8
    status, said = await run(*command, "wins", "--above-minor", "49", **environment)
    assert status == 0, said
    assert said.count("PAID") == 1
    assert "HELD" in said
    status, said = await run(*command, "changes", **environment)
    assert status == 0, said
    assert "CorrectPool" in said
    assert "alice" in said
    assert "bob" in said
    for report in (("liability",), ("hours", "winner")):
        status, said = await run(*command, *report, **environment)
        assert status == 0, said
    status, said = await run(*command, "operators", "nobody", **environment)
    assert (status, "no activity" in said) == (0, True)
    status, said = await run(*command, "meters", JACKPOT_DATABASE_DSN="postgresql://nobody@127.0.0.1:1/x")
    assert status == 2
