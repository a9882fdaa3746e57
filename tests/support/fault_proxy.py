"""A TCP proxy on loopback that can cut, stall and delay what passes through it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

# Read and not yet passed on, per direction of a connection.
MAX_CHUNKS_WAITING = 4096


class FaultProxy:
    """Forwards to one address until told to misbehave; ``port`` is where clients connect."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._lose_reply_to: bytes | None = None
        self._lose_request: bytes | None = None
        # How much later everything passes, each way; what follows is not held up by what is on its way.
        self.delay_s = 0.0
        self.cuts = 0
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Ends every connection; new ones are served."""
        self.cuts += 1
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self, refusing: bool = True) -> None:
        """While refusing, cuts what there is and every new connection."""
        self._refusing = refusing
        if refusing:
            self.cut()

    def redirect(self, host: str, port: int) -> None:
        """Another address from now on; ends the connections to the old one."""
        self._target = (host, port)
        self.cut()

    def stall(self, stalled: bool = True) -> None:
        """While stalled nothing passes, and nothing is closed: a black hole."""
        if stalled:
            self._flowing.clear()
        else:
            self._flowing.set()

    def lose_reply_to(self, request: bytes) -> None:
        """Forwards the next client data that contains ``request``, then cuts before any reply passes."""
        self._lose_reply_to = request

    def lose_request(self, request: bytes) -> None:
        """Cuts instead of forwarding the next client data that contains ``request``."""
        self._lose_request = request

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, there_writer}
        self._writers |= both
        silenced = asyncio.Event()
        for source, sink, watched in ((reader, there_writer, True), (there_reader, writer, False)):
            task = asyncio.create_task(self._pump(source, sink, both, watched, silenced))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        both: set[asyncio.StreamWriter],
        watched: bool,
        silenced: asyncio.Event,
    ) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_CHUNKS_WAITING)
        sending = asyncio.create_task(self._send(waiting, sink, both, watched, silenced))
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while data := await source.read(65536):
                    await waiting.put((loop.time() + self.delay_s, data))
            await waiting.put((loop.time() + self.delay_s, b""))
            await sending
        finally:
            sending.cancel()

    async def _send(
        self,
        waiting: asyncio.Queue[tuple[float, bytes]],
        sink: asyncio.StreamWriter,
        both: set[asyncio.StreamWriter],
        watched: bool,
        silenced: asyncio.Event,
    ) -> None:
        """Passes on what was read, each piece when it is due, until an empty one or a loss on purpose."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while True:
                due, data = await waiting.get()
                if (left := due - loop.time()) > 0:
                    await asyncio.sleep(left)
                await self._flowing.wait()
                if not data:
                    break
                if watched and self._lose_request is not None and self._lose_request in data:
                    self._lose_request = None
                    self.cuts += 1
                    break
                if watched and self._lose_reply_to is not None and self._lose_reply_to in data:
                    self._lose_reply_to = None
                    silenced.set()
                elif not watched and silenced.is_set():
                    self.cuts += 1
                    break  # the server has answered: the request took effect, and nobody hears of it
                sink.write(data)
                await sink.drain()
        for writer in both:
            writer.transport.abort()
        self._writers -= both


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[FaultProxy, str]]:
    """A proxy in front of the server that ``url`` (postgresql://, redis://) names, and the url through it."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    proxy = FaultProxy(parts.hostname, parts.port)
    await proxy.start()
    user = parts.netloc.rpartition("@")[0]
    netloc = f"{user}@127.0.0.1:{proxy.port}" if user else f"127.0.0.1:{proxy.port}"
    try:
        yield proxy, urlunsplit(parts._replace(netloc=netloc))
    finally:
        await proxy.stop()
