"""A server's life in one process: not serving, serving, draining, stopped."""

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from service_kit.errors import StartRefused, invalid_fields
from service_kit.server import SEND_LIMIT_S, GrpcServer
from tests.integration.service_kit.wallet_double import (
    GET_WALLET,
    WATCH_POOLS,
    build,
    call_raw,
    get_wallet,
    make_pools,
    make_wallets,
    reason,
    serving,
    settings,
    watch_pools,
)
from tests.support.waiting import eventually

SERVICES = ["", "spin.v1.WalletService", "jackpot.v1.JackpotService"]
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


async def health(channel: grpc.aio.Channel, service: str = "") -> int:
    stub: Any = HealthStub(channel)
    response = await stub.Check(HealthCheckRequest(service=service), timeout=5)
    status: int = response.status
    return status


async def nothing() -> None:
    pass


async def test_before_it_serves_health_says_so_and_calls_may_be_repeated() -> None:
    server = build(make_wallets(), make_pools(), settings())
    await server.open()
    async with grpc.aio.insecure_channel(server.address) as channel:
        assert [await health(channel, service) for service in SERVICES] == [NOT_SERVING] * 3
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "wallets/a")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason(caught.value) == "DATABASE_UNAVAILABLE"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch_pools(channel, [])
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

        await server.begin_serving()
        assert [await health(channel, service) for service in SERVICES] == [SERVING] * 3
        assert await get_wallet(channel, "wallets/a") == "wallets/a"
    await server.close()


async def test_health_does_not_know_other_services() -> None:
    async with serving() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health(channel, "spin.v1.NoService")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_every_service() -> None:
    async with serving() as (_, channel):
        stub: Any = ServerReflectionStub(channel)  # type: ignore[arg-type]
        call = stub.ServerReflectionInfo(timeout=5)
        await call.write(ServerReflectionRequest(list_services=""))
        response = await call.read()
        await call.done_writing()
    assert {service.name for service in response.list_services_response.service} == {
        "spin.v1.WalletService",
        "jackpot.v1.JackpotService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_a_drain_lets_calls_in_flight_finish_and_refuses_new_ones() -> None:
    may_answer = asyncio.Event()
    wallets = make_wallets({"wallets/slow": lambda: wait_for(may_answer)})
    async with serving(wallets) as (server, channel):
        slow = asyncio.create_task(get_wallet(channel, "wallets/slow"))
        await eventually(lambda: server.calls_inside == 1)
        closing = asyncio.create_task(server.close())
        await eventually(lambda: is_draining(channel))
        assert [await health(channel, service) for service in SERVICES] == [NOT_SERVING] * 3
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "wallets/a")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason(caught.value) == "DRAINING"
        assert not closing.done()
        may_answer.set()
        assert await slow == "wallets/slow"
        await closing
        assert wallets.answered == 1


async def wait_for(event: asyncio.Event) -> None:
    await event.wait()


async def is_draining(channel: grpc.aio.Channel) -> bool:
    return await health(channel) == NOT_SERVING


@pytest.mark.parametrize("pause_s", [0.0, 60.0], ids=["busy", "waiting"])
async def test_a_drain_ends_streams_with_a_reason(pause_s: float) -> None:
    async with serving(pools=make_pools(pause_s=pause_s)) as (server, channel):
        names: list[str] = []
        watching = asyncio.create_task(watch_pools(channel, names))
        await eventually(lambda: names)
        begin = time.monotonic()
        await server.close()
        assert time.monotonic() - begin < SEND_LIMIT_S
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watching
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason(caught.value) == "DRAINING"


async def test_a_drain_does_not_wait_for_one_who_does_not_read() -> None:
    pools = make_pools(size=2**20, pause_s=0.0)
    async with serving(pools=pools) as (server, channel):
        call: Any = channel.unary_stream(WATCH_POOLS)
        stream = call(b"")
        assert await stream.read()
        seen: list[int] = []

        def is_blocked() -> bool:
            seen.append(pools.sent)
            return len(seen) > 10 and seen[-10] == pools.sent

        await eventually(is_blocked)
        begin = time.monotonic()
        await server.close()
        assert time.monotonic() - begin < SEND_LIMIT_S + 1
        stream.cancel()


async def test_who_watches_the_health_sees_the_drain_before_the_end() -> None:
    async with serving(drain_delay_s=0.2) as (server, channel):
        seen: list[int] = []

        async def watch() -> None:
            stub: Any = HealthStub(channel)
            async for response in stub.Watch(HealthCheckRequest()):
                seen.append(response.status)

        watching = asyncio.create_task(watch())
        await eventually(lambda: seen == [SERVING])
        await server.close()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watching
    assert seen == [SERVING, NOT_SERVING]
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_call_that_does_not_end_is_cut_when_the_grace_is_over() -> None:
    wallets = make_wallets({"wallets/slow": lambda: asyncio.sleep(60)})
    async with serving(wallets, drain_grace_s=0.2) as (server, channel):
        slow = asyncio.create_task(get_wallet(channel, "wallets/slow", timeout_s=30))
        await eventually(lambda: server.calls_inside == 1)
        begin = time.monotonic()
        await server.close()
        assert 0.15 < time.monotonic() - begin < 2
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await slow
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_who_is_in_a_hurry_does_not_wait_for_the_grace() -> None:
    wallets = make_wallets({"wallets/slow": lambda: asyncio.sleep(60)})
    async with serving(wallets, drain_delay_s=30, drain_grace_s=60) as (server, channel):
        slow = asyncio.create_task(get_wallet(channel, "wallets/slow", timeout_s=30))
        await eventually(lambda: server.calls_inside == 1)
        hurry = asyncio.Event()
        closing = asyncio.create_task(server.drain(hurry))
        await eventually(lambda: is_draining(channel))
        hurry.set()
        await asyncio.wait_for(closing, 5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await slow
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_hooks_run_in_reverse_after_the_last_call_even_if_one_fails() -> None:
    order: list[str] = []
    may_answer = asyncio.Event()

    async def work() -> None:
        await may_answer.wait()
        order.append("call")

    def hook(name: str, *, fails: bool = False) -> None:
        async def run() -> None:
            order.append(name)
            if fails:
                raise RuntimeError(name)

        server.on_stop(name, run)

    async with serving(make_wallets({"wallets/slow": work})) as (server, channel):
        hook("pool")
        hook("committer", fails=True)
        hook("watchers")
        slow = asyncio.create_task(get_wallet(channel, "wallets/slow"))
        await eventually(lambda: server.calls_inside == 1)
        closing = asyncio.create_task(server.close())
        await eventually(lambda: is_draining(channel))
        may_answer.set()
        await slow
        await closing
    assert order == ["call", "watchers", "committer", "pool"]


async def test_a_start_that_fails_closes_what_it_opened() -> None:
    server = build(make_wallets(), make_pools(), settings())
    order: list[str] = []

    async def close_pool() -> None:
        order.append("pool closed")

    async def start() -> None:
        server.on_stop("pool", close_pool)
        raise StartRefused("no database")

    async def stop() -> None:
        order.append("stopped")

    with pytest.raises(StartRefused, match="no database"):
        await server.run_until_signal(start, stop)
    assert order == ["pool closed", "stopped"]
    async with grpc.aio.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await health(channel)


async def test_health_follows_the_readiness_of_the_application() -> None:
    answers: dict[str, bool | Exception] = {"ready": True}

    async def ready() -> bool:
        answer = answers["ready"]
        if isinstance(answer, Exception):
            raise answer
        return answer

    server = build(make_wallets(), make_pools(), settings())
    running = asyncio.create_task(server.run_until_signal(nothing, nothing, ready=ready))
    await eventually(lambda: not server.address.endswith(":0"))
    async with grpc.aio.insecure_channel(server.address) as channel:

        async def is_serving() -> bool:
            return await health(channel) == SERVING

        await eventually(is_serving)
        answers["ready"] = OSError("gone")
        await eventually(lambda: is_draining(channel))
        # What the database cannot do says its own status; the gate stays open.
        assert await get_wallet(channel, "wallets/a") == "wallets/a"
        answers["ready"] = True
        await eventually(is_serving)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "spins.internal:50051", "192.0.2.7:50051"])
def test_other_machines_are_not_served_in_plaintext(listen: str) -> None:
    with pytest.raises(StartRefused, match="DOUBLE_ALLOW_PLAINTEXT=1"):
        GrpcServer(settings(listen=listen), [])


async def test_plaintext_can_be_allowed() -> None:
    async with serving(listen="0.0.0.0:0", allow_plaintext=True) as (server, channel):
        assert server.address.startswith("0.0.0.0:")
        assert await get_wallet(channel, "wallets/a") == "wallets/a"


async def test_a_unix_socket_is_served(tmp_path: Path) -> None:
    async with serving(listen=f"unix:{tmp_path}/spin.sock") as (_, channel):
        assert await get_wallet(channel, "wallets/a") == "wallets/a"


async def test_a_port_is_not_shared_by_two_servers() -> None:
    async with serving() as (first, _):
        second = build(make_wallets(), make_pools(), settings(listen=first.address))
        with pytest.raises(StartRefused, match="is it taken"):
            await second.open()


async def test_compressed_requests_are_not_unpacked() -> None:
    async with serving(compression=grpc.Compression.Gzip) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "a" * 10_000)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"grpc_service": "spin.v1.WalletService", **labels}) or 0.0


async def test_every_call_is_counted_by_its_code() -> None:
    async def fail() -> None:
        raise RuntimeError("bug")

    async def read(code: str) -> float:
        return counted(
            "grpc_server_handled_total", grpc_type="unary_unary", grpc_method="GetWallet", grpc_code=code
        )

    codes = ["OK", "INTERNAL", "INVALID_ARGUMENT"]
    calls = {"grpc_type": "unary_unary", "grpc_method": "GetWallet"}
    before = [await read(code) for code in codes]
    started = counted("grpc_server_started_total", **calls)
    timed = counted("grpc_server_handling_seconds_count", **calls)
    async with serving(make_wallets({"wallets/bug": fail})) as (_, channel):
        await get_wallet(channel, "wallets/a")
        await get_wallet(channel, "wallets/b")
        for attempt in (get_wallet(channel, "wallets/bug"), call_raw(channel, GET_WALLET, b"\xff")):
            with pytest.raises(grpc.aio.AioRpcError):
                await attempt
    assert [await read(code) for code in codes] == [before[0] + 2, before[1] + 1, before[2] + 1]
    assert counted("grpc_server_started_total", **calls) == started + 4
    assert counted("grpc_server_handling_seconds_count", **calls) == timed + 4


@pytest.fixture
def events() -> Iterator[list[structlog.typing.EventDict]]:
    """What is logged, of every level."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    with capture_logs() as captured:
        yield captured
    structlog.configure(**before)


@pytest.mark.parametrize(("level", "lines"), [("debug", 2), ("info", 0)])
async def test_calls_are_logged_one_by_one_at_debug_only(
    level: str, lines: int, events: list[structlog.typing.EventDict]
) -> None:
    async with serving(log_level=level) as (_, channel):
        await get_wallet(channel, "wallets/a")
        with pytest.raises(grpc.aio.AioRpcError):
            await call_raw(channel, GET_WALLET, b"\xff")
    calls = [event for event in events if event["event"] == "call_answered"]
    assert len(calls) == lines
    assert [call["code"] for call in calls] == ["OK", "INVALID_ARGUMENT"][:lines]
    assert all(call["method"] == GET_WALLET for call in calls)


async def test_a_flood_of_one_failure_is_one_line_with_its_cause(
    events: list[structlog.typing.EventDict],
) -> None:
    async def fail() -> None:
        raise RuntimeError("the cause")

    async with serving(make_wallets({"wallets/bug": fail})) as (_, channel):
        for _ in range(50):
            with pytest.raises(grpc.aio.AioRpcError):
                await get_wallet(channel, "wallets/bug")
    failures = [event for event in events if event["event"] == "call_failed"]
    # One a second, however slow the machine is.
    assert 1 <= len(failures) <= 5
    assert repr(failures[0]["exc_info"]) == "RuntimeError('the cause')"
    assert failures[0]["log_level"] == "error"


async def test_what_the_caller_did_wrong_is_not_our_failure(events: list[structlog.typing.EventDict]) -> None:
    async def refuse() -> None:
        raise invalid_fields([])

    async with serving(make_wallets({"wallets/a": refuse})) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError):
            await get_wallet(channel, "wallets/a")
    assert not [event for event in events if event["event"] == "call_failed"]
