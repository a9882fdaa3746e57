"""Who can reach an address."""

import pytest

from service_kit.address import check_address, is_local, with_port

LOCAL = [
    "127.0.0.1:50051",
    "127.1.2.3:0",
    "localhost:1",
    "[::1]:50051",
    "unix:/run/spin.sock",
    "unix-abstract:spin",
]
PUBLIC = [
    "0.0.0.0:50051",
    "[::]:50051",
    "10.0.0.1:1",
    "[fd00::1]:1",
    "spins.internal:50051",
    "localhost.evil:1",
]
WRONG = [
    "",
    "50051",
    ":50051",
    "127.0.0.1",
    "127.0.0.1:65536",
    "a b:1",
    "unix:",
    "http://127.0.0.1:1",
    "[::1]",
    "x:1\n",
]


@pytest.mark.parametrize("address", LOCAL)
def test_only_this_machine_reaches_it(address: str) -> None:
    assert check_address(address) == address
    assert is_local(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_other_machines_may_reach_it(address: str) -> None:
    assert check_address(address) == address
    assert not is_local(address)


@pytest.mark.parametrize("address", WRONG)
def test_it_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        check_address(address)


def test_the_port_that_was_taken_takes_the_place_of_0() -> None:
    assert with_port("127.0.0.1:0", 4711) == "127.0.0.1:4711"
    assert with_port("[::1]:0", 4711) == "[::1]:4711"
    assert with_port("unix:/run/spin.sock", 1) == "unix:/run/spin.sock"
