"""A jackpots database with a past: wins of all triggers, payments, holds, voids, and what people changed."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from google.protobuf.field_mask_pb2 import FieldMask

from protos.jackpot.v1 import jackpot_pb2 as pb
from tests.integration.jackpot_server.serving import (
    GRAND,
    SURE,
    Client,
    contribution,
    credited,
    pool,
    serving,
)
from tests.support.waiting import eventually

ALICE, BOB = (("x-actor", "alice"),), (("x-actor", "bob"),)
_TRIGGERS = {
    "reached": "{ must_hit_by = { floor_minor = 2, ceiling_minor = 150 } }",
    "gamely": "{ game = {} }",
    "often": "{ odds = { one_in = 4, per_wager_minor = 100 } }",
}


def _pool(pool_id: str, trigger: str) -> str:
    lines = pool(pool_id, tier=f'"{pool_id.upper()}"', reserve_ppm=700).splitlines()
    return "\n".join([*lines[:-1], f"trigger = {trigger}", ""])


def _pools() -> str:
    """One pool of each trigger; one falls within two seconds."""
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    timely = f"{{ must_drop_by = {{ period_s = 3600, first_deadline = {soon:%Y-%m-%dT%H:%M:%SZ} }} }}"
    triggers = {**_TRIGGERS, "timely": timely}
    return SURE + GRAND + pool("old") + "".join(_pool(name, trigger) for name, trigger in triggers.items())


async def make_history(dsn: str, rounds: int = 8) -> None:
    """Everything that leaves rows, some of it several times."""
    async with serving(dsn, pools=_pools(), environment="demo") as client:
        config = (await client.pool("grand")).config
        trial = pb.CreatePoolRequest(**_asked(), pool_id="trial", config=config, state=pb.Pool.STATE_SHADOW)
        await client.admin.CreatePool(trial, metadata=ALICE)
        for number in range(rounds):
            await _play(client, number)
            if number == rounds // 2:
                await _change(client)
        await eventually(partial(_falls, client, "timely"))


async def _falls(client: Client, pool_id: str) -> bool:
    await client.record()
    return (await client.pool(pool_id)).cycle > 1


async def _play(client: Client, number: int) -> None:
    seed = f"player's {number}" if number % 2 else ""
    batch = pb.BatchRecordContributionsRequest(
        requests=[
            contribution(
                client_seed=seed,
                operator_id=("demo", "winner-2")[index % 2],
                triggered_tiers=["GAMELY"] * (index == 3),
            )
            for index in range(12)
        ]
    )
    await client.jackpots.BatchRecordContributions(batch)
    paid, held, left = [await client.win() for _ in range(3)]
    await client.jackpots.AcknowledgeWin(credited(paid))
    failed = pb.AcknowledgeWinRequest.OUTCOME_FAILED
    await client.jackpots.AcknowledgeWin(
        pb.AcknowledgeWinRequest(
            name=held.name, outcome=failed, failure_reason="limit", event_sequence=held.event_sequence
        )
    )
    spins = [left.name.rsplit("/", 1)[1], str(uuid4())] if number % 2 else [paid.name.rsplit("/", 1)[1]]
    for spin_id in spins:
        await client.jackpots.VoidContribution(
            pb.VoidContributionRequest(spin_id=spin_id, operator_id="winner", reason="taken back")
        )
    method = client.admin.RejectWin if number % 2 else client.admin.ApproveWin
    request = (pb.RejectWinRequest if number % 2 else pb.ApproveWinRequest)(**_asked(), name=held.name)
    await _both(method, request)


async def _change(client: Client) -> None:
    admin = client.admin
    await admin.PausePool(pb.PausePoolRequest(**_asked(), name="pools/old"), metadata=ALICE)
    await admin.ResumePool(pb.ResumePoolRequest(**_asked(), name="pools/trial"), metadata=ALICE)
    config = (await client.pool("grand")).config
    config.display_name = "Grander"
    update = pb.UpdatePoolRequest(
        **_asked(), name="pools/grand", config=config, update_mask=FieldMask(paths=["display_name"])
    )
    await admin.UpdatePool(update, metadata=ALICE)
    await _both(
        admin.CorrectPool, pb.CorrectPoolRequest(**_asked(), name="pools/grand", amount_micros=-1_234_567)
    )
    await _both(
        admin.ClosePool,
        pb.ClosePoolRequest(**_asked(), name="pools/old", transfer_to="pools/grand", accept_worse_odds=True),
    )


def _asked() -> dict[str, Any]:
    return {"request_id": str(uuid4()), "reason": "because"}


async def _both(method: Any, request: Any) -> None:
    """What takes two people."""
    for person in (ALICE, BOB):
        await method(request, metadata=person)
