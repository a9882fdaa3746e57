"""Both servers as processes, started as `make run` starts them, on ports of their own."""

import os
from collections.abc import Iterator

import pytest

from devstack.addresses import Addresses
from devstack.stack import Stack

# What a developer's shell may hold for their own servers must not steer the tests.
STEERING = ("SPIN_", "JACKPOT_", "OUTBOX_", "DEVSTACK_", "PLAY", "LOG_")


def clean_environment() -> dict[str, str]:
    """The environment without any setting of ours; PG_BIN stays."""
    return {name: value for name, value in os.environ.items() if not name.startswith(STEERING)}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The demo's stack, serving; one per file of tests."""
    stack = Stack(tmp_path_factory.mktemp("stack"), Addresses.free(), clean_environment())
    try:
        stack.start()
        yield stack
    finally:
        problems = stack.stop()
    assert problems == []
