"""The report: each row's latest figure in bench/report.json, and the same as a page in bench/REPORT.md."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import plots
from bench.figures import machine, median
from bench.settings import Effort

FOLDER = Path(__file__).parent
REPORT = FOLDER / "report.json"
PAGE = FOLDER / "REPORT.md"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a row measures and what it is to reach: a ratio of at least or at most `bound`."""

    title: str
    unit: str
    compared_with: str
    bound: float
    at_most: bool = False

    @property
    def reach(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"

    def is_reached(self, ratio: float) -> bool:
        """Whether this ratio is good enough."""
        return ratio <= self.bound if self.at_most else ratio >= self.bound


GOALS = {
    "B1": Goal(
        "p99 of a SLOTS spin at 200 arrivals/s (other rates and quantiles: more)", "ms",
        "the same spin on a TABLE game", 1.15, at_most=True,
    ),
    "B2": Goal(
        "SLOTS spins/s, 64 in flight, recorded and settled", "spins/s",
        "15 statements, jackpots inside, one transaction per spin", 6,
    ),
    "B3": Goal("p50 of the same", "ms", "the same", 0.16, at_most=True),
    "B2b": Goal(
        "SLOTS spins/s, 64 in flight, one spin server (4 and 16: more)", "spins/s",
        "group commit of spins with their jackpots inside", 1.15,
    ),
    "B4": Goal(
        "SLOTS spins/s, 64 in flight, recorded and settled", "spins/s",
        "8 statements, then one call per spin, fire and forget", 6.5,
    ),
    "B5": Goal(
        "SLOTS spins/s, 64 in flight, recorded and settled", "spins/s",
        "8 statements and a job of PgQueuer, whose worker calls the jackpot server", 7,
    ),
    "B6": Goal(
        "SLOTS spins/s, 64 in flight, recorded and settled", "spins/s", "an empty handler's calls/s", 0.7
    ),
    "B7": Goal("RecordContribution/s, 64 in flight", "calls/s", "an empty handler's calls/s", 0.8),
    "B8": Goal("BatchRecordContributions, 50 per call", "entries/s", "an empty handler's calls/s", 10),
    "B9": Goal(
        "contributions/s into one hot pool, 256 in flight, no gRPC", "contributions/s",
        "one transaction each", 50,
    ),
    "B10": Goal(
        "p99 from a spin's commit to its contribution's, at half the maximum rate", "ms", "15 ms", 1,
        at_most=True,
    ),
    "B11": Goal(
        "p99 of a SLOTS spin at 200 arrivals/s, jackpot server or cache broken: the worst case", "ms",
        "healthy, just before", 1.1, at_most=True,
    ),
    "B12": Goal(
        "rows/s that leave the outbox after an outage, while spins go on at 200/s", "rows/s",
        "entries/s of BatchRecordContributions, 50 per call", 0.5,
    ),
    "B13": Goal(
        "SLOTS spins/s with big tables and 1,000 pools", "spins/s", "empty tables and 4 pools", 0.9
    ),
    "B14": Goal(
        "ListSpins: page 10,000 of a big table", "ms", "page 1 of a small one", 1.5, at_most=True
    ),
    "B15": Goal(
        "RecordContribution/s with 1,000 watchers of the pools", "calls/s", "without watchers", 0.9
    ),
    "B16": Goal("GetPool/s, 64 in flight", "calls/s", "an empty handler's calls/s", 0.8),
    "B17": Goal(
        "memory of the larger server after a long load", "MiB", "after its first minute", 1.05, at_most=True
    ),
    "B18": Goal(
        "contributions/s into one hot pool from 2 jackpot servers (8 and 32: more)", "contributions/s",
        "from one", 0.8,
    ),
    "B19": Goal(
        "SLOTS spins/s, 64 in flight, databases about 2.5 ms away", "spins/s",
        "15 statements, jackpots inside, one transaction per spin, as far away", 40,
    ),
    "B20": Goal("database round trips of a spin, and of a contribution, alone", "", "4", 1, at_most=True),
    "B21": Goal(
        "p99 from a spin's commit to its win in the wallet, at half the maximum rate", "ms", "50 ms", 1,
        at_most=True,
    ),
    "B22": Goal(
        "processor time of a SLOTS spin, databases included", "ms",
        "15 statements, jackpots inside, one transaction per spin", 0.25, at_most=True,
    ),
    "B23": Goal(
        "p50 of a SLOTS spin with jackpots, where one takes 300 ms with jackpots inside: the worst case",
        "ms", "15 statements, jackpots inside, one transaction per spin", 0.8, at_most=True,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Condition:
    """A further ratio of a row, which must hold too for its goal to be reached."""

    ratio: float
    bound: float
    at_most: bool = True

    @property
    def holds(self) -> bool:
        """Whether the ratio is good enough."""
        return self.ratio <= self.bound if self.at_most else self.ratio >= self.bound

    def __str__(self) -> str:
        return f"ratio {self.ratio:.3g} (to reach {'≤' if self.at_most else '≥'} {self.bound:g})"


@dataclass
class Figure:
    """One row's result. `ratios`: one per repetition; `value` is ours, in the goal's unit."""

    value: float
    against: float
    ratios: Sequence[float]
    # Whatever else a reader should see, by name.
    more: dict[str, Any] = field(default_factory=dict)
    conditions: Sequence[Condition] = ()
    plot: plots.Plot | None = None


def record(figures: dict[str, Figure], effort: Effort) -> None:
    """Shows the figures; unless it was a quick run, they replace those rows of the report."""
    rows = {name: _row(name, figure, effort) for name, figure in figures.items()}
    for name, row in rows.items():
        low, high = row["spread"]
        print(
            f"{name}: {row['value']:g} {row['unit']}, against {row['against']:g}: ratio {row['ratio']:g} "
            f"({low:g} – {high:g}), to reach {row['reach']}: {'reached' if row['reached'] else 'NOT reached'}"
        )
    if effort.quick:
        return
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    report.update(rows)
    report = dict(sorted(report.items(), key=lambda item: (int(item[0].strip("Bb")), item[0])))
    REPORT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    publish()


def publish() -> None:
    """Writes the page and its plots from report.json alone."""
    report = json.loads(REPORT.read_text())
    for name, row in report.items():
        if row.get("plot"):
            plots.draw(name, row["plot"])
    PAGE.write_text(page(report))


def page(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; what the figures mean: [docs/performance.md](../docs/performance.md).",
        "Each row is the median of its repetitions, interleaved with what it is compared with; the load,",
        "servers and databases share one machine. Only ratios are worth comparing between machines.",
        "",
        "| | what | figure | compared with | its figure | ratio (smallest – largest) | to reach | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in report.items():
        low, high = row["spread"]
        lines.append(
            f"| {name} | {row['title']} | {row['value']:g} {row['unit']} | {row['compared_with']} | "
            f"{row['against']:g} | **{row['ratio']:g}** ({low:g} – {high:g}) | {row['reach']} | "
            f"{'reached' if row['reached'] else 'not reached'} |"
        )
    lines += [
        "",
        "| | repeated with | repetitions | commit | date | machine | more |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in report.items():
        where = row["machine"]
        on = f"{where['cpus']} CPUs, {where['architecture']}, Python {where['python']}"
        more = "; ".join(f"{key}: {value}" for key, value in row["more"].items())
        lines.append(
            f"| {name} | `{row['command']}` | {row['repeats']} × {row['seconds']:g} s | {row['commit']} | "
            f"{row['date']} | {on} | {more} |"
        )
    for name, row in report.items():
        if row.get("plot"):
            lines += ["", f"![{name}: {row['plot']['title']}]({plots.FOLDER.name}/{name}.svg)"]
    return "\n".join(lines) + "\n"


def _row(name: str, figure: Figure, effort: Effort) -> dict[str, Any]:
    goal = GOALS[name]
    ratio = median(figure.ratios)
    return {
        "title": goal.title,
        "value": _rounded(figure.value),
        "unit": goal.unit,
        "compared_with": goal.compared_with,
        "against": _rounded(figure.against),
        "ratio": _rounded(ratio),
        "reach": goal.reach,
        "reached": goal.is_reached(ratio) and all(each.holds for each in figure.conditions),
        "spread": [_rounded(min(figure.ratios)), _rounded(max(figure.ratios))],
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"make bench ONLY={name}",
        "repeats": effort.repeats,
        "seconds": effort.seconds,
        "machine": machine(),
        "more": figure.more,
        "plot": asdict(figure.plot) if figure.plot else None,
    }


def _rounded(value: float) -> float:
    """Three significant digits are all that a shared machine can tell; whole numbers above."""
    return round(value) if abs(value) >= 1000 else float(f"{value:.3g}")


def commit() -> str:
    """The commit that was measured; "-dirty" if anything but the results of measuring differs from it."""
    head = _git("rev-parse", "--short=8", "HEAD") or "unknown"
    results = (REPORT, PAGE, FOLDER / "PROFILE.md", plots.FOLDER)
    changes = _git("status", "--porcelain", "--", ":/", *(f":(exclude){path}" for path in results))
    return f"{head}-dirty" if changes else head


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    return done.stdout.strip()
