"""B11: what a spin's p99 does while the jackpot server or the cache is broken, against healthy just before.

Each repetition of each fault is a pair: a healthy phase, then the fault at the first moment of an equally
long one, with the same constant rate of spins. Reported is the median of the pairs' ratios, with its spread.
A pair during which other programs kept the machine busy is repeated, not counted.

REPEATS=5 SECONDS=8 RATE=200 FAULTS=dead,hung python -m bench B11
"""

import asyncio
import json
import os
import signal
import tempfile
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.bystanders import Bystanders, until_alone
from bench.children import child, line_of, tell
from bench.figures import machine, median, quantile
from devstack import auditor
from tests.support.crash import quiet
from tests.support.stack import JACKPOT, VALKEY, Stack, demo, running_stack

RESULTS = Path(__file__).parent / "results"
REPEATS = int(os.environ.get("REPEATS") or 5)
PHASE_S = float(os.environ.get("SECONDS") or 8)
RATE = float(os.environ.get("RATE") or 200)
# What the design promises.
REACH = 1.1
# More CPUs than this kept busy by others, and a pair is measured again; so many times in all.
MOST_BYSTANDERS = 0.25
ATTEMPTS_PER_PAIR = 4
GAME, CURRENCY = "demo-slots", "COIN"
SLOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Fault:
    """How something is broken and mended again."""

    name: str
    begin: Callable[[], Awaitable[None]]
    end: Callable[[], Awaitable[None]]


@dataclass
class Pairs:
    """Every healthy and faulty phase of one fault, in order; p99 in seconds."""

    healthy: list[float] = field(default_factory=list)
    faulty: list[float] = field(default_factory=list)
    all_healthy: list[float] = field(default_factory=list)
    all_faulty: list[float] = field(default_factory=list)
    errors: int = 0
    disturbed: int = 0

    @property
    def is_wanted(self) -> bool:
        """Whether another pair is to be measured."""
        return (
            len(self.healthy) < REPEATS and len(self.healthy) + self.disturbed < ATTEMPTS_PER_PAIR * REPEATS
        )

    @property
    def ratios(self) -> list[float]:
        return [faulty / healthy for healthy, faulty in zip(self.healthy, self.faulty, strict=True)]


def faults(stack: Stack, refusing_port: int) -> list[Fault]:
    """Everything that may break beside a spin."""
    proxy = stack.proxies[JACKPOT]
    real = stack.jackpot_address.rpartition(":")

    async def kill(part: str) -> None:
        await asyncio.to_thread(stack.kill9, part)

    async def send(part: str, how: signal.Signals) -> None:
        stack.send(part, how)

    async def delay(seconds: float) -> None:
        proxy.delay_s = seconds / 2

    async def redirect(host: str, port: int) -> None:
        proxy.redirect(host, port)

    return [
        Fault("jackpot server dead", lambda: kill(JACKPOT), lambda: stack.start(JACKPOT)),
        Fault(
            "jackpot server hung",
            lambda: send(JACKPOT, signal.SIGSTOP),
            lambda: send(JACKPOT, signal.SIGCONT),
        ),
        Fault("jackpot server 5 s slow", lambda: delay(SLOW_S), lambda: delay(0)),
        Fault(
            "jackpot server answers errors",
            lambda: redirect("127.0.0.1", refusing_port),
            lambda: redirect(real[0], int(real[2])),
        ),
        Fault("cache dead", lambda: kill(VALKEY), lambda: stack.start(VALKEY)),
        Fault("cache hung", lambda: send(VALKEY, signal.SIGSTOP), lambda: send(VALKEY, signal.SIGCONT)),
    ]


async def play(generator: Process) -> dict[str, Any]:
    """One phase of the load."""
    tell(generator, {"rate": RATE, "seconds": PHASE_S})
    phase: dict[str, Any] = await line_of(generator)
    assert not phase["wrong"], f"{phase['wrong']} answers were wrong"
    return phase


async def measure_pair(stack: Stack, generator: Process, fault: Fault, pairs: Pairs) -> None:
    """Healthy, then broken; mended and caught up when it returns."""
    await until_alone(MOST_BYSTANDERS)
    bystanders = Bystanders()
    healthy = await play(generator)
    playing = asyncio.create_task(play(generator))
    await fault.begin()
    faulty = await playing
    others = bystanders.cpus()
    await fault.end()
    await quiet(stack, stack.spins_dsn)
    pairs.errors += sum(faulty["errors"].values()) + sum(healthy["errors"].values())
    if others > MOST_BYSTANDERS:
        pairs.disturbed += 1
        print(f"{fault.name:<30} disturbed: others kept {others:.2f} CPUs busy", flush=True)
        return
    pairs.healthy.append(quantile(healthy["latencies"], 0.99))
    pairs.faulty.append(quantile(faulty["latencies"], 0.99))
    pairs.all_healthy += healthy["latencies"]
    pairs.all_faulty += faulty["latencies"]
    lag = max(quantile(phase["lags"], 0.99) for phase in (healthy, faulty))
    print(
        f"{fault.name:<30} healthy p99 {pairs.healthy[-1] * 1e3:6.2f} ms, "
        f"then {pairs.faulty[-1] * 1e3:6.2f} ms "
        f"(generator's own lag p99 {lag * 1e3:.2f} ms, CPUs of others {others:.2f})",
        flush=True,
    )


async def run() -> bool:
    """The whole benchmark; whether the auditor found nothing at the end."""
    measured: dict[str, Pairs] = {}
    with tempfile.TemporaryDirectory(prefix="afterspin-bench-") as folder:
        async with (
            running_stack(Path(folder), scene=demo(), proxied={JACKPOT}) as stack,
            child("bench.refusing_server") as refusing,
            child("bench.open_loop", stack.spin_address, "--game", GAME, "--currency", CURRENCY) as generator,
        ):
            every = faults(stack, await line_of(refusing))
            named = os.environ.get("FAULTS", "").split(",")
            chosen = [fault for fault in every if any(name in fault.name for name in named)]
            assert await line_of(generator) == "ready"
            await play(generator)  # warm: statements prepared, caches filled
            measured = {fault.name: Pairs() for fault in chosen}
            while wanted := [fault for fault in chosen if measured[fault.name].is_wanted]:
                for fault in wanted:
                    await measure_pair(stack, generator, fault, measured[fault.name])
            found = await auditor.findings(stack.spins_dsn, stack.jackpots_dsn)
            counts = await auditor.counts(stack.spins_dsn, stack.jackpots_dsn)
    report(measured, counts, found)
    return not found and not any(pairs.errors for pairs in measured.values())


def report(measured: dict[str, Pairs], counts: dict[str, int], found: list[str]) -> None:
    """Writes results/outage.json and results/outage.md, and shows the table."""
    rows = [row(name, pairs) for name, pairs in measured.items() if pairs.healthy]
    document = {
        "benchmark": "B11",
        "rate_per_s": RATE,
        "phase_s": PHASE_S,
        "repeats": REPEATS,
        "reach": REACH,
        "machine": machine(),
        "audited": counts,
        "findings": found[:20],
        "faults": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "outage.json").write_text(json.dumps(document, indent=2) + "\n")
    table = markdown(document, rows)
    (RESULTS / "outage.md").write_text(table)
    print(table)


def row(name: str, pairs: Pairs) -> dict[str, Any]:
    """One fault's figures; milliseconds."""
    return {
        "fault": name,
        "healthy_p99_ms": [round(value * 1e3, 3) for value in pairs.healthy],
        "faulty_p99_ms": [round(value * 1e3, 3) for value in pairs.faulty],
        "ratio": round(median(pairs.ratios), 3),
        "ratio_range": [round(min(pairs.ratios), 3), round(max(pairs.ratios), 3)],
        "all_healthy_ms": {q: round(quantile(pairs.all_healthy, float(q)) * 1e3, 3) for q in ("0.5", "0.99")},
        "all_faulty_ms": {q: round(quantile(pairs.all_faulty, float(q)) * 1e3, 3) for q in ("0.5", "0.99")},
        "errors": pairs.errors,
        "pairs": len(pairs.healthy),
        "disturbed_pairs": pairs.disturbed,
    }


def markdown(document: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The table for the report."""
    where = document["machine"]
    disturbed = sum(fault["disturbed_pairs"] for fault in rows)
    lines = [
        "# B11: spins while something else is broken",
        "",
        f"{document['rate_per_s']:g} spins/s at a constant rate, {document['repeats']} pairs of "
        f"{document['phase_s']:g} s each, on {where['cpus']} CPUs ({where['architecture']}, Python "
        f"{where['python']}) with load generator, servers and databases together. "
        f"To reach: a ratio of at most {REACH}. {disturbed} pairs were measured again, because "
        f"other programs kept more than {MOST_BYSTANDERS:g} CPUs busy meanwhile.",
        "",
        "| broken | healthy p99 | broken p99 | ratio (median of the pairs) | smallest – largest | errors |",
        "|---|---|---|---|---|---|",
    ]
    for fault in rows:
        low, high = fault["ratio_range"]
        lines.append(
            f"| {fault['fault']} | {median(fault['healthy_p99_ms']):.2f} ms | "
            f"{median(fault['faulty_p99_ms']):.2f} ms | **{fault['ratio']:.2f}** | {low:.2f} – {high:.2f} | "
            f"{fault['errors']} |"
        )
    audited = document["audited"]
    lines += [
        "",
        f"Audited afterwards: {audited['spins']} spins, {audited['contributions']} contributions, "
        f"{audited['wins']} wins, {audited['credits']} credits; {len(document['findings'])} findings.",
    ]
    return "\n".join(lines) + "\n"
