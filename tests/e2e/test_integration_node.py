"""docs/integration.md, followed by programs in another language: both foreign ways, also under faults."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import NAMESPACE_DNS, UUID, uuid5

import pytest

from devstack.auditor import jackpot_findings, report, share_findings
from tests.support import node_casino
from tests.support.fault_proxy import FaultProxy
from tests.support.node_casino import CREDIT_FAILED, EXAMPLES, GUIDE, HELD, PAID, WALLET, Casino, kill
from tests.support.stack import JACKPOT, OUTBOX, Stack, running_stack
from tests.support.waiting import eventually

BETS = 120
SETTLES_WITHIN_S = 20

WAYS = ["outbox", "jackpot.v1"]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return node_casino.install(tmp_path_factory.mktemp("node"))


@asynccontextmanager
async def adopted(way: str, folder: Path, programs: Path) -> AsyncIterator[tuple[Stack, Casino]]:
    """A jackpot server, and a casino that has adopted it in one of the two ways."""
    async with running_stack(folder, servers=()) as stack:
        if way == "outbox":
            casino = await node_casino.casino_with_the_outbox(stack, programs)
            await stack.start(JACKPOT, OUTBOX)
        else:
            casino = await node_casino.casino_with_jackpot_v1(stack, programs)
            await stack.start(JACKPOT)
        yield stack, casino


async def audit(stack: Stack, casino: Casino) -> None:
    """Every bet has its contribution, every win its credit, to the micro and the minor unit."""
    found = await jackpot_findings(stack.jackpots_dsn, await casino.books()) + await casino.unbalanced()
    if casino.program.name == "outbox_wallet.mjs":
        found += await share_findings(casino.dsn, stack.jackpots_dsn)
    assert report(found) == "clean"


async def all_paid(stack: Stack) -> bool:
    return all(state == PAID for _, state, _ in await node_casino.wins_in(stack.jackpots_dsn))


async def settled(stack: Stack, casino: Casino) -> None:
    await eventually(casino.is_done, within_s=SETTLES_WITHIN_S)
    await eventually(lambda: all_paid(stack), within_s=SETTLES_WITHIN_S)
    await eventually(casino.is_done, within_s=SETTLES_WITHIN_S)


@pytest.mark.parametrize("way", WAYS)
async def test_a_wallet_in_node_contributes_every_bet_and_credits_every_win(
    way: str, tmp_path: Path, programs: Path
) -> None:
    async with adopted(way, tmp_path, programs) as (stack, casino):
        async with casino.serving():
            await casino.bet(1, BETS)
            await settled(stack, casino)
        await audit(stack, casino)
        books = await casino.books()
        assert len(books.contributions) == BETS
        assert len(books.credits) >= 5


async def test_bets_are_taken_back_whatever_became_of_them(tmp_path: Path, programs: Path) -> None:
    async with adopted("outbox", tmp_path, programs) as (stack, casino):
        await casino.bet(1, 20)
        await casino.void(1)
        async with casino.serving():
            await settled(stack, casino)
            for number in (1, 2, 3):
                await casino.void(number)
            await eventually(casino.is_done, within_s=SETTLES_WITHIN_S)
        await audit(stack, casino)
        assert len((await casino.books()).voided) == 3


@pytest.mark.parametrize("way", WAYS)
async def test_bets_that_are_repeated_change_nothing(way: str, tmp_path: Path, programs: Path) -> None:
    async with adopted(way, tmp_path, programs) as (stack, casino), casino.serving():
        await casino.bet(1, 40)
        await settled(stack, casino)
        before = await casino.books()
        await casino.bet(1, 40)
        await settled(stack, casino)
        assert await casino.books() == before
        await audit(stack, casino)


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_lost_or_paid_twice_when_any_part_is_killed_under_load(
    way: str, tmp_path: Path, programs: Path
) -> None:
    async with adopted(way, tmp_path, programs) as (stack, casino):
        running = {
            "bet": await casino.spawn("bet", WALLET, "1", "1000000"),
            "serve": await casino.spawn("serve"),
        }

        async def kill_program(name: str) -> None:
            await kill(running[name])
            # The bets from the first on: those that were settled are recognised.
            running[name] = await casino.spawn(
                *(["bet", WALLET, "1", "1000000"] if name == "bet" else ["serve"])
            )

        async def kill_server(name: str) -> None:
            stack.kill9(name)
            await stack.start(name)

        victims: list[tuple[Callable[[str], Awaitable[None]], str]] = [
            (kill_program, "bet"), (kill_program, "serve"), (kill_server, JACKPOT)
        ]  # fmt: skip
        if way == "outbox":
            victims.append((kill_server, OUTBOX))
        try:
            for kill_one, name in victims * 2:
                await progress(casino, bets=25, credits_=2)
                await kill_one(name)
            await progress(casino, bets=25, credits_=2)
        finally:
            await kill(running["bet"])
        count = await casino.value("SELECT count(*) FROM bets")
        await casino.bet(1, count)
        await settled(stack, casino)
        await kill(running["serve"])
        await audit(stack, casino)


async def progress(casino: Casino, *, bets: int, credits_: int) -> None:
    """Waits for so many more bets, and credits of wins."""
    counts = ["SELECT count(*) FROM bets", "SELECT count(*) FROM entries WHERE reference LIKE 'pools/%'"]
    wanted = [await casino.value(sql) + more for sql, more in zip(counts, (bets, credits_), strict=True)]

    async def reached() -> bool:
        return all([await casino.value(sql) >= n for sql, n in zip(counts, wanted, strict=True)])

    await eventually(reached, within_s=SETTLES_WITHIN_S)


async def test_answers_of_jackpot_v1_that_are_lost_are_asked_for_again(
    tmp_path: Path, programs: Path
) -> None:
    async with running_stack(tmp_path, servers=(JACKPOT,), proxied=[JACKPOT]) as stack:
        proxy = stack.proxies[JACKPOT]
        casino = await node_casino.casino_with_jackpot_v1(stack, programs, f"127.0.0.1:{proxy.port}")
        async with casino.serving():
            for number in range(1, 16):
                cuts = proxy.cuts
                proxy.lose_reply_to(node_casino.spin_id(number).encode())
                await casino.bet(number, 1)
                await eventually(partial(is_cut_more_than, proxy, cuts), within_s=SETTLES_WITHIN_S)
            await settled(stack, casino)
        await audit(stack, casino)
        assert len((await casino.books()).contributions) == 15


def is_cut_more_than(proxy: FaultProxy, cuts: int) -> bool:
    return proxy.cuts > cuts


@pytest.mark.parametrize("way", WAYS)
async def test_bets_go_on_without_a_jackpot_server_and_reach_it_later(
    way: str, tmp_path: Path, programs: Path
) -> None:
    async with adopted(way, tmp_path, programs) as (stack, casino):
        stack.kill9(JACKPOT)
        async with casino.serving():
            await casino.bet(1, BETS)
            assert not await casino.is_done()
            await stack.start(JACKPOT)
            await settled(stack, casino)
        await audit(stack, casino)


@pytest.mark.parametrize("way", WAYS)
async def test_wins_of_a_closed_wallet_are_held_and_never_credited(
    way: str, tmp_path: Path, programs: Path
) -> None:
    async with adopted(way, tmp_path, programs) as (stack, casino):
        await casino.bet(1, 100)
        await casino.execute("UPDATE wallets SET is_closed = true")
        async with casino.serving():

            async def all_held() -> bool:
                wins = await node_casino.wins_in(stack.jackpots_dsn)
                confirmed = await node_casino.holds_confirmed_in(stack.jackpots_dsn)
                held = [win for win, *state in wins if state == [HELD, CREDIT_FAILED]]
                return await casino.is_done() and 0 < len(wins) == len(held) == confirmed

            await eventually(all_held, within_s=SETTLES_WITHIN_S)
        assert (await casino.books()).credits == {}
        assert await casino.unbalanced() == []


async def test_the_program_ends_in_good_order_while_it_waits_for_wins(tmp_path: Path, programs: Path) -> None:
    async with adopted("jackpot.v1", tmp_path, programs) as (_, casino):
        process = await casino.spawn("serve")
        try:
            await casino.bet(1, 1)
            await eventually(casino.is_done, within_s=SETTLES_WITHIN_S)
            process.send_signal(signal.SIGTERM)
            # Less than it would have waited for an event.
            assert await asyncio.wait_for(process.wait(), 3) == 0
        finally:
            await kill(process)


def test_the_sql_of_the_guide_is_what_the_program_runs() -> None:
    program = (EXAMPLES / "outbox_wallet.mjs").read_text()
    blocks = [block for block in node_casino.sql_of_the_guide() if "GRANT" not in block]
    assert len(blocks) == 6
    missing = [block for block in blocks if squeezed(block) not in squeezed(program)]
    assert missing == []


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_spin_ids_of_the_guide_are_derived_alike_by_python_and_node(programs: Path) -> None:
    vectors = re.findall(r"^\| `([^`]+ [^`]+)` \| `([0-9a-f-]{36})` \|$", GUIDE.read_text(), re.MULTILINE)
    named = re.search(
        r"With the namespace `([0-9a-f-]{36})`, which is itself UUIDv5 of `([a-z.]+)`", GUIDE.read_text()
    )
    assert named is not None
    namespace = UUID(named[1])
    assert namespace == uuid5(NAMESPACE_DNS, named[2])
    assert len(vectors) >= 5
    names = [(name.partition(" ")[0], name.partition(" ")[2]) for name, _ in vectors]
    expected = [spin_id for _, spin_id in vectors]
    assert [str(uuid5(namespace, name)) for name, _ in vectors] == expected
    assert node_casino.spin_ids(programs, namespace, names) == expected


def test_every_package_of_the_lock_has_a_hash_and_names_no_place_to_get_it_from() -> None:
    packages = {place: package for place, package in node_casino.lock_file().items() if place}
    assert packages
    assert [
        place for place, package in packages.items() if "integrity" not in package or "resolved" in package
    ] == []
