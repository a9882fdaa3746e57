"""What the log says of jackpots, in the words that operators have known for years: lines with `[ASYNC]`.

First the words, pure functions from facts to text; then `Narration`, which writes them. At `debug` each
contribution is followed from its start to its end; at `info` there are wins, failures, and one line a second.
A "coin" is the whole unit of the in-house currency COIN, as players see it; other currencies go by code.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from jackpot_server.domain.catalog import PoolLabel
from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.decision import (
    Command,
    Decision,
)
from jackpot_server.domain.facts import Contribution, Share, Win
from service_kit.errors import ServiceError
from service_kit.money import MICROS, format_micros
from service_kit.seconds import Seconds
from service_kit.telemetry import get_log

log = get_log("jackpot")

ASYNC: Final = "[ASYNC] "
# Spins that a failure's line names; there may be hundreds.
_NAMED_SPINS: Final = 3


def starting(spin_id: UUID | str) -> str:
    """A contribution is about to be written."""
    return f"{ASYNC}Starting jackpot processing for spin {spin_id}"


def processing(tiers: Sequence[str]) -> str:
    """The pools that take a share, by their tiers."""
    kinds = _count(len(tiers), "eligible jackpot type")
    return f"{ASYNC}Processing {kinds}: {', '.join(tiers)}" if tiers else f"{ASYNC}Processing {kinds}"


def contributing(amount_micros: int, currency_code: str, tier: str) -> str:
    """What goes into a pool; exact."""
    return f"{ASYNC}Contributing {amount(amount_micros, currency_code)} to {tier} jackpot"


def won(tier: str) -> str:
    """A pool has fallen."""
    return f"{ASYNC}JACKPOT WIN! {tier} jackpot triggered!"


def win_processed(amount_minor: int, currency_code: str) -> str:
    """What it pays."""
    return f"{ASYNC}Jackpot win processed: {amount(amount_minor * MICROS, currency_code)}"


def completed(contributions: int, wins: int) -> str:
    """A spin's contributions and wins are durable."""
    return (
        f"{ASYNC}Jackpot processing completed: {_count(contributions, 'contribution')}, {_count(wins, 'win')}"
    )


def failed(spin_ids: Sequence[UUID | str], why: str) -> str:
    """Spins of one batch that failed for one reason."""
    named = ", ".join(map(str, spin_ids[:_NAMED_SPINS]))
    if len(spin_ids) > _NAMED_SPINS:
        named += f" and {len(spin_ids) - _NAMED_SPINS} more"
    spins = "spin" if len(spin_ids) == 1 else "spins"
    return f"{ASYNC}Jackpot processing failed for {spins} {named}: {why}"


def last_second(contributions: int, wins: int, failures: int) -> str:
    """The sums of about a second."""
    text = f"{ASYNC}In the last second: {_count(contributions, 'contribution')}, {_count(wins, 'win')}"
    return f"{text}, {failures} failed" if failures else text


def amount(micros: int, currency_code: str) -> str:
    """`1250 coins`, `0.0015 coins`, `12.5 EUR`: every digit that there is, none that is not needed."""
    digits = format_micros(micros, currency_code).partition(" ")[0].replace(",", "")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    if currency_code != "COIN":
        return f"{digits} {currency_code}"
    return f"{digits} coin" if digits == "1" else f"{digits} coins"


class Line(NamedTuple):
    """A line, and the fields beside it. `is_win`: it is written at `info` too."""

    text: str
    fields: Mapping[str, object]
    is_win: bool = False


def contribution_lines(
    contribution: Contribution, wins: Sequence[Win], labels: Mapping[tuple[int, int], PoolLabel]
) -> Iterator[Line]:
    """All that a recorded contribution came to, in order, after its start. `wins`: of this spin."""
    command = contribution.command
    spin = {"spin_id": str(command.spin_id)}
    all_shares = map(Share._make, contribution.shares)
    shares = [share for share in all_shares if not (share.skip_reason or share.shadow)]
    tiers = [labels[share.pool_key, share.config_version].tier for share in shares]
    yield Line(processing(tiers), spin)
    for share, tier in zip(shares, tiers, strict=True):
        label = labels[share.pool_key, share.config_version]
        line = contributing(share.amount_micros, command.currency_code, tier)
        yield Line(line, spin | {"pool": label.pool_id, "balance_micros": share.balance_micros})
    for win in wins:
        yield from win_lines(win)
    yield Line(completed(len(shares), len(wins)), spin)


def win_lines(win: Win) -> Iterator[Line]:
    """The two lines of a win."""
    fields = {"spin_id": str(win.spin_id), "pool": win.pool_id, "cycle": win.cycle}
    money = {
        "operator_id": win.operator_id,
        "amount_minor": win.amount_minor,
        "currency_code": win.currency_code,
    }
    yield Line(won(win.tier), fields, is_win=True)
    yield Line(win_processed(win.amount_minor, win.currency_code), fields | money, is_win=True)


class Narration:
    """Writes the lines of one committer. What is below the log's level is not even formatted."""

    def __init__(self) -> None:
        self._seconds = Seconds(_tell_second)

    def begun(self, commands: Iterable[Command]) -> None:
        """A batch is about to be written."""
        if not log.is_enabled_for(logging.DEBUG):
            return
        for command in commands:
            if isinstance(command, Contribute):
                log.debug(starting(command.spin_id), spin_id=str(command.spin_id))

    def committed(self, decision: Decision, labels: Mapping[tuple[int, int], PoolLabel]) -> None:
        """A batch is durable. Repeats were told of the first time."""
        if not decision.contributions:
            return
        real_wins = [win for win in decision.wins if not win.shadow]
        self._seconds.add(contributions=len(decision.contributions), wins=len(real_wins), batches=1)
        if log.is_enabled_for(logging.DEBUG):
            wins_of: dict[UUID, list[Win]] = {}
            for win in real_wins:
                wins_of.setdefault(win.spin_id, []).append(win)
            for contribution in decision.contributions:
                wins = wins_of.get(contribution.command.spin_id, [])
                for line in contribution_lines(contribution, wins, labels):
                    (log.info if line.is_win else log.debug)(line.text, **line.fields)
        else:
            for win in real_wins:
                for line in win_lines(win):
                    log.info(line.text, **line.fields)

    def ended(self, commands: Sequence[Command], results: Sequence[object]) -> None:
        """`results[i]` is what became of `commands[i]`; a future is waited for."""
        reasons: dict[str, list[UUID]] = {}
        for command, result in zip(commands, results, strict=True):
            if isinstance(result, Exception):
                if isinstance(command, Contribute):
                    reasons.setdefault(_reason(result), []).append(command.spin_id)
            elif isinstance(result, asyncio.Future):
                result.add_done_callback(partial(self._ended_late, command))
        for reason, spin_ids in reasons.items():
            self._seconds.add(failures=len(spin_ids))
            log.warning(failed(spin_ids, reason), spins=len(spin_ids), reason=reason)

    def close(self) -> None:
        """Tells what is still untold."""
        self._seconds.close()

    def _ended_late(self, command: Command, done: "asyncio.Future[object]") -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            self.ended([command], [error])


def _tell_second(sums: Mapping[str, int]) -> None:
    log.info(last_second(sums["contributions"], sums["wins"], sums["failures"]), batches=sums["batches"])


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, ServiceError) else type(error).__name__


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
