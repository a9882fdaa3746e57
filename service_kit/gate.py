"""Whether calls are let in, which are inside, and how a drain ends those that do not end by themselves."""

import asyncio
from collections.abc import Callable, Collection

from service_kit.errors import Failure


class Gate:
    """Closed until the server has started, closed again from the first moment of a drain.

    A call is inside until gRPC has sent its answer, not only until its handler has returned.
    """

    def __init__(self, because: Callable[[], Failure]) -> None:
        """Starts closed: a call is answered with what `because` makes."""
        self.closed_because: Callable[[], Failure] | None = because
        # Whether `cut` was called: a cancellation is then ours, not the caller's.
        self.is_cut = False
        self._calls: set[asyncio.Task[object]] = set()
        self._streams: dict[asyncio.Task[object], OpenStream] = {}

    def open(self) -> None:
        """Lets calls in."""
        self.closed_because = None

    def close(self, because: Callable[[], Failure]) -> None:
        """Refuses new calls and ends the open streams; the other calls that are inside go on."""
        self.closed_because = because
        for stream in list(self._streams.values()):
            stream.end()

    def cut(self) -> None:
        """Cancels the calls that are inside; their callers learn that the outcome is unknown."""
        self.is_cut = True
        for task in list(self._calls):
            task.cancel()

    def enter(self) -> None:
        """The current task is a call that came in."""
        task = _current_task()
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def enter_stream(self) -> "OpenStream":
        """The current task is a call that came in and sends a stream."""
        task = _current_task()
        stream = self._streams[task] = OpenStream(task)
        task.add_done_callback(self._streams.__delitem__)
        return stream

    @property
    def calls(self) -> Collection["asyncio.Task[object]"]:
        """The calls that are inside, streams not counted."""
        return self._calls

    @property
    def streams(self) -> Collection["asyncio.Task[object]"]:
        """The streams that are open."""
        return self._streams.keys()


class OpenStream:
    """A call that sends a stream, and how to end it with a status.

    A task that is cancelled while gRPC writes a message of an async generator never tells the
    caller why (G2). So such a stream ends between two messages: at once if its handler is `thinking`,
    else as soon as the message is written.
    """

    def __init__(self, task: "asyncio.Task[object]") -> None:
        self._task = task
        self.thinking = True
        self.ended = False

    def end(self) -> None:
        """Ends the stream; what it has sent stays sent."""
        if not self.ended:
            self.ended = True
            if self.thinking:
                self._task.cancel()


def _current_task() -> "asyncio.Task[object]":
    task = asyncio.current_task()
    assert task is not None, "a handler runs in gRPC's task for the call"
    return task
