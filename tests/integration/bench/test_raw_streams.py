"""The load generator's own reader of streams, against a real gRPC server."""

import asyncio
from functools import partial

from bench.raw_streams import RawStreams
from protos.jackpot.v1 import jackpot_pb2 as pb
from tests.integration.service_kit.wallet_double import WATCH_POOLS, Pools, make_pools, serving

# Of HTTP/2, unless a peer asks for more.
FRAME_BYTES = 16_384


async def read(pools: Pools, streams: int, wanted: int) -> tuple[list[tuple[int, str]], bool]:
    """The first `wanted` messages, as (stream's number, pool's name); whether a stream ended first."""
    taken: list[tuple[int, str]] = []
    enough = asyncio.get_running_loop().create_future()

    def take(number: int, raw: bytes) -> None:
        taken.append((number, pb.WatchPoolsResponse.FromString(raw).change.name))
        if len(taken) == wanted:
            enough.set_result(True)

    requests = [pb.WatchPoolsRequest().SerializeToString()] * streams
    async with serving(pools=pools) as (server, _):
        host, _, port = server.address.rpartition(":")
        made = partial(RawStreams, server.address, WATCH_POOLS, requests, take)
        transport, connection = await asyncio.get_running_loop().create_connection(made, host, int(port))
        async with asyncio.timeout(10):
            await asyncio.wait([enough, connection.ended], return_when=asyncio.FIRST_COMPLETED)
        ended = connection.ended.done()
        transport.close()
    return taken, ended


async def test_every_message_comes_whole_and_in_order() -> None:
    taken, ended = await read(make_pools(pause_s=0, size=3 * FRAME_BYTES), streams=1, wanted=50)
    names = [name for _, name in taken[:50]]
    assert names == [f"pools/{number}" + "x" * 3 * FRAME_BYTES for number in range(1, 51)]
    assert not ended


async def test_a_message_is_known_by_its_stream() -> None:
    taken, ended = await read(make_pools(), streams=20, wanted=200)
    assert {number for number, _ in taken} == set(range(20))
    assert not ended


async def test_the_end_of_one_stream_is_noticed() -> None:
    taken, ended = await read(make_pools(fail_after=3), streams=1, wanted=100)
    assert [name for _, name in taken] == ["pools/1", "pools/2", "pools/3"]
    assert ended
