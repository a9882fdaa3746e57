"""`python -m bench profile`: where the time of a spin and of a contribution goes, into bench/PROFILE.md.

Each kind of load runs twice: once as it is, with processor time taken from the system and stacks sampled;
once with taps in front of the databases, which count statements, round trips and bytes and slow it down.
What was tried with these figures is kept by hand in bench/attempts.md, and becomes the end of the page.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc.aio

from bench import stage, stages
from bench.contest import WARM_UP_S, Contender, closed_loop
from bench.figures import machine, median
from bench.processes import cpu_s
from bench.report import commit
from bench.requests import SpinIds, call_named
from bench.round_trips import JACKPOT_COMMITTER, SPIN_COMMITTER
from bench.settings import Effort, effort
from bench.tap import Tap, Wire
from protos.spin.v1 import spin_pb2
from tests.support.stack import JACKPOT, JACKPOTS_DB, SERVERS, SPIN, SPINS_DB, Stack

PAGE: Final = Path(__file__).with_name("PROFILE.md")
ATTEMPTS: Final = Path(__file__).with_name("attempts.md")
PROBES: Final = 40


@dataclass(frozen=True, slots=True)
class Load:
    """A kind of load: what is called, how many at once, and which servers it needs."""

    title: str
    item: str
    call: str
    in_flight: int
    servers: tuple[str, ...]


LOADS: Final = (
    Load("SLOTS spins, 64 in flight", "spin", "slots", 64, SERVERS),
    Load("TABLE spins, 64 in flight", "spin", "table", 64, SERVERS),
    Load("RecordContribution, 64 in flight", "contribution", "contribution", 64, (JACKPOT,)),
    Load("BatchRecordContributions, 50 per call, 8 in flight", "contribution", "batch", 8, (JACKPOT,)),
)


@dataclass
class Profile:
    """What was measured of one load."""

    load: Load
    per_second: float = 0.0
    p50_ms: float = 0.0
    # Microseconds of processor per item, by part.
    cpu_us: dict[str, float] = field(default_factory=dict)
    # Of a server's Python code, by stage.
    shares: dict[str, dict[str, float]] = field(default_factory=dict)
    # Of spins, in milliseconds, as their answers tell.
    wall_ms: dict[str, float] = field(default_factory=dict)
    wires: dict[str, Wire] = field(default_factory=dict)
    items_tapped: int = 0


async def main() -> int:
    """Measures and writes the page."""
    how = effort()
    profiles = []
    for load in LOADS:
        print(f"--- {load.title}", flush=True)
        profile = Profile(load)
        await _measure(profile, how)
        await _tap(profile, how)
        profiles.append(profile)
    text = page(profiles)
    if how.quick:
        print(text)
    else:
        PAGE.write_text(text)
    return 0


async def _measure(profile: Profile, how: Effort) -> None:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers=profile.load.servers))
        contender, address = await _contender(stack, ours, profile.load)
        await contender.play(WARM_UP_S)
        pids = _pids(ours, profile.load, contender)
        spying = {
            name: asyncio.create_task(stages.sample(pids[f"{name} server"], how.seconds))
            for name in profile.load.servers
        }
        probing = asyncio.create_task(_probe(address, profile.load.call))
        before, answered = {name: cpu_s([pid]) for name, pid in pids.items()}, contender.answered
        await contender.play(how.seconds)
        items = contender.answered - answered
        profile.cpu_us = {name: (cpu_s([pid]) - before[name]) / items * 1e6 for name, pid in pids.items()}
        profile.per_second, profile.p50_ms = contender.rates[-1], contender.p50s_ms[-1]
        profile.wall_ms = await probing
        profile.shares = {name: await task for name, task in spying.items()}


async def _tap(profile: Profile, how: Effort) -> None:
    load = profile.load
    taps = {SPINS_DB: Tap([SPIN_COMMITTER]), JACKPOTS_DB: Tap([JACKPOT_COMMITTER])}
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers=(), proxied=set(taps)))
        for name, tap in taps.items():
            port = await stack.enter_async_context(tap.before("127.0.0.1", ours.clusters[name].port or 0))
            ours.proxies[name].redirect("127.0.0.1", port)
        await ours.start(*load.servers)
        contender, _ = await _contender(stack, ours, load)
        await contender.play(WARM_UP_S)
        for tap in taps.values():
            tap.clear()
        answered = contender.answered
        await contender.play(how.seconds)
        profile.items_tapped = contender.answered - answered
        if SPIN in load.servers:
            profile.wires[SPIN] = taps[SPINS_DB].wires[SPIN_COMMITTER]
        if load.call != "table":
            profile.wires[JACKPOT] = taps[JACKPOTS_DB].wires[JACKPOT_COMMITTER]


async def _contender(stack: AsyncExitStack, ours: Stack, load: Load) -> tuple[Contender, str]:
    address = ours.spin_address if SPIN in load.servers else ours.jackpot_address
    loop = await stack.enter_async_context(closed_loop(address, load.call))
    contender = Contender(load.title, loop, in_flight=load.in_flight)
    if SPIN in load.servers:
        contender.settled = (await stack.enter_async_context(stage.watch(ours.spins_dsn))).outbox_empty
    return contender, address


def _pids(ours: Stack, load: Load, contender: Contender) -> dict[str, int]:
    parts: dict[str, Any] = {f"{name} server": ours.servers[name].process for name in load.servers}
    if SPIN in load.servers:
        parts["spins database"] = ours.clusters[SPINS_DB].process
    parts["jackpots database"] = ours.clusters[JACKPOTS_DB].process
    parts["load generator"] = contender.generator
    return {name: process.pid for name, process in parts.items()}


async def _probe(address: str, name: str) -> dict[str, float]:
    """The medians of what a few spins among the others tell of their way."""
    if name not in ("slots", "table"):
        return {}
    call, ids, told = call_named(name), SpinIds(), []
    async with grpc.aio.insecure_channel(address) as channel:
        send: Any = channel.unary_unary(call.path)
        for mould in call.moulds[:PROBES]:
            told.append(spin_pb2.SettleSpinResponse.FromString(await send(mould.fill([ids.take()]))).timing)
    return {
        "waiting for the batch before": median([each.queue_micros for each in told]) / 1e3,
        "its batch, from lock to commit": median([each.commit_micros for each in told]) / 1e3,
        "everything in the server": median([each.total_micros for each in told]) / 1e3,
    }


def page(profiles: list[Profile]) -> str:
    """The report for people."""
    where = machine()
    lines = [
        "# Profile",
        "",
        f"Written by `python -m bench profile` at commit {commit()}, on {where['cpus']} CPUs, "
        f"Python {where['python']}.",
        "Load generator, servers and databases share the machine. Microseconds are of processor time, user",
        "and system, for each item; shares are of stacks sampled in a server's Python (`bench/stages.py`).",
    ]
    for profile in profiles:
        lines += ["", f"## {profile.load.title}", "", *_cpu_lines(profile)]
        for server, shares in profile.shares.items():
            lines += ["", *_share_lines(server, shares, profile.cpu_us[f"{server} server"])]
        if profile.wall_ms:
            told = ", ".join(f"{name} {value:.1f} ms" for name, value in profile.wall_ms.items())
            lines += ["", f"On the clock, as the answers tell: {told}."]
        for server, wire in profile.wires.items():
            lines += ["", *_wire_lines(server, wire, profile)]
    return "\n".join(lines) + "\n\n" + ATTEMPTS.read_text()


def _cpu_lines(profile: Profile) -> list[str]:
    total = sum(profile.cpu_us.values())
    item = profile.load.item
    return [
        f"{profile.per_second:,.0f} {item}s/s, p50 {profile.p50_ms:.1f} ms. Processor per {item}:",
        "",
        "| part | µs | share |",
        "|---|---|---|",
        *(f"| {name} | {us:.0f} | {us / total:.0%} |" for name, us in profile.cpu_us.items()),
        f"| together | {total:.0f} | |",
    ]


def _share_lines(server: str, shares: Mapping[str, float], cpu_us: float) -> list[str]:
    return [
        f"| stage in the {server} server | share | about µs |",
        "|---|---|---|",
        *(f"| {name} | {share:.1%} | {share * cpu_us:.0f} |" for name, share in shares.items()),
    ]


def _wire_lines(server: str, wire: Wire, profile: Profile) -> list[str]:
    batches, items = max(1, wire.commits), max(1, profile.items_tapped)
    statements = sum(wire.statements.values())
    return [
        f"The {server} server's committer, through a tap: {items / batches:.1f} {profile.load.item}s per "
        f"batch, {statements / batches:.1f} statements and {wire.trips / batches:.1f} round trips per batch, "
        f"{wire.bytes_asked / items:.0f} bytes there and {wire.bytes_answered / items:.0f} back per "
        f"{profile.load.item}.",
        "",
        "| statement | per batch | ms each |",
        "|---|---|---|",
        *(
            f"| {_short(text)} | {count / batches:.2f} | {wire.seconds[text] / count * 1e3:.2f} |"
            for text, count in wire.statements.most_common()
        ),
    ]


def _short(text: str) -> str:
    """What a statement is about: its verb, and the tables that it names."""
    words = text.replace("(", " ").replace(")", " ").split()
    tables = [
        words[index + 1].strip(";,")
        for index, word in enumerate(words[:-1])
        if word.upper() in ("INTO", "UPDATE", "FROM", "JOIN") and words[index + 1].islower()
    ]
    named = [name for name in dict.fromkeys(tables) if not name.startswith(("unnest", "generate"))]
    return f"{words[0].strip(';')} {', '.join(named)}".strip() if words else "?"
