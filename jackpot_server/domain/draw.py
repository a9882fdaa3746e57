"""Seeds, draws and hidden amounts: HMAC-SHA256 over fixed encodings, integers only (PR-12, PR-13, PR-14).

Whatever is hashed is a sequence of parts, each behind its length (4 bytes, big-endian), so that no two
different sequences give the same bytes. Numbers are 8 bytes, big-endian; texts are UTF-8.
"""

import hashlib
import hmac
from typing import Final

from jackpot_server.domain.pool import Odds

DRAW_BITS: Final = 256
_DRAWS: Final = 1 << DRAW_BITS
# No pool id has an underscore: neither is ever the first part of a draw.
_HIDDEN_AMOUNT: Final = b"must_hit_by"
_HIDDEN_MOMENT: Final = b"must_drop_by"
_SHA256: Final = "sha256"
_SHA256_BLOCK: Final = 64


def part(data: bytes) -> bytes:
    """One part of what is hashed: its length, then itself."""
    return len(data).to_bytes(4, "big") + data


def number(value: int) -> bytes:
    """A number as a part."""
    return part(value.to_bytes(8, "big"))


def cycle_seed(root_key: bytes, pool_id: str, cycle: int) -> bytes:
    """The secret of one cycle of one pool (PR-13)."""
    return hmac.digest(root_key, part(pool_id.encode()) + number(cycle), _SHA256)


def commitment(seed: bytes) -> bytes:
    """What is published of a seed before any spin of its cycle is known."""
    return hashlib.sha256(seed).digest()


def draw_prefix(pool_id: str, cycle: int) -> bytes:
    """The parts of a draw before the spin's 16 bytes, their length included."""
    return part(pool_id.encode()) + number(cycle) + (16).to_bytes(4, "big")


def draw_suffix(client_seed: str, config_sha256: bytes) -> bytes:
    """The parts of a draw after the spin's 16 bytes."""
    return part(client_seed.encode()) + part(config_sha256)


class Draws:
    """The draws of one cycle: HMAC-SHA256 under its seed, with the work done once that no message changes.

    The same spin always draws the same; its wager is no part of it.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, seed: bytes) -> None:
        key = seed.ljust(_SHA256_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))

    def draw(self, prefix: bytes, spin_id: bytes, suffix: bytes) -> int:
        """A spin's draw: 0 ≤ draw < 2²⁵⁶."""
        inner = self._inner.copy()
        inner.update(prefix + spin_id + suffix)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return int.from_bytes(outer.digest(), "big")


def draw_bytes(number_below: int) -> bytes:
    """A draw or a threshold: 32 bytes, big-endian; 33 of a threshold that every draw is below."""
    size = DRAW_BITS // 8
    return number_below.to_bytes(size if number_below < _DRAWS else size + 1, "big")


def threshold(odds: Odds, wager_minor: int) -> int:
    """What a draw must be below: ⌊2²⁵⁶ × wager / (per_wager × one_in)⌋; at most 2²⁵⁶, which always wins."""
    return min((wager_minor << DRAW_BITS) // (odds.per_wager_minor * odds.one_in), _DRAWS)


def hidden_amount(
    seed: bytes, pool_id: str, cycle: int, config_sha256: bytes, low_micros: int, high_micros: int
) -> int:
    """The amount at which the cycle falls: uniform in [low, high], both included."""
    message = part(_HIDDEN_AMOUNT) + part(pool_id.encode()) + number(cycle) + part(config_sha256)
    return _uniform(seed, message, low_micros, high_micros)


def hidden_moment(
    seed: bytes, pool_id: str, cycle: int, config_sha256: bytes, earliest: int, latest: int
) -> int:
    """The moment from which on the cycle falls, in microseconds since 1970: uniform in [earliest, latest]."""
    message = part(_HIDDEN_MOMENT) + part(pool_id.encode()) + number(cycle) + part(config_sha256)
    return _uniform(seed, message, earliest, latest)


def _uniform(seed: bytes, message: bytes, low: int, high: int) -> int:
    """Rejection sampling: a value beyond the largest multiple of the range is thrown away and the next
    counter tried, so that no number is likelier than another.
    """
    size = high - low + 1
    fair = _DRAWS - _DRAWS % size
    counter = 0
    while True:
        value = int.from_bytes(hmac.digest(seed, message + number(counter), _SHA256), "big")
        if value < fair:
            return low + value % size
        counter += 1
