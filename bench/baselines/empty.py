"""The limit of gRPC in Python: handlers that decode the request, do nothing and answer an empty message.

python -m bench.baselines.empty serve (BASELINE_LISTEN)
"""

import os
from typing import Any

import grpc.aio
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from protos.jackpot.v1 import jackpot_pb2, jackpot_pb2_grpc
from protos.spin.v1 import spin_pb2, spin_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]

# Those of the product that bear on speed.
OPTIONS = [("grpc.so_reuseport", 0), ("grpc.compression_enabled_algorithms_bitset", 1)]


class EmptySpins(spin_pb2_grpc.SpinServiceServicer):
    """SettleSpin."""

    async def SettleSpin(
        self, request: spin_pb2.SettleSpinRequest, context: Context
    ) -> spin_pb2.SettleSpinResponse:
        return spin_pb2.SettleSpinResponse()


class EmptyJackpots(jackpot_pb2_grpc.JackpotServiceServicer):
    """RecordContribution and GetPool."""

    async def RecordContribution(
        self, request: jackpot_pb2.RecordContributionRequest, context: Context
    ) -> jackpot_pb2.RecordContributionResponse:
        return jackpot_pb2.RecordContributionResponse()

    async def GetPool(
        self, request: jackpot_pb2.GetPoolRequest, context: Context
    ) -> jackpot_pb2.GetPoolResponse:
        return jackpot_pb2.GetPoolResponse()


async def serve() -> None:
    """Until it is killed."""
    server = grpc.aio.server(options=OPTIONS)
    health = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    spin_pb2_grpc.add_SpinServiceServicer_to_server(EmptySpins(), server)  # type: ignore[abstract]
    jackpot_pb2_grpc.add_JackpotServiceServicer_to_server(EmptyJackpots(), server)  # type: ignore[abstract]
    server.add_insecure_port(os.environ["BASELINE_LISTEN"])
    await server.start()
    await health.set("", health_pb2.HealthCheckResponse.SERVING)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve())
