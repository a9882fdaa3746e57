"""What the log says of spins, in the words that operators have known for years.

First the words, pure functions from facts to text; then `SpinSummary`, one line a second at `info`. The lines
of each spin are written by `NarratedSpinService`, those with `[ASYNC]` by the jackpot server.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from protos.spin.v1 import spin_pb2 as pb
from service_kit.seconds import Seconds
from service_kit.telemetry import get_log
from spin_server.settings import JackpotMode

log = get_log("spin")

# The sixth step of seven of the system that these words come from; the steps around it are its clients'.
STARTING: Final = "[6/7] Starting cached transaction"


def transaction_completed(micros: int) -> str:
    """The batch in which a spin was written, its commit included."""
    return f"Cached transaction completed in {_milliseconds(micros)}"


def jackpot_started(game_category: str, mode: JackpotMode) -> str:
    """The contribution is on its way; in `sync` mode the answer has waited for it."""
    how = "synchronously" if mode == "sync" else "asynchronously"
    return f"Jackpot processing started {how} for {game_category} game"


def spin_completed(provider_name: str, micros: int) -> str:
    """The whole call, as long as it was in this server."""
    return f"Cached {provider_name} Spin completed in {_milliseconds(micros)}"


def spin_failed(provider_name: str, why: str) -> str:
    """The call was refused, or its outcome is not known."""
    return f"Cached {provider_name} Spin failed: {why}"


def answer_lines(spin: pb.Spin, timing: pb.Timing, *, replayed: bool, mode: JackpotMode) -> Iterator[str]:
    """All that an answered spin came to, in order, after its start. A repeat starts no jackpot."""
    yield transaction_completed(timing.commit_micros)
    takes_part = spin.jackpot_state != pb.Spin.JACKPOT_STATE_NOT_APPLICABLE
    if takes_part and not replayed:
        category = pb.GameCategory.Name(spin.game_category).removeprefix("GAME_CATEGORY_")
        yield jackpot_started(category, mode)
    yield spin_completed(spin.provider_name, timing.total_micros)


def last_second(spins: int, slots: int) -> str:
    """The sums of about a second."""
    return f"In the last second: {spins} {'spin' if spins == 1 else 'spins'}, {slots} of SLOTS games"


class SpinSummary:
    """One line a second at `info`, of what was settled for the first time."""

    def __init__(self) -> None:
        self._seconds = Seconds(_tell_second)

    def settled(self, spins: int, slots: int) -> None:
        """A batch is durable."""
        self._seconds.add(spins=spins, slots=slots, batches=1)

    def close(self) -> None:
        """Tells what is still untold."""
        self._seconds.close()


def _tell_second(sums: Mapping[str, int]) -> None:
    log.info(last_second(sums["spins"], sums["slots"]), batches=sums["batches"])


def _milliseconds(micros: int) -> str:
    return f"{micros / 1000:.2f} ms"
