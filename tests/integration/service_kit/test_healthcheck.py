"""The health check that a container runs, against a health service that says what it is told."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_health.v1.health_pb2 import HealthCheckResponse

from devstack.processes import free_port
from service_kit.healthcheck import NOT_SERVING, SERVING, WRONG_USE


@asynccontextmanager
async def server(*, serving: bool) -> AsyncIterator[str]:
    servicer = health_aio.HealthServicer()
    await servicer.set("", HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING)
    listening = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(servicer, listening)
    port = listening.add_insecure_port("127.0.0.1:0")
    await listening.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await listening.stop(0)


async def check(*addresses: str) -> tuple[int, str]:
    """Exit status and output, as an orchestrator sees them."""
    command = [sys.executable, "-m", "service_kit.healthcheck", *addresses]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_a_serving_server_is_healthy_wherever_it_stands_in_the_list() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    async with server(serving=True) as address:
        assert (await check(address))[0] == SERVING
        assert (await check(nobody, address))[0] == SERVING
        # What a server listens on inside a container.
        assert (await check(address.replace("127.0.0.1", "0.0.0.0")))[0] == SERVING


async def test_a_server_that_drains_and_one_that_is_not_there_are_unhealthy() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    async with server(serving=False) as address:
        status, output = await check(address, nobody)
    assert status == NOT_SERVING
    assert output == f"{address} NOT_SERVING\n{nobody} UNAVAILABLE\n"


async def test_no_address_or_a_wrong_one_is_said_to_be_wrong_use() -> None:
    assert (await check())[0] == WRONG_USE
    status, output = await check("not an address")
    assert status == WRONG_USE
    assert "host:port" in output
