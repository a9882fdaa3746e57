"""What an audit found, where, and how much it has looked at: the same words for every database."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

# Findings that a terminal shows; a file has all of them.
_SHOWN: Final = 50
_WIDTH: Final = 110


@dataclass(frozen=True, slots=True)
class Finding:
    """One deviation: which check, where it is, what is wrong there."""

    check: str
    where: str
    message: str


@dataclass(slots=True)
class Findings:
    """Collects deviations, and counts what was examined by each check."""

    found: list[Finding] = field(default_factory=list)
    examined: Counter[str] = field(default_factory=Counter)

    def add(self, check: str, where: str, message: str) -> None:
        """A deviation."""
        self.found.append(Finding(check, where, message))

    def equal(self, check: str, where: str, what: str, stored: object, derived: object) -> None:
        """Examines one value; a deviation if it is not what follows from everything else."""
        self.examined[check] += 1
        if stored != derived:
            self.add(check, where, f"{what} is {stored}, and should be {derived}")


@dataclass(slots=True)
class Audit:
    """A whole audit: how many of `what` were read, in how long, and what does not hold."""

    what: str
    findings: Findings = field(default_factory=Findings)
    count: int = 0
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        return not self.findings.found

    @property
    def rate(self) -> float:
        """Of `what`, a second."""
        return self.count / self.seconds if self.seconds else 0.0

    def to_json(self) -> str:
        """All of it, for a program."""
        return json.dumps(
            {
                "is_clean": self.is_clean,
                self.what: self.count,
                "seconds": round(self.seconds, 3),
                "examined": dict(self.findings.examined),
                "findings": [asdict(finding) for finding in self.findings.found],
            },
            indent=2,
        )

    def show(self) -> None:
        """A line per check, then what was found."""
        console = Console(width=_WIDTH)
        table = Table(title=f"{self.count:,} {self.what} in {self.seconds:,.1f} s: {self.rate:,.0f}/s")
        table.add_column("check")
        table.add_column("examined", justify="right")
        table.add_column("findings", justify="right")
        found = Counter(finding.check for finding in self.findings.found)
        for check in sorted(self.findings.examined.keys() | found.keys()):
            table.add_row(check, f"{self.findings.examined[check]:,}", f"{found[check]:,}")
        console.print(table)
        for finding in self.findings.found[:_SHOWN]:
            console.print(f"{finding.where}: {finding.message}", markup=False, highlight=False)
        if len(self.findings.found) > _SHOWN:
            console.print(f"… {len(self.findings.found):,} in all: --json has them")


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, where there is a terminal: call it with how many are done, of how many."""
    columns = (
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + what),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=1)
        yield lambda done, total: bar.update(task, completed=done, total=total)
