"""How often the fault tests hit, from which seed, and what they report at the end.

`N=50 SEED=7 python -m pytest tests/faults`: fifty kills of each kind; the seed chooses moments and spins.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

DEFAULT_KILLS = 3
KILLS = int(os.environ.get("N") or DEFAULT_KILLS)
# A kill costs a restart: about three seconds with two cores; the rest is start, quiet and audit.
TIMEOUT_S = 120 + 15 * KILLS

REPORT = "faults"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """More kills, more time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture
def kills() -> int:
    """How many times each part is killed (N)."""
    return KILLS


@pytest.fixture
def rng(record_property: Callable[[str, object], None]) -> random.Random:
    """Chooses moments and spins; its seed (SEED, else a new one) is in the report."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    record_property(REPORT, f"SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Adds a line to the report at the end of the run."""
    return lambda line: record_property(REPORT, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what was done, test by test, passed or failed."""
    lines = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            told = [str(value) for key, value in getattr(report, "user_properties", ()) if key == REPORT]
            if told and getattr(report, "when", "call") == "call":
                lines.append(f"{report.nodeid.rpartition('/')[2]}: {' · '.join(told)}")
    if lines:
        terminalreporter.section("faults")
        terminalreporter.write_line("\n".join(lines))
