"""Statistical tests of draws (PR-16, R34): chi-square, runs, serial correlation; each ends in a p-value.

A p-value says how often fair draws give a figure as low as this, or as high: it lies anywhere between 0
and 1, and hardly ever at an end. No money and no decision is computed here, so that floats may be used.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import mul, ne
from typing import Final

# A test fails outside of these: of a million fair ones about two do.
LEAST_P: Final = 1e-6
MOST_P: Final = 1 - LEAST_P

_CELL_BITS: Final = 16
_CELLS: Final = 1 << _CELL_BITS
_NUMBER_BITS: Final = 32
_DRAW_BITS: Final = 256
_MAX_TERMS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One test: what it counted, what fair draws give on average, and the p-value."""

    name: str
    counted: float
    expected: float
    p_value: float

    @property
    def is_fair(self) -> bool:
        return LEAST_P < self.p_value < MOST_P


@dataclass(slots=True)
class DrawTests:
    """Takes 256-bit draws in their order, some at a time; the tests see one sequence."""

    count: int = 0
    _high: Counter[int] = field(default_factory=Counter)
    _low: Counter[int] = field(default_factory=Counter)
    _in_upper_half: int = 0
    _changes: int = 0
    _sum: int = 0
    _sum_of_squares: int = 0
    _sum_of_products: int = 0
    _first: int = 0
    _last: int | None = None

    def add(self, draws: Sequence[int]) -> None:
        """The next draws of the sequence, at least one."""
        numbers = [draw >> (_DRAW_BITS - _NUMBER_BITS) for draw in draws]
        self._high.update([number >> (_NUMBER_BITS - _CELL_BITS) for number in numbers])
        self._low.update([draw % _CELLS for draw in draws])
        if self._last is None:
            self._first = numbers[0]
            chain = numbers
        else:
            chain = [self._last, *numbers]
        halves = [number >> (_NUMBER_BITS - 1) for number in chain]
        self._changes += sum(map(ne, halves, halves[1:]))
        self._in_upper_half += sum(halves) - (0 if self._last is None else halves[0])
        self._sum += sum(numbers)
        self._sum_of_squares += sum(map(mul, numbers, numbers))
        self._sum_of_products += sum(map(mul, chain, chain[1:]))
        self._last = numbers[-1]
        self.count += len(numbers)

    def findings(self) -> list[Finding]:
        """The tests over all that was added: some hundred draws at least."""
        return [
            chi_square("chi-square, highest 16 bits", self._high, _CELLS, self.count),
            chi_square("chi-square, lowest 16 bits", self._low, _CELLS, self.count),
            self._runs(),
            self._serial_correlation(),
        ]

    def _runs(self) -> Finding:
        """Wald and Wolfowitz: how often the draws cross the middle."""
        above, all_of_them = self._in_upper_half, self.count
        below = all_of_them - above
        expected = 2 * above * below / all_of_them + 1
        variance = (expected - 1) * (expected - 2) / (all_of_them - 1)
        runs = self._changes + 1
        return Finding(
            "runs above and below 1/2", runs, expected, normal_p((runs - expected) / math.sqrt(variance))
        )

    def _serial_correlation(self) -> Finding:
        """Knuth, The Art of Computer Programming, 3.3.2 K: of each draw with the next, round to the first."""
        count, last = self.count, self._last
        assert last is not None
        products = self._sum_of_products + last * self._first
        square = self._sum * self._sum
        # Whole numbers to the end: what is left of such sums is small beside them.
        coefficient = (count * products - square) / (count * self._sum_of_squares - square)
        expected = -1 / (count - 1)
        deviation = count / (count - 1) * math.sqrt((count - 3) / (count + 1) / count)
        return Finding(
            "serial correlation", coefficient, expected, normal_p((coefficient - expected) / deviation)
        )


def chi_square(name: str, cells: Counter[int], cell_count: int, count: int) -> Finding:
    """Whether all cells, empty ones included, are equally likely."""
    squares = sum(number * number for number in cells.values())
    statistic = squares * cell_count / count - count
    return Finding(name, statistic, cell_count - 1, chi_square_p(statistic, cell_count - 1))


def share_of_wins(name: str, wins: int, count: int, one_in: int) -> Finding:
    """Whether as many of `count` draws won as the odds say."""
    expected = count / one_in
    deviation = math.sqrt(expected * (1 - 1 / one_in))
    return Finding(name, wins, expected, normal_p((wins - expected) / deviation))


def normal_p(deviations: float) -> float:
    """How often a figure is at least so many standard deviations above what is expected."""
    return math.erfc(deviations / math.sqrt(2)) / 2


def chi_square_p(statistic: float, degrees: int) -> float:
    """How often chi-square is at least `statistic`: the upper incomplete gamma function, regularised."""
    shape, x = degrees / 2, statistic / 2
    if x <= 0:
        return 1.0
    factor = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    return 1 - factor * _series(shape, x) if x < shape + 1 else factor * _fraction(shape, x)


def _series(shape: float, x: float) -> float:
    term = total = 1 / shape
    for number in range(1, _MAX_TERMS):
        term *= x / (shape + number)
        total += term
        if term < total * 1e-16:
            return total
    raise ArithmeticError("the series of the incomplete gamma function does not converge")


def _fraction(shape: float, x: float) -> float:
    """Lentz's continued fraction."""
    tiny = 1e-300
    b = x + 1 - shape
    c, d = 1 / tiny, 1 / b
    result = d
    for number in range(1, _MAX_TERMS):
        a = -number * (number - shape)
        b += 2
        d = 1 / (a * d + b or tiny)
        c = b + a / c or tiny
        result *= d * c
        if abs(d * c - 1) < 1e-15:
            return result
    raise ArithmeticError("the fraction of the incomplete gamma function does not converge")
