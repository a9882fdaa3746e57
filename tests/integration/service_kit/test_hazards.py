"""The traps of grpc.aio, on a real server: each would show without the wrapper around the handlers."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from protos.jackpot.v1 import jackpot_pb2_grpc
from protos.jackpot.v1.jackpot_pb2 import WatchPoolsRequest
from service_kit.errors import Failure, FieldViolation, Refusal, invalid_fields
from service_kit.group_commit import GroupCommit
from tests.integration.service_kit.wallet_double import (
    CANARY_DSN,
    GET_WALLET,
    WATCH_POOLS,
    Wallets,
    call_raw,
    details,
    everything,
    get_wallet,
    make_pools,
    make_wallets,
    reason,
    serving,
    watch_pools,
)
from tests.support.waiting import eventually


async def test_a_callers_deadline_ends_its_wait_and_not_the_work() -> None:
    """G1."""
    written: list[int] = []
    may_write = asyncio.Event()

    async def write(items: list[int]) -> list[int]:
        await may_write.wait()
        written.extend(items)
        return items

    group: GroupCommit[int, int] = GroupCommit(
        write, key=lambda item: item, max_batch=10, max_waiting=10, name="writes"
    )
    group.start()
    cancelled: list[int] = []

    async def submit() -> None:
        try:
            await group.submit(1)
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    async with serving(make_wallets({"wallets/a": submit})) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "wallets/a", timeout_s=0.05)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: cancelled)
        may_write.set()
        await eventually(lambda: written == [1])
        # The group still works for the next caller.
        assert await group.submit(2) == 2
    await group.close()


async def test_a_burst_that_waits_for_the_event_loop_is_answered_and_not_cancelled() -> None:
    """By default gRPC tells CANCELLED to some of those behind the thousandth call that no handler has yet."""
    burst = 3500
    async with serving(make_wallets()) as (_, channel):
        # All are sent before the loop, which serves them too, comes to the first.
        answers = await asyncio.gather(
            *(get_wallet(channel, "wallets/a", timeout_s=60) for _ in range(burst)), return_exceptions=True
        )
    told = {answer.code().name for answer in answers if isinstance(answer, grpc.aio.AioRpcError)}
    assert not told


async def test_a_cancellation_inside_a_handler_is_answered_at_once() -> None:
    """G2: without the wrapper the caller would wait for its deadline."""

    async def cancel() -> None:
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lost.cancel()
        await lost

    async with serving(make_wallets({"wallets/a": cancel})) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "wallets/a", timeout_s=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason(caught.value) == "OUTCOME_UNKNOWN"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(CANARY_DSN),
        ValueError(CANARY_DSN),
        NotImplementedError(CANARY_DSN),
        ExceptionGroup(CANARY_DSN, [KeyError(CANARY_DSN)]),
        StopAsyncIteration(CANARY_DSN),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_bug_shows_a_fixed_text_and_no_word_of_the_exception(error: Exception) -> None:
    """G3."""

    async def fail() -> None:
        raise error

    async with serving(make_wallets({"wallets/a": fail})) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "wallets/a")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert reason(caught.value) == "INTERNAL_ERROR"
    assert "canary" not in everything(caught.value)
    assert type(error).__name__ not in everything(caught.value)


async def test_a_refusals_cause_stays_inside() -> None:
    """G3, for what is raised on purpose `from` something else."""

    async def fail() -> None:
        raise Refusal(grpc.StatusCode.NOT_FOUND, "WALLET_NOT_FOUND", "No such wallet.") from ValueError(
            CANARY_DSN
        )

    async with serving(make_wallets({"wallets/a": fail})) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "wallets/a")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "No such wallet."
    assert "canary" not in everything(caught.value)


async def test_an_answer_that_cannot_be_encoded_is_a_bug_of_ours_too() -> None:
    class Broken(Wallets):
        async def GetWallet(self, request: object, context: object) -> str:  # type: ignore[override]
            return CANARY_DSN

    async with serving(Broken()) as (_, channel):  # type: ignore[abstract]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "wallets/a")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "canary" not in everything(caught.value)


@pytest.mark.parametrize(
    "error", [OSError(CANARY_DSN), TimeoutError(CANARY_DSN), ConnectionResetError(CANARY_DSN)]
)
async def test_a_database_that_is_away_is_unavailable(error: Exception) -> None:
    async def fail() -> None:
        raise error

    async with serving(make_wallets({"wallets/a": fail})) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "wallets/a")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason(caught.value) == "DATABASE_UNAVAILABLE"
    assert "canary" not in everything(caught.value)


@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x7f", b"\x0a\x02\xc3\x28", b"\x00" * 64], ids=repr)
async def test_bytes_that_do_not_decode_are_the_callers_fault(raw: bytes) -> None:
    """G4."""
    async with serving() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call_raw(channel, GET_WALLET, raw)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(caught.value) == "UNDECODABLE"


async def test_bytes_that_do_not_decode_are_refused_for_a_stream_too() -> None:
    """G4, server streaming (WatchPools) and both directions (reflection)."""
    async with serving() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call_raw(channel, WATCH_POOLS, b"\xff")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason(caught.value) == "UNDECODABLE"

        path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        call: Any = channel.stream_stream(path)(timeout=5)
        await call.write(b"\xff")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_that_is_too_large_is_resource_exhausted() -> None:
    async with serving(max_request_bytes=4096) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "x" * 5000)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # The connection is not spoilt for the next call.
        assert await get_wallet(channel, "wallets/a") == "wallets/a"


async def test_an_answer_that_is_too_large_is_resource_exhausted() -> None:
    async with serving(max_request_bytes=2**20, max_response_bytes=4096) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "x" * 5000)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_that_is_too_large_is_resource_exhausted() -> None:
    async with serving() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call_raw(channel, GET_WALLET, b"", metadata=(("x-actor", "y" * 40_000),))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_every_violation_reaches_the_caller() -> None:
    violations = [FieldViolation("name", "is too long"), FieldViolation("page_size", "is negative")]

    async def refuse() -> None:
        raise invalid_fields(violations)

    async with serving(make_wallets({"wallets/a": refuse})) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "wallets/a")
    info, bad_request, _ = details(caught.value)
    assert info is not None
    assert (info.reason, info.domain) == ("INVALID_FIELDS", "spin.v1")
    assert bad_request is not None
    assert [(v.field, v.description) for v in bad_request.field_violations] == [
        ("name", "is too long"),
        ("page_size", "is negative"),
    ]


async def test_a_failure_says_when_to_repeat() -> None:
    async def refuse() -> None:
        raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "Busy.", retry_after_s=0.25)

    async with serving(make_wallets({"wallets/a": refuse})) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "wallets/a")
    retry = details(caught.value)[2]
    assert retry is not None
    assert retry.retry_delay.ToMilliseconds() == 250


@pytest.mark.parametrize("method", ["Deposit", "NoSuchMethod"])
async def test_a_method_that_is_not_there_says_so(method: str) -> None:
    """Deposit is in the contract and not in the servicer; the other is not in the contract."""
    async with serving() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call_raw(channel, f"/spin.v1.WalletService/{method}", b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    info = details(caught.value)[0]
    assert info is not None
    assert (info.reason, info.domain) == ("METHOD_NOT_IMPLEMENTED", "spin.v1")


async def test_a_service_that_is_not_there_is_unimplemented() -> None:
    async with serving() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call_raw(channel, "/spin.v1.NoService/GetWallet", b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_handler_that_is_not_async_is_refused_when_it_is_registered() -> None:
    class Blocking(Wallets):
        def GetWallet(self, request: object, context: object) -> None:  # type: ignore[override]
            pass

    with pytest.raises(TypeError, match="GetWallet must be async"):
        async with serving(Blocking()):  # type: ignore[abstract]
            pass


async def test_a_stream_that_breaks_shows_no_word_of_the_exception() -> None:
    async with serving(pools=make_pools(fail_after=3)) as (_, channel):
        names: list[str] = []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch_pools(channel, names)
    assert names == ["pools/1", "pools/2", "pools/3"]
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "canary" not in everything(caught.value)


@pytest.mark.parametrize("size", [0, 200_000], ids=["thinking", "blocked by a slow reader"])
async def test_a_stream_whose_caller_goes_away_is_closed(size: int) -> None:
    pools = make_pools(size=size)
    async with serving(pools=pools) as (server, channel):
        call = jackpot_pb2_grpc.JackpotServiceStub(channel).WatchPools(WatchPoolsRequest())
        await call.read()
        assert server.open_streams == 1
        call.cancel()
        await asyncio.wait_for(pools.closed.wait(), 5)
        await eventually(lambda: server.open_streams == 0)


async def test_a_storm_of_deadlines_leaves_a_server_that_answers() -> None:
    async def wait() -> None:
        await asyncio.sleep(30)

    async with serving(make_wallets({"wallets/slow": wait})) as (server, channel):
        calls = [get_wallet(channel, "wallets/slow", timeout_s=0.05) for _ in range(200)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        codes = {result.code() for result in results if isinstance(result, grpc.aio.AioRpcError)}
        assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}
        assert await get_wallet(channel, "wallets/a") == "wallets/a"
        await eventually(lambda: server.calls_inside == 0)
