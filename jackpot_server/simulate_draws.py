"""Draws by the million, made by the code that decides, and what statistics say of them (PR-16).

Every seed follows from one root key, which is shown: the same key gives the same figures again.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from jackpot_server.domain.draw import Draws, cycle_seed, draw_prefix, draw_suffix, hidden_amount, threshold
from jackpot_server.domain.pool import Odds, PoolConfig, canonical_text, config_digest
from jackpot_server.randomness import DrawTests, Finding, chi_square, share_of_wins

DRAWS_OF_A_CYCLE: Final = 10_000
MIN_DRAWS: Final = 10_000
_POOL_ID: Final = "simulated"
_ODDS: Final = Odds(one_in=1_000, per_wager_minor=100)
# A hidden amount is tested for so many draws.
_DRAWS_PER_AMOUNT: Final = 100
_AMOUNTS: Final = 64
_LOWEST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Simulated:
    """The figures of one simulation."""

    root_key: bytes
    draws: int
    findings: list[Finding]

    @property
    def is_fair(self) -> bool:
        return all(finding.is_fair for finding in self.findings)


def simulate_draws(root_key: bytes, count: int, progress: Callable[[int], None]) -> Simulated:
    """`count` draws, of 10,000 spins of each cycle; the spins' ids count up, the least random ones there are.

    `progress(n)` is told of n further draws.
    """
    digest = _digest()
    tests, wins, limit = DrawTests(), 0, threshold(_ODDS, _ODDS.per_wager_minor)
    for draws in _cycles(root_key, count, digest):
        tests.add(draws)
        wins += sum(draw < limit for draw in draws)
        progress(len(draws))
    findings = tests.findings()
    findings.append(share_of_wins(f"wins at odds of 1 in {_ODDS.one_in:,}", wins, count, _ODDS.one_in))
    findings.append(_hidden_amounts(root_key, count // _DRAWS_PER_AMOUNT, digest))
    return Simulated(root_key, count, findings)


def _cycles(root_key: bytes, count: int, digest: bytes) -> Iterator[list[int]]:
    suffix = draw_suffix("", digest)
    for first in range(0, count, DRAWS_OF_A_CYCLE):
        cycle = first // DRAWS_OF_A_CYCLE + 1
        draw = Draws(cycle_seed(root_key, _POOL_ID, cycle)).draw
        prefix = draw_prefix(_POOL_ID, cycle)
        spins = range(first, min(first + DRAWS_OF_A_CYCLE, count))
        yield [draw(prefix, spin.to_bytes(16, "big"), suffix) for spin in spins]


def _hidden_amounts(root_key: bytes, cycles: int, digest: bytes) -> Finding:
    amounts: Counter[int] = Counter()
    for cycle in range(1, cycles + 1):
        seed = cycle_seed(root_key, _POOL_ID, cycle)
        amounts[hidden_amount(seed, _POOL_ID, cycle, digest, _LOWEST, _LOWEST + _AMOUNTS - 1)] += 1
    return chi_square(f"chi-square, hidden amounts of {cycles:,} cycles", amounts, _AMOUNTS, cycles)


def _digest() -> bytes:
    config = PoolConfig(
        display_name="Simulated",
        tier="SIMULATED",
        currency_code="COIN",
        trigger=_ODDS,
        contribution_ppm=1_000,
        reset_minor=100,
    )
    return config_digest(canonical_text(config))
