"""Holds calls back from a jackpot server that does not answer. Pure: the clock is passed in."""

from collections.abc import Callable

FAILURES_TO_OPEN = 3
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 2.0


class Breaker:
    """Opens after FAILURES_TO_OPEN failures in a row; then one probe after each pause, until one succeeds.

    Pauses grow from FIRST_PAUSE_S to LONGEST_PAUSE_S, each shortened by up to half of `jitter()` (0 to 1),
    so that many clients do not come back at the same moment.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._probe_time: float | None = None
        self._probing = False

    @property
    def is_closed(self) -> bool:
        """Calls go through as they come."""
        return self._probe_time is None

    def admits(self, now: float) -> bool:
        """Whether a call made now would be let through."""
        return self._probe_time is None or (not self._probing and now >= self._probe_time)

    def wait_s(self, now: float) -> float:
        """How long until a probe may go; 0 if a call may go now."""
        return 0.0 if self._probe_time is None else max(0.0, self._probe_time - now)

    def enter(self, now: float) -> bool:
        """Lets a call through or not. While open, the one let through is the probe and must report back."""
        if not self.admits(now):
            return False
        self._probing = self._probe_time is not None
        return True

    def succeeded(self) -> None:
        """The server answered a call."""
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._probe_time = None
        self._probing = False

    def failed(self, now: float) -> bool:
        """A call had no answer. True if that opened the breaker, or kept it open after a probe."""
        self._failures += 1
        if self._probing or (self._probe_time is None and self._failures >= FAILURES_TO_OPEN):
            self._probe_time = now + self._pause_s * (1 - self._jitter() / 2)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._probing = False
            return True
        return False
