"""A RESP server that answers as Dragonfly does, for the tests that also run against Valkey."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import redis
from fakeredis import TcpFakeServer

FLUSH_TIMEOUT_S = 5
POLL_S = 0.05


@contextmanager
def dragonfly_double() -> Iterator[str]:
    """fakeredis in its Dragonfly mode behind a real socket (its URL), until the end of the block."""
    server = TcpFakeServer(("127.0.0.1", 0), server_type="dragonfly")
    thread = Thread(target=server.serve_forever, args=(POLL_S,), name="dragonfly-double", daemon=True)
    thread.start()
    try:
        yield f"redis://127.0.0.1:{server.server_address[1]}/0"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def flush(url: str) -> None:
    """Empties the server, so that no test sees another one's keys."""
    with redis.Redis.from_url(url, protocol=2, socket_timeout=FLUSH_TIMEOUT_S) as connection:
        connection.flushall()
