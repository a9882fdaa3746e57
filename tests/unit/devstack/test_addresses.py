"""Where the parts of `make run` listen, and what it says about ports that are taken."""

import socket
from collections.abc import Iterator

import pytest

from devstack.addresses import Addresses
from devstack.processes import StartError


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_every_taken_port_is_named_at_once_with_the_variable_that_moves_it(busy_port: int) -> None:
    addresses = Addresses.from_environment(
        {"SPIN_LISTEN": f"127.0.0.1:{busy_port}", "DEVSTACK_CACHE_PORT": str(busy_port)}
    )
    taken = addresses.taken({"spin", "cache"})
    assert [line.split(" (")[0] for line in taken] == [str(busy_port)] * 2
    assert "SPIN_LISTEN=127.0.0.1:" in taken[0]
    assert "DEVSTACK_CACHE_PORT=" in taken[1]


def test_a_port_that_is_not_needed_may_be_taken(busy_port: int) -> None:
    addresses = Addresses.from_environment({"DEVSTACK_CACHE_PORT": str(busy_port)})
    assert addresses.taken({"spins_database"}) == Addresses().taken({"spins_database"})


def test_a_unix_socket_and_metrics_that_are_off_need_no_port() -> None:
    addresses = Addresses.from_environment({"SPIN_LISTEN": "unix:/tmp/spin.sock", "SPIN_METRICS_PORT": "0"})
    assert addresses.taken({"spin", "spin_metrics"}) == []


def test_a_port_that_is_not_a_number_is_named() -> None:
    with pytest.raises(StartError, match="SPIN_METRICS_PORT"):
        Addresses.from_environment({"SPIN_METRICS_PORT": "many"})
