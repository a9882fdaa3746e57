"""A proxy in front of a PostgreSQL server that counts what connections of a given name say and hear.

It reads the protocol just enough: messages' types and lengths, the texts of statements, COMMITs.
"""

import asyncio
import contextlib
import struct
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

_HEAD = struct.Struct(">cI")


@dataclass
class Wire:
    """What passed over all connections of one name. A round trip begins when the client speaks again."""

    trips: int = 0
    bytes_asked: int = 0
    bytes_answered: int = 0
    commits: int = 0
    # By the statement's text: how often, and seconds from its question to the end of its answer.
    statements: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


class Tap:
    """Forwards to one address. `wires`: what passed, by the name that is in a connection's first message."""

    def __init__(self, names: Sequence[bytes]) -> None:
        self.wires = {name: Wire() for name in names}

    def clear(self) -> None:
        """Counts from zero."""
        self.wires.update({name: Wire() for name in self.wires})

    @asynccontextmanager
    async def before(self, host: str, port: int) -> AsyncIterator[int]:
        """Its port, while it forwards there."""
        talks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            talk = asyncio.create_task(self._talk(host, port, reader, writer))
            talks.add(talk)
            talk.add_done_callback(talks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for talk in talks:
                talk.cancel()
            await asyncio.gather(*talks, return_exceptions=True)

    async def _talk(
        self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, port)
        talk = _Talk(self)
        with contextlib.suppress(OSError):
            await asyncio.gather(
                _pump(reader, there_writer, talk.asked), _pump(there_reader, writer, talk.answered)
            )


class _Talk:
    """One connection: whose it is, who spoke last, which statements it has prepared."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._name: bytes | None = None
        self._is_waiting = False
        self._prepared: dict[bytes, str] = {}
        self._statement = ""
        self._asked_at = 0.0
        # Of a message that has begun, how much is still to come.
        self._left_over = 0

    def asked(self, data: bytes) -> None:
        """The client spoke."""
        if self._name is None:
            self._name = next((name for name in self._tap.wires if name in data), None)
            return
        wire = self._tap.wires[self._name]
        if not self._is_waiting:
            wire.trips += 1
            self._asked_at = perf_counter()
        self._is_waiting = True
        wire.bytes_asked += len(data)
        for kind, body in self._messages(data):
            if kind == b"P":
                name, text, _ = body.split(b"\0", 2)
                self._prepared[name] = text.decode()
            elif kind == b"B":
                name = body.split(b"\0", 2)[1]
                self._began(wire, self._prepared.get(name, ""))
            elif kind == b"Q":
                self._began(wire, body.rstrip(b"\0").decode())

    def _messages(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The messages that begin in what the client sent at once; the end of a large one may be missing."""
        at = self._left_over
        while at + _HEAD.size <= len(data):
            kind, length = _HEAD.unpack_from(data, at)
            yield kind, data[at + _HEAD.size : at + 1 + length]
            at += 1 + length
        self._left_over = max(0, at - len(data))

    def _began(self, wire: Wire, text: str) -> None:
        self._statement = text
        wire.statements[text] += 1

    def answered(self, data: bytes) -> None:
        """The server spoke; its word "ready" ends a statement."""
        if self._name is None or not self._is_waiting:
            return
        wire = self._tap.wires[self._name]
        wire.bytes_answered += len(data)
        if data[-6:-1] == b"Z\0\0\0\5":
            self._is_waiting = False
            wire.seconds[self._statement] += perf_counter() - self._asked_at
            # The last byte says whether a transaction is open: what writes outside of one has committed.
            commits = data[-1:] == b"I" and "INSERT" in self._statement
            wire.commits += commits or self._statement.startswith("COMMIT")


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, passed: Callable[[bytes], None]
) -> None:
    while data := await source.read(1 << 20):
        passed(data)
        sink.write(data)
        await sink.drain()
    sink.close()
