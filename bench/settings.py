"""How long and how often: SECONDS, REPEATS and QUICK from the environment."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """Seconds of each phase, repetitions of each row; `quick`: only whether it runs and loses nothing."""

    seconds: float
    repeats: int
    quick: bool


def effort() -> Effort:
    """As the environment says: 5 repetitions of 3 s unless it does; QUICK=1: one of half a second."""
    quick = os.environ.get("QUICK", "") not in ("", "0")
    seconds, repeats = (0.5, 1) if quick else (3.0, 5)
    return Effort(
        float(os.environ.get("SECONDS") or seconds), int(os.environ.get("REPEATS") or repeats), quick
    )
