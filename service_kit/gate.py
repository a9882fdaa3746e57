"""Whether calls are let in, how many are inside, and the open streams that a drain has to end."""

import asyncio
from collections.abc import Callable

from service_kit.errors import Failure


class Gate:
    """Closed until the server has started, closed again from the first moment of a drain."""

    def __init__(self, because: Callable[[], Failure]) -> None:
        """Starts closed: a call is answered with what `because` makes."""
        self.closed_because: Callable[[], Failure] | None = because
        self.calls_inside = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._streams: set[OpenStream] = set()

    def open(self) -> None:
        """Lets calls in."""
        self.closed_because = None

    def close(self, because: Callable[[], Failure]) -> None:
        """Refuses new calls and ends the open streams; the other calls that are inside go on."""
        self.closed_because = because
        for stream in list(self._streams):
            stream.end()

    async def wait_until_empty(self) -> None:
        """Returns when no call is inside; streams are not waited for."""
        await self._empty.wait()

    def enter(self) -> None:
        """A call came in. Its `leave` must follow."""
        if self.calls_inside == 0:
            self._empty.clear()
        self.calls_inside += 1

    def leave(self) -> None:
        """A call went out."""
        self.calls_inside -= 1
        if self.calls_inside == 0:
            self._empty.set()

    def hold(self, stream: "OpenStream") -> None:
        """Remembers a stream, to end it when the gate closes. Its `let_go` must follow."""
        self._streams.add(stream)

    def let_go(self, stream: "OpenStream") -> None:
        """Forgets a stream."""
        self._streams.discard(stream)

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)


class OpenStream:
    """A call of the current task that sends a stream, and how to end it with a status.

    A task that is cancelled while gRPC writes a message of an async generator never tells the
    caller why (G2). So such a stream ends between two messages: at once if its handler is `thinking`,
    else as soon as the message is written.
    """

    def __init__(self, *, thinking: bool) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self.thinking = thinking
        self.ended = False

    def end(self) -> None:
        """Ends the stream; what it has sent stays sent."""
        if not self.ended:
            self.ended = True
            if self.thinking:
                self._task.cancel()
