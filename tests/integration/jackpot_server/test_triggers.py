"""PR-14 and PR-09 through a whole server: must_drop_by, the game's word, shadow pools."""

import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from google.protobuf import json_format

from jackpot_server import verify_draw
from protos.jackpot.v1 import jackpot_pb2 as pb
from service_kit.money import MICROS
from tests.integration.jackpot_server.serving import Client, apply_pools, credited, error_of, pool, serving

DAILY = """
[pools.daily]
display_name = "Daily"
tier = "DAILY"
currency_code = "COIN"
contribution_ppm = 1000
reset_minor = 500
trigger = { must_drop_by = { period_s = 86400, first_deadline = 2026-01-01T21:00:00Z } }
"""
WORD = """
[pools.word]
display_name = "Word"
tier = "WORD"
currency_code = "COIN"
contribution_ppm = 1000
reset_minor = 500
trigger = { game = {} }
"""
TRIED = """
[pools.tried]
display_name = "Tried"
tier = "TRIED"
currency_code = "COIN"
operator_ids = ["demo"]
contribution_ppm = 1000
reserve_ppm = 500
reset_minor = 50
trigger = { odds = { one_in = 1, per_wager_minor = 1 } }
"""
DAY = timedelta(days=1)


@pytest.fixture
async def client(jackpots_dsn: str) -> AsyncIterator[Client]:
    async with serving(jackpots_dsn, pools=DAILY + WORD + TRIED + pool("grand")) as client:
        await execute(client, "UPDATE pools SET state = 3, version = version + 1 WHERE pool_id = 'tried'")
        yield client


async def execute(client: Client, statement: str, *values: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(client.dsn)
    try:
        return await connection.fetch(statement, *values)
    finally:
        await connection.close()


async def draw_of(client: Client, pool_id: str, spin_id: str) -> pb.Draw:
    name = f"pools/{pool_id}/draws/{spin_id}"
    draw: pb.Draw = (await client.jackpots.GetDraw(pb.GetDrawRequest(name=name))).draw
    return draw


def won(recorded: pb.RecordContributionResponse) -> dict[str, pb.Win]:
    return {win.pool: win for win in recorded.contribution.wins}


async def test_pr_14_the_first_spin_after_a_period_that_nobody_played_wins_and_its_draw_is_proved(
    client: Client, tmp_path: Path
) -> None:
    opened = await client.pool("daily")
    deadline = opened.cycle_deadline.ToDatetime(UTC)
    assert opened.update_time.ToDatetime(UTC) < deadline <= opened.update_time.ToDatetime(UTC) + DAY
    assert deadline.time() == datetime(2026, 1, 1, 21).time()
    # As if it had opened four days ago.
    await execute(
        client,
        "UPDATE pools SET cycle_deadline = cycle_deadline - interval '3 days',"
        " cycle_start_time = cycle_start_time - interval '4 days' WHERE pool_id = 'daily'",
    )
    first, second = await client.record(), await client.record()
    assert "pools/daily" in won(first)
    assert "pools/daily" not in won(second)
    after = await client.pool("daily")
    assert after.cycle_deadline == opened.cycle_deadline  # the running period
    draw = await draw_of(client, "daily", first.contribution.spin_id)
    assert draw.won
    assert draw.hidden <= draw.reached == first.contribution.record_time.ToNanoseconds() // 1000
    assert draw.cycle_deadline.ToDatetime(UTC) == deadline - 3 * DAY
    file = tmp_path / "draw.json"
    file.write_text(json.dumps(json_format.MessageToDict(pb.GetDrawResponse(draw=draw))))
    out = io.StringIO()
    assert verify_draw.check(str(file), draw.seed_commitment.hex(), out) == 0, out.getvalue()


async def test_pr_13_the_hidden_moment_of_an_open_cycle_is_not_shown(client: Client) -> None:
    recorded = await client.record()
    if "pools/daily" in won(recorded):  # its moment may just have come
        recorded = await client.record()
    draw = await draw_of(client, "daily", recorded.contribution.spin_id)
    assert (draw.hidden, draw.seed, draw.won) == (0, b"", False)
    assert draw.reached > 0
    assert draw.cycle_deadline == (await client.pool("daily")).cycle_deadline


async def test_a_game_triggers_the_pool_of_the_tier_that_it_names(client: Client) -> None:
    assert "pools/word" not in won(await client.record())
    assert "pools/word" not in won(await client.record(triggered_tiers=["OTHER"]))
    request = {"triggered_tiers": ["OTHER", "WORD"]}
    recorded = await client.record(**request)
    win = won(recorded)["pools/word"]
    assert win.state == pb.Win.STATE_PAYABLE
    spin_id = recorded.contribution.spin_id
    again = await client.record(spin_id=spin_id, **request)
    assert again.replayed
    assert won(again)["pools/word"] == win
    error = await error_of(client.jackpots.GetDraw(pb.GetDrawRequest(name=f"pools/word/draws/{spin_id}")))
    assert error.reason == "DRAW_NOT_FOUND"  # nothing was drawn


async def test_pr_09_a_shadow_pool_shows_everything_and_pays_nothing(client: Client) -> None:
    entries = "SELECT count(*) FROM entries JOIN pools USING (pool_key) WHERE pool_id = 'tried'"
    [before] = await execute(client, entries)
    recorded = await client.record()
    [share] = [share for share in recorded.contribution.shares if share.pool == "pools/tried"]
    assert share.shadow
    assert share.amount_micros == 100 * 1000
    win = won(recorded)["pools/tried"]
    assert win.shadow
    assert win.state == pb.Win.STATE_UNSPECIFIED
    assert win.amount.amount_minor == 50
    shown = await client.pool("tried")
    assert shown.state == pb.Pool.STATE_SHADOW
    assert shown.cycle == 2  # a shadow win resets it
    # Outside the ledger, the events and the funding.
    assert await execute(client, entries) == [before]
    events = await client.jackpots.ListWinEvents(pb.ListWinEventsRequest(operator_id="demo"))
    assert [event.win.pool for event in events.events if event.win.pool == "pools/tried"] == []
    [[funding]] = await execute(client, "SELECT -sum(amount_micros) FROM entries WHERE account = 1")
    real = sum(s.amount_micros + s.reserve_micros for s in recorded.contribution.shares if not s.shadow)
    assert funding == real
    [[left]] = await execute(client, "SELECT sum(amount_micros) FROM entries")
    assert left == 0
    # But it can be looked up, and its draw be repeated.
    name = f"pools/tried/wins/{win.spin_id}"
    assert (await client.jackpots.GetWin(pb.GetWinRequest(name=name))).win == win
    listed = await client.jackpots.ListWins(pb.ListWinsRequest(pool="pools/tried"))
    assert list(listed.wins) == [win]
    assert (await draw_of(client, "tried", win.spin_id)).won
    again = await client.record(spin_id=recorded.contribution.spin_id)
    assert won(again)["pools/tried"] == win


async def test_pr_09_a_wallet_that_credits_a_shadow_win_is_refused(client: Client) -> None:
    win = won(await client.record())["pools/tried"]
    error = await error_of(client.jackpots.AcknowledgeWin(credited(win)))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "WIN_NOT_PAYABLE")


async def test_pr_09_a_shadow_pools_amount_grows_outside_the_ledger(client: Client) -> None:
    await client.record()
    [row] = await execute(
        client,
        "SELECT current_micros, reserve_micros, last_win_minor FROM pools WHERE pool_id = 'tried'",
    )
    # 50.1 won, 50 paid; reset by 50 of reserve and a pretended house.
    assert row["current_micros"] == 50 * MICROS + 100_000
    assert row["last_win_minor"] == 50


async def test_r13_the_rules_come_from_the_running_configuration(client: Client) -> None:
    answer = await client.jackpots.GetPoolRules(pb.GetPoolRulesRequest(name="pools/daily"))
    assert answer.config == (await client.pool("daily")).config
    text = "\n".join(answer.rules)
    assert "0.1 % of each such wager goes into the jackpot" in text
    assert "Periods end at 2026-01-01 21:00:00 UTC" in text
    deadline = (await client.pool("daily")).cycle_deadline.ToDatetime(UTC)
    assert f"is to fall by {deadline:%Y-%m-%d %H:%M:%S} UTC" in text
    await apply_pools(client.dsn, DAILY.replace("contribution_ppm = 1000", "contribution_ppm = 2000"))
    answer = await client.jackpots.GetPoolRules(pb.GetPoolRulesRequest(name="pools/daily"))
    assert answer.config.contribution_ppm == 1000
    assert any(
        line.startswith("From the next jackpot on") and "0.2 % of each" in line for line in answer.rules
    )


async def test_rules_of_a_pool_that_is_not_there(client: Client) -> None:
    for name, code, reason in (
        ("pools/none", "NOT_FOUND", "POOL_NOT_FOUND"),
        ("none", "INVALID_ARGUMENT", "INVALID_FIELDS"),
    ):
        error = await error_of(client.jackpots.GetPoolRules(pb.GetPoolRulesRequest(name=name)))
        assert (error.code, error.reason) == (code, reason)
