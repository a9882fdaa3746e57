"""What a person reads while the demo runs."""

import shlex

import pytest

from devstack import words
from protos.spin.v1 import spin_pb2


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (150_000, "0.0015"),
        (0, "0.00"),
        (100_000_000, "1.00"),
        (1, "0.00000001"),
        (123_456_789_000, "1,234.56789"),
    ],
)
def test_shares_are_shown_exactly(micros: int, shown: str) -> None:
    assert words.exact_coins(micros) == shown


def test_a_win_is_shown_with_its_amount_and_whether_it_is_in_the_wallet() -> None:
    spin = spin_pb2.Spin(
        jackpot_state=spin_pb2.Spin.JACKPOT_STATE_RECORDED,
        jackpot_shares=[spin_pb2.JackpotShare(pool="pools/mini", amount_micros=150_000)],
        jackpot_wins=[
            spin_pb2.JackpotWin(
                pool="pools/mini",
                amount=spin_pb2.Money(currency_code="COIN", amount_minor=43),
                state=spin_pb2.JackpotWin.STATE_CREDITED,
            )
        ],
    )
    assert list(words.followed(spin, 0.0123)) == [
        "12.3 ms later: mini +0.0015",
        "*** mini falls: 0.43 COIN, credited 12.3 ms after the spin's answer",
    ]


def test_a_spin_whose_jackpot_is_not_known_yet_is_shown_as_pending() -> None:
    spin = spin_pb2.Spin(jackpot_state=spin_pb2.Spin.JACKPOT_STATE_PENDING)
    assert list(words.followed(spin, 10)) == ["its jackpot is pending after 10.0 s"]


def test_commands_can_be_pasted_into_a_shell_and_reach_a_unix_socket_too() -> None:
    for _, command in words.grpcurl_commands("unix:/tmp/spin.sock", "127.0.0.1:50052"):
        program, *arguments = shlex.split(command)
        assert program.endswith("grpcurl")
        assert ("-unix" in arguments) == ("/tmp/spin.sock" in arguments)
        assert "unix:" not in command
