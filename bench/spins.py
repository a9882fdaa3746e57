"""B2, B3, B4, B5, B6: SLOTS spins with 64 in flight, against the usual ways and against nothing."""

from collections.abc import Collection
from contextlib import AsyncExitStack

from bench import stage
from bench.contest import Contender, closed_loop, contest, middle, ratios
from bench.report import Figure
from bench.settings import Effort
from devstack.processes import tail
from tests.support.stack import JACKPOT, SERVERS

AFTERSPIN, BEFORE, AFTER, QUEUE, EMPTY = (
    "Afterspin",
    "before (15 statements)",
    "after (8 statements + a call)",
    "PgQueuer (9 statements + a job)",
    "empty handler",
)
OPPONENTS = {"B2": BEFORE, "B3": BEFORE, "B4": AFTER, "B5": QUEUE, "B6": EMPTY}


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figures of these rows, and what the audits found."""
    opponents = {OPPONENTS[name] for name in names}
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers=SERVERS))
        contenders = {
            AFTERSPIN: Contender(
                AFTERSPIN,
                await stack.enter_async_context(closed_loop(ours.spin_address, "slots")),
                (await stack.enter_async_context(stage.watch(ours.spins_dsn))).outbox_empty,
            )
        }
        if EMPTY in opponents:
            server = await stack.enter_async_context(stage.empty_handler(ours.folder))
            loop = await stack.enter_async_context(closed_loop(server.address, "slots", checked=False))
            contenders[EMPTY] = Contender(EMPTY, loop)
        if {BEFORE, AFTER} & opponents:
            theirs = await stack.enter_async_context(stage.product(servers={JACKPOT}))
            before_dsn = await stage.make_before_database(theirs)
        if BEFORE in opponents:
            server = await stack.enter_async_context(stage.baseline("before", theirs, before_dsn))
            loop = await stack.enter_async_context(closed_loop(server.address, "slots"))
            contenders[BEFORE] = Contender(BEFORE, loop)
        if AFTER in opponents:
            after = await stack.enter_async_context(stage.baseline("after", theirs, theirs.spins_dsn))
            loop = await stack.enter_async_context(closed_loop(after.address, "slots"))
            settled = (await stack.enter_async_context(stage.watch(theirs.jackpots_dsn))).contributions
            contenders[AFTER] = Contender(AFTER, loop, settled)
        if QUEUE in opponents:
            queued = await stack.enter_async_context(stage.product(servers={JACKPOT}))
            server = await stack.enter_async_context(stage.background_queue(queued))
            loop = await stack.enter_async_context(closed_loop(server.address, "slots"))
            settled = (await stack.enter_async_context(stage.watch(queued.jackpots_dsn))).contributions
            contenders[QUEUE] = Contender(QUEUE, loop, settled)
        await contest(list(contenders.values()), effort)
        if AFTER in opponents and (losses := tail(after.log)):
            print(f"what the fire-and-forget calls said:\n{losses}", flush=True)
        found = await stage.audit_product(ours, spins=contenders[AFTERSPIN].answered)
        if BEFORE in contenders:
            found += await stage.audit_before(before_dsn, spins=contenders[BEFORE].answered)
        if AFTER in contenders:
            found += await stage.audit_after(theirs.spins_dsn, spins=contenders[AFTER].answered)
        if QUEUE in contenders:
            spins = contenders[QUEUE].answered
            found += await stage.audit_after(queued.spins_dsn, spins=spins)
            found += await stage.audit_contributions(queued.jackpots_dsn, answered=spins)
    return {name: _figure(name, contenders) for name in names}, found


def _figure(name: str, contenders: dict[str, Contender]) -> Figure:
    ours, theirs = contenders[AFTERSPIN], contenders[OPPONENTS[name]]
    mine, other = (ours.p50s_ms, theirs.p50s_ms) if name == "B3" else (ours.rates, theirs.rates)
    more = {
        "p50": f"{middle(ours.p50s_ms, 1):g} ms against {middle(theirs.p50s_ms, 1):g} ms",
        "p99": f"{middle(ours.p99s_ms, 1):g} ms against {middle(theirs.p99s_ms, 1):g} ms",
    }
    return Figure(middle(mine), middle(other), ratios(mine, other), more)
