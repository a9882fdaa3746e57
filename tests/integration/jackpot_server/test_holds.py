"""PR-17: wins that are held by amount or by people, released or rejected by two of them."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from protos.jackpot.v1 import jackpot_pb2 as pb
from tests.integration.jackpot_server.bench import findings
from tests.integration.jackpot_server.serving import SURE, Client, credited, error_of, serving

ALICE, BOB = (("x-actor", "alice"),), (("x-actor", "bob"),)
DONE, PENDING = pb.Approval.STATE_DONE, pb.Approval.STATE_PENDING
PAYABLE, HELD, PAID, REJECTED = (
    pb.Win.STATE_PAYABLE, pb.Win.STATE_HELD, pb.Win.STATE_PAID, pb.Win.STATE_REJECTED,
)  # fmt: skip
# Its wins of 50 and more are checked by two people.
CAREFUL = SURE.replace("pools.sure", "pools.careful").replace('"winner", "winner-2"', '"careful"') + (
    "hold_wins_above_minor = 49\n"
)


@pytest.fixture
async def client(jackpots_dsn: str) -> AsyncIterator[Client]:
    async with serving(jackpots_dsn, pools=SURE + CAREFUL, environment="demo") as client:
        yield client
        look = await asyncpg.connect(jackpots_dsn)
        try:
            assert await findings(look) == []
        finally:
            await look.close()


def about(win: pb.Win) -> dict[str, Any]:
    return {"request_id": str(uuid4()), "reason": "because", "name": win.name}


async def hold(client: Client, win: pb.Win) -> pb.Win:
    response = await client.admin.HoldWin(pb.HoldWinRequest(**about(win)), metadata=ALICE)
    held: pb.Win = response.win
    return held


async def both(method: Any, request: Any) -> pb.Win:
    """What two people together come to."""
    waiting = await method(request, metadata=ALICE)
    assert waiting.approval.state == PENDING
    assert waiting.win.state == HELD
    done = await method(request, metadata=BOB)
    assert done.approval.state == DONE
    win: pb.Win = done.win
    return win


async def confirm(client: Client, win: pb.Win) -> None:
    """The wallet's word that it will not credit."""
    request = pb.AcknowledgeWinRequest(
        name=win.name,
        outcome=pb.AcknowledgeWinRequest.OUTCOME_HOLD_CONFIRMED,
        event_sequence=win.event_sequence,
    )
    await client.jackpots.AcknowledgeWin(request)


async def failed(client: Client, win: pb.Win) -> pb.Win:
    """The wallet could not credit it."""
    request = pb.AcknowledgeWinRequest(
        name=win.name, outcome=pb.AcknowledgeWinRequest.OUTCOME_FAILED, event_sequence=win.event_sequence
    )
    held: pb.Win = (await client.jackpots.AcknowledgeWin(request)).win
    return held


async def kinds(client: Client, operator_id: str = "winner") -> list[str]:
    heard = await client.jackpots.ListWinEvents(pb.ListWinEventsRequest(operator_id=operator_id))
    return [pb.WinEvent.Kind.Name(event.kind).removeprefix("KIND_") for event in heard.events]


async def balance(client: Client, pool: str = "sure") -> int:
    return (await client.pool(pool)).balance_micros


async def test_pr_17_a_win_above_the_pools_limit_is_held_from_the_start(client: Client) -> None:
    recorded = await client.record(operator_id="careful")
    [win] = recorded.contribution.wins
    assert (win.state, win.hold_reason) == (HELD, pb.Win.HOLD_REASON_AMOUNT)
    assert await kinds(client, "careful") == ["DECIDED"]
    released = await both(client.admin.ApproveWin, pb.ApproveWinRequest(**about(win)))
    assert (released.state, released.hold_reason) == (PAYABLE, pb.Win.HOLD_REASON_UNSPECIFIED)
    assert await kinds(client, "careful") == ["DECIDED", "RELEASED"]


async def test_pr_17_an_operator_holds_alone_and_two_people_release(client: Client) -> None:
    held = await hold(client, await client.win())
    assert (held.state, held.hold_reason) == (HELD, pb.Win.HOLD_REASON_OPERATOR)
    released = await both(client.admin.ApproveWin, pb.ApproveWinRequest(**about(held)))
    assert released.state == PAYABLE
    assert await kinds(client) == ["DECIDED", "HELD", "RELEASED"]
    paid = await client.jackpots.AcknowledgeWin(credited(released))
    assert (paid.win.state, paid.win.review_required) == (PAID, False)


async def test_pr_17_what_an_operator_holds_is_rejected_only_after_the_wallets_word(client: Client) -> None:
    held = await hold(client, await client.win())
    request = pb.RejectWinRequest(**about(held))
    error = await error_of(client.admin.RejectWin(request, metadata=ALICE))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "WIN_HOLD_UNCONFIRMED")
    await confirm(client, held)
    before = await balance(client)
    rejected = await both(client.admin.RejectWin, request)
    assert rejected.state == REJECTED
    assert await balance(client) == before + held.amount.amount_minor * 1_000_000, "back in the pool"
    assert await kinds(client) == ["DECIDED", "HELD", "REJECTED"]
    late = await error_of(client.jackpots.AcknowledgeWin(credited(held)))
    assert (late.code, late.reason) == ("FAILED_PRECONDITION", "WIN_NOT_PAYABLE")


async def test_pr_17_a_word_about_an_older_event_does_not_confirm_a_hold(client: Client) -> None:
    first = await hold(client, await client.win())
    await confirm(client, first)
    released = await both(client.admin.ApproveWin, pb.ApproveWinRequest(**about(first)))
    again = await hold(client, released)
    error = await error_of(client.admin.RejectWin(pb.RejectWinRequest(**about(again)), metadata=ALICE))
    assert error.reason == "WIN_HOLD_UNCONFIRMED"


async def test_pr_17_a_credit_that_failed_may_be_rejected_or_tried_again(client: Client) -> None:
    held = await failed(client, await client.win())
    assert (held.state, held.hold_reason) == (HELD, pb.Win.HOLD_REASON_CREDIT_FAILED)
    released = await both(client.admin.ApproveWin, pb.ApproveWinRequest(**about(held)))
    assert (await failed(client, held)).state == PAYABLE, "an older word is a replay without effect"
    again = await failed(client, released)
    assert (await both(client.admin.RejectWin, pb.RejectWinRequest(**about(again)))).state == REJECTED


async def test_v4_the_held_win_of_a_voided_spin_is_released_or_returned(client: Client) -> None:
    for end in ("Approve", "Reject"):
        win = await client.win()
        await client.jackpots.VoidContribution(
            pb.VoidContributionRequest(spin_id=win.spin_id, operator_id="winner")
        )
        request = getattr(pb, f"{end}WinRequest")(**about(win))
        ended = await both(getattr(client.admin, f"{end}Win"), request)
        assert ended.spin_voided
        assert ended.state == (PAYABLE if end == "Approve" else REJECTED)


async def test_pr_17_a_waiting_decision_lapses_when_the_win_has_changed_since(client: Client) -> None:
    held = await failed(client, await client.win())
    request = pb.RejectWinRequest(**about(held))
    assert (await client.admin.RejectWin(request, metadata=ALICE)).approval.state == PENDING
    await client.jackpots.VoidContribution(
        pb.VoidContributionRequest(spin_id=held.spin_id, operator_id="winner")
    )
    late = await client.admin.RejectWin(request, metadata=BOB)
    assert (late.approval.state, late.approval.first_actor) == (PENDING, "bob"), "asked for anew"


async def test_pr_17_only_what_is_held_is_released_and_nothing_paid_is_held(client: Client) -> None:
    win = await client.win()
    early = await error_of(client.admin.ApproveWin(pb.ApproveWinRequest(**about(win)), metadata=ALICE))
    assert (early.code, early.reason) == ("FAILED_PRECONDITION", "WIN_NOT_HELD")
    await client.jackpots.AcknowledgeWin(credited(win))
    late = await error_of(client.admin.HoldWin(pb.HoldWinRequest(**about(win)), metadata=ALICE))
    assert (late.code, late.reason) == ("FAILED_PRECONDITION", "WIN_ALREADY_PAID")
    missing = pb.HoldWinRequest(request_id=str(uuid4()), reason="because", name=f"pools/sure/wins/{uuid4()}")
    unknown = await error_of(client.admin.HoldWin(missing, metadata=ALICE))
    assert (unknown.code, unknown.reason) == ("NOT_FOUND", "WIN_NOT_FOUND")


async def test_pr_17_the_trail_says_who_decided_about_a_win(client: Client) -> None:
    held = await failed(client, await client.win())
    await both(client.admin.RejectWin, pb.RejectWinRequest(**about(held)))
    listed = await client.admin.ListAuditEvents(pb.ListAuditEventsRequest(resource=held.name), metadata=ALICE)
    done, waiting = listed.events
    assert (done.action, done.actor, done.approver, done.pending) == ("RejectWin", "alice", "bob", False)
    assert waiting.pending
    assert '"REJECTED"' in done.after
