"""Logs are events with fields; what is not written costs nothing, and no password is written."""

import io
import json
import logging
import urllib.request
from collections.abc import Iterator

import pytest
import structlog

from service_kit.errors import StartRefused
from service_kit.telemetry import LogLevel, blot_passwords, configure_logging, get_log, serve_metrics

CANARY = "canary-9c2b"


@pytest.fixture
def log_text() -> Iterator[io.StringIO]:
    """Where the logs go; afterwards everything is set up as before."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    structlog.configure(**before)
    root.handlers, root.level = handlers, level


def lines(text: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.getvalue().splitlines()]


def test_an_event_is_one_line_of_json(log_text: io.StringIO) -> None:
    configure_logging("info", "json", log_text)
    get_log("relay").info("rows_leased", rows=12, oldest_s=3.5)
    (line,) = lines(log_text)
    assert line.pop("timestamp")
    assert line == {
        "event": "rows_leased",
        "level": "info",
        "component": "relay",
        "rows": 12,
        "oldest_s": 3.5,
    }


def test_an_event_is_one_readable_line_on_the_console(log_text: io.StringIO) -> None:
    configure_logging("info", "console", log_text)
    get_log("relay").warning("breaker_opened", channel="jackpot")
    (line,) = log_text.getvalue().splitlines()
    assert "[warning" in line
    assert "breaker_opened" in line
    assert "channel=jackpot" in line


@pytest.mark.parametrize(("level", "written"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_only_what_the_level_asks_for_is_written(
    level: LogLevel, written: int, log_text: io.StringIO
) -> None:
    configure_logging(level, "json", log_text)
    log = get_log("relay")
    log.debug("a_happened")
    log.info("b_happened")
    log.warning("c_happened")
    log.error("d_happened")
    assert len(lines(log_text)) == written


def test_what_is_below_the_level_is_not_even_formatted(log_text: io.StringIO) -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError("formatted")

        __repr__ = __str__

    configure_logging("info", "json", log_text)
    get_log("relay").debug("row_sent", row=Costly())
    assert not lines(log_text)


def test_a_traceback_shows_no_values_and_no_password(log_text: io.StringIO) -> None:
    configure_logging("info", "json", log_text)

    def connect(root_key: str) -> None:
        raise ConnectionError(f"postgresql://spin:{CANARY}@db/spins: refused ({len(root_key)})")

    try:
        connect(CANARY)
    except ConnectionError as error:
        get_log("start").error("start_failed", exc_info=error)
    (line,) = lines(log_text)
    assert "postgresql://spin:***@db/spins: refused (11)" in str(line["exception"])
    assert "in connect" in str(line["exception"])
    assert CANARY not in log_text.getvalue()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("redis://:pw@127.0.0.1:6379/0", "redis://:***@127.0.0.1:6379/0"),
        ("to postgresql://a:p@b@h/d, b", "to postgresql://a:***@h/d, b"),
        ("postgresql://h/d?user=a&password=pw&x=1", "postgresql://h/d?user=a&password=***&x=1"),
        ("http://127.0.0.1:9464/metrics", "http://127.0.0.1:9464/metrics"),
        ("unix:/run/a@b.sock", "unix:/run/a@b.sock"),
    ],
)
def test_only_passwords_are_blotted_out(text: str, written: str) -> None:
    assert blot_passwords(None, "info", {"event": "e", "text": text, "n": 1}) == {
        "event": "e",
        "text": written,
        "n": 1,
    }


def test_the_logs_of_libraries_come_in_the_same_form(log_text: io.StringIO) -> None:
    configure_logging("info", "json", log_text)
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    logging.getLogger("asyncio").info("chatter")
    (line,) = lines(log_text)
    assert (line["event"], line["level"], line["logger"]) == (
        "Task exception was never retrieved",
        "error",
        "asyncio",
    )


def test_metrics_are_served_and_a_taken_port_is_refused(unused_tcp_port: int) -> None:
    stop = serve_metrics("127.0.0.1", unused_tcp_port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{unused_tcp_port}/metrics", timeout=5) as response:
            assert "python_info" in response.read().decode()
        with pytest.raises(StartRefused, match="in use"):
            serve_metrics("127.0.0.1", unused_tcp_port)
    finally:
        stop()


def test_port_0_serves_no_metrics() -> None:
    serve_metrics("127.0.0.1", 0)()
