"""Golden: the lines that operators know, to the letter."""

import pytest

from protos.spin.v1 import spin_pb2 as pb
from spin_server import narration
from spin_server.settings import JackpotMode

TIMING = pb.Timing(queue_micros=400, commit_micros=12_340, total_micros=13_450)
SLOTS = pb.Spin(
    provider_name="RTG",
    game_category=pb.GAME_CATEGORY_SLOTS,
    jackpot_state=pb.Spin.JACKPOT_STATE_PENDING,
)
TABLE = pb.Spin(
    provider_name="RTG",
    game_category=pb.GAME_CATEGORY_TABLE,
    jackpot_state=pb.Spin.JACKPOT_STATE_NOT_APPLICABLE,
)


def lines(spin: pb.Spin, *, replayed: bool = False, mode: JackpotMode = "async") -> list[str]:
    return list(narration.answer_lines(spin, TIMING, replayed=replayed, mode=mode))


def test_the_start() -> None:
    assert narration.STARTING == "[6/7] Starting cached transaction"


def test_a_slots_spin() -> None:
    assert lines(SLOTS) == [
        "Cached transaction completed in 12.34 ms",
        "Jackpot processing started asynchronously for SLOTS game",
        "Cached RTG Spin completed in 13.45 ms",
    ]


def test_a_slots_spin_in_sync_mode() -> None:
    assert lines(SLOTS, mode="sync")[1] == "Jackpot processing started synchronously for SLOTS game"


@pytest.mark.parametrize(("spin", "replayed"), [(TABLE, False), (SLOTS, True)], ids=["table", "repeat"])
def test_what_starts_no_jackpot_does_not_say_so(spin: pb.Spin, replayed: bool) -> None:
    assert lines(spin, replayed=replayed) == [
        "Cached transaction completed in 12.34 ms",
        "Cached RTG Spin completed in 13.45 ms",
    ]


def test_a_failure() -> None:
    assert narration.spin_failed("RTG", "INSUFFICIENT_FUNDS") == "Cached RTG Spin failed: INSUFFICIENT_FUNDS"


def test_the_second() -> None:
    assert narration.last_second(20, 18) == "In the last second: 20 spins, 18 of SLOTS games"
    assert narration.last_second(1, 0) == "In the last second: 1 spin, 0 of SLOTS games"
