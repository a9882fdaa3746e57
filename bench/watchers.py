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
from functools import partial

import uvloop

from bench.raw_streams import RawStreams
from protos.jackpot.v1 import jackpot_pb2

PER_CONNECTION = 50
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
        self.all_ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waited_for = count
        # When the change that a stream showed last was made, and in which phase it was shown.
        self._shown = [(0.0, self.seen)] * count

    def take(self, first: int, number: int, raw: bytes) -> None:
        """A message of stream `first` + `number`."""
        message = jackpot_pb2.WatchPoolsResponse.FromString(raw)
        self.seen.messages += 1
        if message.HasField("snapshot"):
            self._begun()
        elif message.HasField("change"):
            shown, shown_in = self._shown[first + number]
            if shown_in is self.seen:
                self.seen.waits.append(time.time() - shown)
            update = message.change.update_time
            self._shown[first + number] = update.seconds + update.nanos / 1e9, self.seen

    def _begun(self) -> None:
        self._waited_for -= 1
        if not self._waited_for:
            self.all_ready.set_result(True)


async def serve(address: str, count: int, pools: Sequence[str]) -> None:
    """Watches until stdin ends."""
    loop = asyncio.get_running_loop()
    watchers = Watchers(count)
    requests = [
        jackpot_pb2.WatchPoolsRequest(pools=[pools[number % len(pools)]]).SerializeToString()
        for number in range(count)
    ]
    ends: list[asyncio.Future[bool]] = []
    host, _, port = address.rpartition(":")
    for first in range(0, count, PER_CONNECTION):
        part = requests[first : first + PER_CONNECTION]
        streams = partial(RawStreams, address, METHOD, part, partial(watchers.take, first))
        _, connection = await loop.create_connection(streams, host, int(port))
        ends.append(connection.ended)
    await asyncio.wait([watchers.all_ready, *ends], return_when=asyncio.FIRST_COMPLETED)
    assert watchers.all_ready.done(), "a stream ended"
    print(json.dumps("ready"), flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        assert not any(end.done() for end in ends), "a stream ended"
        seen, watchers.seen = watchers.seen, Seen()
        print(json.dumps(asdict(seen)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--pools", nargs="+", required=True)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.address, arguments.count, arguments.pools))
