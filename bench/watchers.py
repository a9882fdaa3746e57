"""WatchPools streams in a process of their own, and how late the changes of a pool reach them.

A change that one message skips is in the next one. What counts is the change that waited longest: of a
message, the one right after what the stream showed before. It is taken to have happened at that time,
which is too early by the pause between two batches. The first message of a phase is left out.

The process prints "ready" when every stream has its first picture. It answers each line on stdin with what it
has seen since the line before (`Seen` as JSON).
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc.aio
import uvloop

from protos.jackpot.v1 import jackpot_pb2

PER_CHANNEL = 50
METHOD = "/jackpot.v1.JackpotService/WatchPools"


@dataclass
class Seen:
    """Waits of changes, in seconds, and all messages."""

    waits: list[float] = field(default_factory=list)
    messages: int = 0


class Watchers:
    """All streams; each looks at one pool."""

    def __init__(self, count: int) -> None:
        self.seen = Seen()
        self.all_ready = asyncio.Event()
        self._waited_for = count

    async def watch(self, channel: grpc.aio.Channel, pool: str) -> None:
        """One stream, until it is cancelled."""
        open_stream: Any = channel.unary_stream(
            METHOD, response_deserializer=jackpot_pb2.WatchPoolsResponse.FromString
        )
        request = jackpot_pb2.WatchPoolsRequest(pools=[pool])
        shown, shown_in = 0.0, self.seen
        async for message in open_stream(request.SerializeToString()):
            self.seen.messages += 1
            if message.HasField("snapshot"):
                self._begun()
            elif message.HasField("change"):
                if shown_in is self.seen:
                    self.seen.waits.append(time.time() - shown)
                update = message.change.update_time
                shown, shown_in = update.seconds + update.nanos / 1e9, self.seen

    def _begun(self) -> None:
        self._waited_for -= 1
        if not self._waited_for:
            self.all_ready.set()


async def serve(address: str, count: int, pools: Sequence[str]) -> None:
    """Watches until stdin ends."""
    loop = asyncio.get_running_loop()
    watchers = Watchers(count)
    # One connection each: gRPC shares one between equal channels.
    channels = [
        grpc.aio.insecure_channel(address, options=[("bench.number", number)])
        for number in range(-(-count // PER_CHANNEL))
    ]
    streams = [
        asyncio.create_task(watchers.watch(channels[number // PER_CHANNEL], pools[number % len(pools)]))
        for number in range(count)
    ]
    ready = asyncio.create_task(watchers.all_ready.wait())
    await asyncio.wait([ready, *streams], return_when=asyncio.FIRST_COMPLETED)
    assert ready.done(), "a stream ended"
    print(json.dumps("ready"), flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        assert not any(stream.done() for stream in streams), "a stream ended"
        seen, watchers.seen = watchers.seen, Seen()
        print(json.dumps(asdict(seen)), flush=True)
    for stream in streams:
        stream.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--pools", nargs="+", required=True)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.address, arguments.count, arguments.pools))
