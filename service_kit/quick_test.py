"""The account of a quick test: what was tried, what came of it, and what to look at where it failed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median, quantiles
from typing import Any

import grpc
from rich.console import Console
from rich.text import Text

MS = 1000.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. `look_at`: where to look if it failed, one sentence; '' if it did not."""

    text: str
    look_at: str = ""

    @property
    def is_ok(self) -> bool:
        return not self.look_at


@dataclass(slots=True)
class Account:
    """Everything that a quick test found, in order; it passed if nothing failed."""

    findings: list[Finding] = field(default_factory=list)
    # The jackpot's own figures by their names, under a title.
    title: str = ""
    block: Mapping[str, str] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def has_passed(self) -> bool:
        return all(finding.is_ok for finding in self.findings)

    def passed(self, text: str) -> None:
        """Notes what works."""
        self.findings.append(Finding(text))

    def failed(self, text: str, look_at: str) -> None:
        """Notes what does not, and where to look."""
        self.findings.append(Finding(text, look_at))

    def show(self, console: Console) -> None:
        """The account in plain words."""
        for finding in self.findings:
            mark = ("✔ ", "green") if finding.is_ok else ("✘ ", "bold red")
            console.print(Text.assemble(mark, finding.text), soft_wrap=True)
            if not finding.is_ok:
                console.print(Text(f"  Look at: {finding.look_at}", style="yellow"), soft_wrap=True)
        if self.block:
            console.print(Text(f"\n{self.title}", style="bold"), soft_wrap=True)
        for name, value in self.block.items():
            console.print(Text(f"  {name + ':':<23} {value}"), soft_wrap=True)

    def to_json(self) -> str:
        """The same for a program."""
        return json.dumps(
            {
                "passed": self.has_passed,
                "findings": [
                    {"ok": finding.is_ok, "text": finding.text, "look_at": finding.look_at}
                    for finding in self.findings
                ],
                "title": self.title,
                "block": dict(self.block),
                "figures": self.figures,
            },
            indent=2,
            ensure_ascii=False,
        )


def percentile(seconds: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    return sorted(seconds)[ceil(len(seconds) * share) - 1]


def judge_times(account: Account, what: str, seconds: Sequence[float], target_ms: float) -> None:
    """Notes p50 and p99 of `what` against the target; the p99 has to meet it."""
    p50_ms, p99_ms = (percentile(seconds, share) * MS for share in (0.5, 0.99))
    account.figures[what] = {"count": len(seconds), "p50_ms": p50_ms, "p99_ms": p99_ms}
    text = f"{what}: p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms (target {target_ms:g} ms)"
    if p99_ms <= target_ms:
        account.passed(f"execution time of {text}")
    else:
        account.failed(
            f"execution time of {text}",
            "the machine's load, the database's disk and the way there; or set another --target-ms",
        )


def impact(with_jackpot_s: Sequence[float], without_s: Sequence[float]) -> str:
    """What the jackpot costs a caller: the median of the pairs' differences, and where half of them lie."""
    differences = [(one - other) * MS for one, other in zip(with_jackpot_s, without_s, strict=True)]
    low, _, high = quantiles(differences, n=4)
    share = median(differences) / (median(without_s) * MS)
    return (
        f"{median(differences):+.2f} ms ({share:+.0%}), the median of {len(differences)} pairs; "
        f"half of them from {low:+.2f} to {high:+.2f} ms"
    )


def why(error: grpc.aio.AioRpcError) -> str:
    """A failed call in a few words."""
    return f"{error.code().name}: {error.details()}"
