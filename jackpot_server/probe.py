"""`python -m jackpot_server probe`: a quick test of a jackpot server that is used alone.

Its contributions are real ones: the pools grow by them, and may fall.
"""

import uuid
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TypeAlias

import grpc
import grpc.aio

from protos.jackpot.v1 import jackpot_pb2 as pb
from protos.jackpot.v1 import jackpot_pb2_grpc
from service_kit.money import format_micros, format_minor
from service_kit.quick_test import Account, impact, judge_times, why

CALL_TIMEOUT_S = 5.0

JackpotStub: TypeAlias = "jackpot_pb2_grpc.JackpotServiceAsyncStub"


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """What to probe: where the server is, whose contributions, how many, and what is fast enough."""

    address: str
    operator_id: str
    currency_code: str
    game_id: str
    wager_minor: int
    count: int
    target_ms: float


async def probe(plan: ProbePlan) -> Account:
    """Records `2 * plan.count + 2` contributions and says what came of them; raises for nothing it finds."""
    account = Account()
    async with grpc.aio.insecure_channel(plan.address) as channel:
        stub = jackpot_pb2_grpc.JackpotServiceStub(channel)
        try:
            await _settings_call(stub, plan, account)
            slots = await _followed(stub, plan, account, pb.GAME_CATEGORY_SLOTS)
            await _followed(stub, plan, account, pb.GAME_CATEGORY_TABLE)
            slots_s, table_s = await _pairs(stub, plan, account)
            account.title = "JACKPOT PROCESSING (Phase 4.5 - Asynchronous)"
            account.block = _block(slots, impact(slots_s, table_s))
            await _look_at_cache(stub, account)
        except grpc.aio.AioRpcError as error:
            unreached = error.code() is grpc.StatusCode.UNAVAILABLE
            look_at = f"whether the jackpot server runs and listens at {plan.address}, and its database"
            account.failed(
                f"a call failed: {why(error)}", look_at if unreached else f"the log of {plan.address}"
            )
    return account


async def _settings_call(stub: JackpotStub, plan: ProbePlan, account: Account) -> None:
    request = pb.ListPoolsRequest(operator_id=plan.operator_id, currency_code=plan.currency_code)
    pools = (await stub.ListPools(request, timeout=CALL_TIMEOUT_S)).pools
    tiers = ", ".join(pool.config.tier for pool in pools)
    if pools:
        account.passed(f"settings call successful: {len(pools)} pools take part ({tiers})")
    else:
        account.failed(
            f"no pool takes spins of {plan.operator_id} in {plan.currency_code}",
            "python -m jackpot_server apply FILE, which makes pools; or --operator and --currency",
        )


async def _followed(
    stub: JackpotStub, plan: ProbePlan, account: Account, category: pb.GameCategory.ValueType
) -> pb.Contribution:
    """One contribution, then the same again: it must be a repeat with the same shares."""
    request = _request(plan, category)
    started = perf_counter()
    first = await stub.RecordContribution(request, timeout=CALL_TIMEOUT_S)
    took_ms = (perf_counter() - started) * 1000
    name = pb.GameCategory.Name(category).removeprefix("GAME_CATEGORY_")
    account.passed(f"{name} contribution completed in {took_ms:.2f} ms")
    again = await stub.RecordContribution(request, timeout=CALL_TIMEOUT_S)
    if not again.replayed or again.contribution.shares != first.contribution.shares:
        account.failed(f"a repeat of the {name} contribution was decided anew", "which server answers there")
    return first.contribution


async def _pairs(stub: JackpotStub, plan: ProbePlan, account: Account) -> tuple[list[float], list[float]]:
    slots_s: list[float] = []
    table_s: list[float] = []
    for _ in range(plan.count):
        for category, seconds in ((pb.GAME_CATEGORY_SLOTS, slots_s), (pb.GAME_CATEGORY_TABLE, table_s)):
            started = perf_counter()
            await stub.RecordContribution(_request(plan, category), timeout=CALL_TIMEOUT_S)
            seconds.append(perf_counter() - started)
    judge_times(account, "SLOTS contributions", slots_s, plan.target_ms)
    judge_times(account, "TABLE contributions", table_s, plan.target_ms)
    account.figures["impact_ms"] = (median(slots_s) - median(table_s)) * 1000
    return slots_s, table_s


async def _look_at_cache(stub: JackpotStub, account: Account) -> None:
    cache = (await stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=CALL_TIMEOUT_S)).cache
    if cache.reachable:
        account.passed(f"cache in use: {cache.kind} {cache.version}, as it says itself")
    else:
        account.failed(
            "the cache does not answer",
            "JACKPOT_CACHE_URL and the server that it names; pools are read from the database meanwhile",
        )


def _request(plan: ProbePlan, category: pb.GameCategory.ValueType) -> pb.RecordContributionRequest:
    spin_id = str(uuid.uuid4())
    return pb.RecordContributionRequest(
        spin_id=spin_id,
        operator_id=plan.operator_id,
        user_id="probe",
        wallet_id="probe",
        wager=pb.Money(currency_code=plan.currency_code, amount_minor=plan.wager_minor),
        game_category=category,
        game_id=plan.game_id,
        provider_round_id=f"probe-{spin_id}",
        stake_kind=pb.STAKE_KIND_CASH,
    )


def _block(slots: pb.Contribution, performance: str) -> dict[str, str]:
    currency = slots.wager.currency_code
    shares = [share for share in slots.shares if not share.skip_reason]
    total = sum(share.amount_micros + share.reserve_micros + share.overflow_micros for share in shares)
    wins = [f"{format_minor(win.amount.amount_minor, currency)} from {win.tier}" for win in slots.wins]
    return {
        "Processing Mode": "a call of its own, which no player waits for",
        "Jackpot Contributions": str(len(shares)),
        "Total Contribution": format_micros(total, currency),
        "Jackpot Win": ", ".join(wins) or "none",
        "Performance Impact": f"{performance} (of this server's answer)",
    }
