"""A process of ours: its event loop, logs, metrics, signals, and how it ends."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any

import uvloop

from service_kit.errors import StartRefused
from service_kit.settings import ProcessSettings, warn_of_unknown_variables
from service_kit.telemetry import configure_logging, get_log, serve_metrics

_log = get_log("process")

EXIT_START_REFUSED = 1

# Container objects made until the youngest, and collections until the next generation is looked through.
_COLLECT_AFTER = (50_000, 20, 100)

# Whether `run` was called, so that the process may be ended here.
_is_ours: ContextVar[bool] = ContextVar("_is_ours", default=False)


def run(
    main: Callable[[], Coroutine[Any, Any, None]], settings: ProcessSettings, *more: ProcessSettings
) -> None:
    """Runs `main` to its end on uvloop, with the logs and metrics that `settings` asks for.

    Warns of variables that look like settings of `settings` or `more` and are none. A StartRefused is
    logged and ends the process with status 1.
    """
    configure_logging(settings.log_level, settings.log_format)
    warn_of_unknown_variables(type(settings), *(type(others) for others in more))
    try:
        # Its thread ends with the process: the last figures can be read until then.
        serve_metrics(settings.metrics_host, settings.metrics_port)
        _is_ours.set(True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except StartRefused as refused:
        _log.error("start_refused", why=str(refused))
        raise SystemExit(EXIT_START_REFUSED) from None


def rest_collector() -> None:
    """Makes the garbage collector look less often, and never again at what the start has made.

    For a server that begins to serve: a batch's objects live a few milliseconds and hold no cycles, yet the
    collector's defaults look through hundreds of them at a time, again and again (bench/PROFILE.md). Does
    nothing in a process that was not started with `run`.
    """
    if not _is_ours.get():
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def end_process() -> None:
    """Ends the process with status 0 if it was started with `run`; returns otherwise (in a test).

    For who has drained, answered and closed everything: the operating system then closes the
    sockets, and the interpreter takes nothing apart.
    """
    if not _is_ours.get():
        return
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextlib.contextmanager
def stop_signals() -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """Two events: the first SIGTERM or SIGINT sets `stopping`, the second sets `hurry`.

    Without handlers, SIGTERM ends a process under `asyncio.run` without its `finally` blocks (G12).
    """
    loop = asyncio.get_running_loop()
    stopping, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stopping.is_set() else stopping).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        yield stopping, hurry
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def unless(event: asyncio.Event, work: Awaitable[object]) -> bool:
    """Runs `work` to its end and returns True; cancels it and returns False if `event` is set before.

    An exception of `work` passes through.
    """
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        await working
        return True
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
