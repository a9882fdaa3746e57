"""People change pools: who, why, with whom; what takes effect when; and not a micro is lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from protos.jackpot.v1 import jackpot_pb2 as pb
from tests.integration.jackpot_server.bench import findings
from tests.integration.jackpot_server.serving import (
    Client,
    contribution,
    error_of,
    pool,
    serving,
)

ALICE, BOB = (("x-actor", "alice"),), (("x-actor", "bob"),)
DONE, PENDING = pb.Approval.STATE_DONE, pb.Approval.STATE_PENDING
POOLS = pool("one") + pool("two") + pool("euro", currency_code='"EUR"')


@pytest.fixture
async def client(jackpots_dsn: str) -> AsyncIterator[Client]:
    async with serving(jackpots_dsn, pools=POOLS, environment="demo") as client:
        yield client
        look = await asyncpg.connect(jackpots_dsn)
        try:
            assert await findings(look) == []
        finally:
            await look.close()


def asked(name: str, **fields: Any) -> dict[str, Any]:
    return {"request_id": str(uuid4()), "reason": "because", "name": f"pools/{name}", **fields}


async def both(method: Any, request: Any) -> Any:
    """What two people together come to; the first one's call waits."""
    waiting = await method(request, metadata=ALICE)
    assert waiting.approval.state == PENDING
    return await method(request, metadata=BOB)


async def state_of(client: Client, name: str) -> tuple[str, int, int]:
    """As the database has it: state, current and reserve."""
    look = await asyncpg.connect(client.dsn)
    try:
        row = await look.fetchrow("SELECT * FROM pools WHERE pool_id = $1", name)
        assert row is not None
        return pb.Pool.State.Name(row["state"]), row["current_micros"], row["reserve_micros"]
    finally:
        await look.close()


async def shares(client: Client) -> dict[str, pb.PoolShare]:
    """What each pool gets of a wager of 1.00 now."""
    recorded = await client.jackpots.RecordContribution(contribution())
    return {share.pool: share for share in recorded.contribution.shares}


async def test_pr_09_a_paused_pool_keeps_its_amount_and_spins_go_on(client: Client) -> None:
    before = (await shares(client))["pools/one"].balance_micros
    request = pb.PausePoolRequest(**asked("one"))
    paused = await client.admin.PausePool(request, metadata=ALICE)
    assert paused.pool.state == pb.Pool.STATE_PAUSED
    share = (await shares(client))["pools/one"]
    assert (share.skip_reason, share.balance_micros) == (pb.PoolShare.SKIP_REASON_PAUSED, before)
    resumed = await client.admin.ResumePool(pb.ResumePoolRequest(**asked("one")), metadata=BOB)
    assert resumed.pool.state == pb.Pool.STATE_ACTIVE
    assert (await shares(client))["pools/one"].amount_micros > 0
    again = await client.admin.PausePool(request, metadata=ALICE)
    assert again.pool.state == pb.Pool.STATE_ACTIVE, "a repeat does nothing and shows the pool as it is"


async def test_pr_08_what_two_people_must_agree_on_waits_for_the_second(client: Client) -> None:
    request = pb.UpdatePoolRequest(
        **asked("one", config=pb.PoolConfig(contribution_ppm=7_000)),
        update_mask=FieldMask(paths=["contribution_ppm"]),
    )
    for _ in range(2):
        waiting = await client.admin.UpdatePool(request, metadata=ALICE)
        assert (waiting.approval.state, waiting.approval.first_actor) == (PENDING, "alice")
        assert waiting.pool.config.contribution_ppm == 1_000
        assert not waiting.pool.HasField("next_config")
    done = await client.admin.UpdatePool(request, metadata=BOB)
    assert (done.approval.state, done.approval.first_actor, done.approval.second_actor) == (
        DONE, "alice", "bob",
    )  # fmt: skip
    assert done.pool.next_config.contribution_ppm == 7_000
    assert (await shares(client))["pools/one"].amount_micros == 100 * 1_000, (
        "the running cycle keeps its rate"
    )
    for actor in (ALICE, BOB):
        again = await client.admin.UpdatePool(request, metadata=actor)
        assert again.approval == done.approval


async def test_pr_08_what_players_are_shown_changes_at_once_and_by_one_person(client: Client) -> None:
    request = pb.UpdatePoolRequest(
        **asked("one", config=pb.PoolConfig(display_name="New", min_wager_minor=500)),
        update_mask=FieldMask(paths=["display_name", "min_wager_minor"]),
    )
    done = await client.admin.UpdatePool(request, metadata=ALICE)
    assert (done.approval.state, done.approval.second_actor) == (DONE, "")
    assert done.pool.config.display_name == "New"
    assert (await shares(client))["pools/one"].skip_reason == pb.PoolShare.SKIP_REASON_BELOW_MINIMUM


async def test_pr_08_a_waiting_change_lapses_when_its_pool_has_changed_since(client: Client) -> None:
    request = pb.CorrectPoolRequest(**asked("one", amount_micros=5))
    assert (await client.admin.CorrectPool(request, metadata=ALICE)).approval.state == PENDING
    await client.admin.PausePool(pb.PausePoolRequest(**asked("one")), metadata=ALICE)
    late = await client.admin.CorrectPool(request, metadata=BOB)
    assert (late.approval.state, late.approval.first_actor) == (PENDING, "bob"), "asked for anew"
    done = await client.admin.CorrectPool(request, metadata=ALICE)
    assert (done.approval.state, done.approval.first_actor) == (DONE, "bob")


async def test_pr_08_a_waiting_change_lapses_after_a_week(client: Client) -> None:
    request = pb.CorrectPoolRequest(**asked("one", amount_micros=5))
    await client.admin.CorrectPool(request, metadata=ALICE)
    look = await asyncpg.connect(client.dsn)
    try:
        await look.execute("UPDATE admin_events SET event_time = event_time - interval '7 days 1 second'")
        assert (await client.admin.CorrectPool(request, metadata=BOB)).approval.state == PENDING
        await look.execute(
            "UPDATE admin_events e SET event_time = batch_time FROM batches b WHERE b.batch_id = e.batch_id"
        )
    finally:
        await look.close()


async def test_pr_08_every_change_is_in_the_trail_with_both_people_before_and_after(client: Client) -> None:
    request = pb.CorrectPoolRequest(**asked("one", amount_micros=-1_500_000))
    _, before, _ = await state_of(client, "one")
    await both(client.admin.CorrectPool, request)
    listed = await client.admin.ListAuditEvents(
        pb.ListAuditEventsRequest(resource="pools/one"), metadata=ALICE
    )
    done, waiting, applied = listed.events
    assert applied.action == "apply", "how the pool came to be"
    assert (waiting.pending, waiting.actor, waiting.approver) == (True, "alice", "")
    assert (done.pending, done.actor, done.approver, done.reason) == (False, "alice", "bob", "because")
    assert (done.action, done.request_id) == ("CorrectPool", request.request_id)
    assert json.loads(done.before)["current_micros"] == before
    assert json.loads(done.after)["current_micros"] == before - 1_500_000


async def test_the_trail_is_paged_newest_first(client: Client) -> None:
    for name in ("one", "two", "one"):
        await client.admin.PausePool(pb.PausePoolRequest(**asked(name)), metadata=ALICE)
    token, seen = "", []
    while True:
        page = await client.admin.ListAuditEvents(
            pb.ListAuditEventsRequest(page_size=2, page_token=token), metadata=ALICE
        )
        seen += [event.resource for event in page.events]
        token = page.next_page_token
        if not token:
            break
    # Before them, the three that were applied.
    assert seen[:3] == ["pools/one", "pools/two", "pools/one"]
    assert len(seen) == 6


async def test_pr_09_a_closed_pool_leaves_everything_to_another_one(client: Client) -> None:
    await shares(client)
    _, *one = await state_of(client, "one")
    _, *two = await state_of(client, "two")
    request = pb.ClosePoolRequest(**asked("one", transfer_to="pools/two"))
    closed = await both(client.admin.ClosePool, request)
    assert (closed.approval.state, closed.pool.state) == (DONE, pb.Pool.STATE_CLOSED)
    assert await state_of(client, "one") == ("STATE_CLOSED", 0, 0)
    assert await state_of(client, "two") == (
        "STATE_ACTIVE", *(mine + other for mine, other in zip(one, two, strict=True)),
    )  # fmt: skip
    assert "pools/one" not in await shares(client), "a closed pool takes part in nothing"
    for call in (
        client.admin.ResumePool(pb.ResumePoolRequest(**asked("one")), metadata=ALICE),
        client.admin.CorrectPool(pb.CorrectPoolRequest(**asked("one", amount_micros=1)), metadata=ALICE),
    ):
        assert (await error_of(call)).reason == "POOL_CLOSED"


async def test_pr_09_players_of_a_closed_pool_must_not_be_worse_off_unless_that_is_said(
    client: Client,
) -> None:
    config = (await client.pool("two")).config
    config.odds.per_wager_minor *= 2
    new = pb.CreatePoolRequest(request_id=str(uuid4()), reason="r", pool_id="rare", config=config)
    await client.admin.CreatePool(new, metadata=ALICE)
    request = pb.ClosePoolRequest(**asked("one", transfer_to="pools/rare"))
    error = await error_of(client.admin.ClosePool(request, metadata=ALICE))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "WORSE_ODDS")
    accepted = pb.ClosePoolRequest(**asked("one", transfer_to="pools/rare", accept_worse_odds=True))
    assert (await both(client.admin.ClosePool, accepted)).pool.state == pb.Pool.STATE_CLOSED
    abroad = pb.ClosePoolRequest(**asked("two", transfer_to="pools/euro"))
    assert (await error_of(client.admin.ClosePool(abroad, metadata=ALICE))).reason == "CURRENCY_MISMATCH"


async def test_pr_09_a_shadow_pool_is_tried_and_becomes_active_at_its_reset(client: Client) -> None:
    config = (await client.pool("one")).config
    new = pb.CreatePoolRequest(
        request_id=str(uuid4()), reason="try", pool_id="trial", config=config, state=pb.Pool.STATE_SHADOW
    )
    created = await client.admin.CreatePool(new, metadata=ALICE)
    assert created.pool.state == pb.Pool.STATE_SHADOW
    assert (await shares(client))["pools/trial"].shadow
    pause = client.admin.PausePool(pb.PausePoolRequest(**asked("trial")), metadata=ALICE)
    assert (await error_of(pause)).reason == "POOL_SHADOW"
    resumed = await client.admin.ResumePool(pb.ResumePoolRequest(**asked("trial")), metadata=ALICE)
    assert (resumed.pool.state, resumed.pool.balance_micros) == (pb.Pool.STATE_ACTIVE, 100 * 1_000_000)
    share = (await shares(client))["pools/trial"]
    assert (share.shadow, share.cycle) == (False, 2)


async def test_pr_09_an_opening_amount_is_taken_over_by_two_people(client: Client) -> None:
    config = (await client.pool("one")).config
    new = pb.CreatePoolRequest(
        request_id=str(uuid4()),
        reason="taken over, ledger extract 2026-11",
        pool_id="old",
        config=config,
        opening_micros=123_456_789,
    )
    created = await both(client.admin.CreatePool, new)
    assert created.pool.balance_micros == 123_456_789
    too_little = pb.CreatePoolRequest(
        request_id=str(uuid4()), reason="r", pool_id="less", config=config, opening_micros=99_999_999
    )
    error = await error_of(client.admin.CreatePool(too_little, metadata=ALICE))
    assert (error.reason, error.fields) == ("INVALID_FIELDS", ["opening_micros"])
    exists = pb.CreatePoolRequest(request_id=str(uuid4()), reason="r", pool_id="old", config=config)
    assert (await error_of(client.admin.CreatePool(exists, metadata=BOB))).reason == "POOL_EXISTS"


async def test_a_request_id_names_one_request(client: Client) -> None:
    request = pb.PausePoolRequest(**asked("one"))
    await client.admin.PausePool(request, metadata=ALICE)
    other = pb.PausePoolRequest(request_id=request.request_id, reason="r", name="pools/two")
    error = await error_of(client.admin.PausePool(other, metadata=ALICE))
    assert (error.code, error.reason, error.metadata) == (
        "ALREADY_EXISTS", "REQUEST_ID_REUSED", {"fields": "name"},
    )  # fmt: skip
    method = pb.ResumePoolRequest(request_id=request.request_id, reason="r", name="pools/one")
    assert (await error_of(client.admin.ResumePool(method, metadata=ALICE))).reason == "REQUEST_ID_REUSED"


async def test_two_replicas_carry_a_request_out_once(client: Client) -> None:
    request = pb.CorrectPoolRequest(**asked("one", amount_micros=1_000_000))
    _, before, _ = await state_of(client, "one")
    async with serving(client.dsn, pools=None, environment="demo") as other:
        calls = [
            replica.admin.CorrectPool(request, metadata=actor)
            for replica in (client, other)
            for actor in (ALICE, BOB)
        ]
        answers = await asyncio.gather(*calls)
        assert {answer.approval.state for answer in answers} == {PENDING, DONE}
    assert (await state_of(client, "one"))[1] == before + 1_000_000


async def test_spins_and_changes_at_the_same_time_lose_nothing(client: Client) -> None:
    """The fixture's auditor compares the ledger with the pools afterwards."""

    async def spin() -> None:
        for _ in range(40):
            await client.record()

    async def change() -> None:
        for number in range(6):
            name = ("one", "two")[number % 2]
            await client.admin.PausePool(pb.PausePoolRequest(**asked(name)), metadata=ALICE)
            await both(client.admin.CorrectPool, pb.CorrectPoolRequest(**asked(name, amount_micros=77)))
            await client.admin.ResumePool(pb.ResumePoolRequest(**asked(name)), metadata=ALICE)

    await asyncio.gather(spin(), spin(), change())


@pytest.mark.parametrize(
    ("method", "request_message", "fields"),
    [
        ("PausePool", pb.PausePoolRequest(), ["name", "request_id", "reason"]),
        ("ResumePool", pb.ResumePoolRequest(name="one"), ["name", "request_id", "reason"]),
        ("ClosePool", pb.ClosePoolRequest(), ["name", "transfer_to", "request_id", "reason"]),
        ("CorrectPool", pb.CorrectPoolRequest(), ["name", "amount_micros", "request_id", "reason"]),
        (
            "UpdatePool",
            pb.UpdatePoolRequest(update_mask=FieldMask(paths=["nothing"])),
            ["name", "update_mask", "request_id", "reason"],
        ),
        (
            "CreatePool",
            pb.CreatePoolRequest(
                pool_id="A",
                opening_micros=-1,
                state=pb.Pool.STATE_CLOSED,
                config=pb.PoolConfig(
                    display_name="d", currency_code="COIN", tier="T", reset_minor=5, game_categories=[99]  # type: ignore[list-item]
                ),
            ),
            [
                "pool_id", "opening_micros", "state", "config.trigger", "config.game_categories",
                "request_id", "reason",
            ],
        ),
        (
            "ListAuditEvents",
            pb.ListAuditEventsRequest(resource="x", page_size=-1, page_token="?"),
            ["resource", "page_size", "page_token"],
        ),
    ],
)  # fmt: skip
async def test_every_malformed_field_is_named(
    client: Client, method: str, request_message: Any, fields: list[str]
) -> None:
    error = await error_of(getattr(client.admin, method)(request_message, metadata=ALICE))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELDS")
    assert sorted(error.fields) == sorted(fields)


async def test_a_configuration_that_contradicts_itself_is_refused_with_its_key(client: Client) -> None:
    request = pb.UpdatePoolRequest(
        **asked("one", config=pb.PoolConfig(ceiling_minor=50)), update_mask=FieldMask(paths=["ceiling_minor"])
    )
    error = await error_of(client.admin.UpdatePool(request, metadata=ALICE))
    assert (error.reason, error.fields) == ("INVALID_FIELDS", ["config"])
    other = pb.UpdatePoolRequest(
        **asked("one", config=pb.PoolConfig(currency_code="EUR")),
        update_mask=FieldMask(paths=["currency_code"]),
    )
    assert (await error_of(client.admin.UpdatePool(other, metadata=ALICE))).fields == ["config"]
    missing = client.admin.PausePool(pb.PausePoolRequest(**asked("nothing")), metadata=ALICE)
    assert (await error_of(missing)).reason == "POOL_NOT_FOUND"


async def test_nobody_changes_anything_without_saying_who(client: Client) -> None:
    request = pb.PausePoolRequest(**asked("one"))
    for metadata in ((), (("x-actor", ""),), (("x-actor", "two words"),)):
        error = await error_of(client.admin.PausePool(request, metadata=metadata))
        assert (error.code, error.reason) == ("UNAUTHENTICATED", "NO_IDENTITY")


async def test_outside_the_demo_nobody_is_believed(jackpots_dsn: str) -> None:
    async with serving(jackpots_dsn, environment="production") as client:
        request = pb.PausePoolRequest(**asked("mini"))
        for call in (
            client.admin.PausePool(request, metadata=ALICE),
            client.admin.ListAuditEvents(pb.ListAuditEventsRequest(), metadata=ALICE),
        ):
            assert (await error_of(call)).reason == "NO_IDENTITY"


async def test_pr_08_a_pool_can_be_given_a_deadline(client: Client) -> None:
    """Moments survive the way through the trail's JSON, where they are texts."""
    trigger = pb.MustDropByTrigger()
    trigger.period.seconds = 86_400
    trigger.first_deadline.FromJsonString("2026-01-01T22:00:00Z")
    request = pb.UpdatePoolRequest(
        **asked("one", config=pb.PoolConfig(must_drop_by=trigger)),
        update_mask=FieldMask(paths=["must_drop_by"]),
    )
    done = await both(client.admin.UpdatePool, request)
    assert done.pool.next_config.must_drop_by == trigger
    assert done.pool.config.HasField("odds"), "the running cycle keeps its odds"
