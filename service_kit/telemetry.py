"""Logs and metrics: structured events in the past tense, and an HTTP endpoint for Prometheus.

    log = get_log("relay")
    log.info("rows_leased", rows=12, oldest_s=3.1)

An event below the level costs one call of an empty function: nothing is formatted. No secret goes
into a field; the password of a DSN that slips into a text is blotted out before it is written.
"""

import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, Literal, TextIO

import prometheus_client
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from service_kit.errors import StartRefused

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]

_LEVELS: dict[LogLevel, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# user:password@ of a URL, or its password=, wherever it stands in a text.
_PASSWORD = re.compile(r"(?<=://)([^\s:/@]*:)[^\s/]+(?=@)|\b(password=)[^\s&'\"]+")


def blot_passwords(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor of structlog: replaces the password of every DSN in the event's texts by ***."""
    for key, value in event.items():
        if isinstance(value, str) and ("://" in value or "password=" in value):
            event[key] = _PASSWORD.sub(r"\1\2***", value)
    return event


_ENRICH: list[Processor] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    # As text, and without the values of local variables: those may be keys.
    structlog.processors.format_exc_info,
    blot_passwords,
]


def get_log(component: str) -> FilteringBoundLogger:
    """The log of one part of a process; may be called at import, before `configure_logging`."""
    log: FilteringBoundLogger = structlog.get_logger(component=component)
    return log


def configure_logging(level: LogLevel, style: LogFormat, stream: TextIO | None = None) -> None:
    """Sets up the logs of the whole process, those of libraries included (from `warning` on).

    Writes to `stream`, by default stderr: stdout belongs to what a command answers.
    """
    target = stream if stream is not None else sys.stderr
    render = _renderer(style, colors=target.isatty())
    structlog.configure(
        processors=[*_ENRICH, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: structlog.WriteLogger(target),
        cache_logger_on_first_use=True,
    )
    _route_libraries(max(_LEVELS[level], logging.WARNING), target, render)


def serve_metrics(host: str, port: int) -> Callable[[], None]:
    """Serves /metrics from a thread of its own; returns what stops it. Port 0 serves nothing.

    StartRefused if the address cannot be had.
    """
    if port == 0:
        return _nothing
    try:
        server, thread = prometheus_client.start_http_server(port, host)
    except OSError as error:
        raise StartRefused(f"The metrics cannot be served on {host}:{port}: {error.strerror}.") from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def _nothing() -> None:
    pass


def _renderer(style: LogFormat, *, colors: bool) -> Processor:
    if style == "json":
        return structlog.processors.JSONRenderer(sort_keys=False, default=str)
    return structlog.dev.ConsoleRenderer(
        colors=colors, pad_event_to=28, exception_formatter=structlog.dev.plain_traceback
    )


def _route_libraries(level: int, target: TextIO, render: Processor) -> None:
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_ENRICH],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


# Until `configure_logging` is called: as little as structlog's own default, but to stderr and
# without the values of local variables.
structlog.configure(
    processors=[*_ENRICH, _renderer("console", colors=False)],
    logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
)
