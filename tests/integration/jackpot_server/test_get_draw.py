"""PR-13, PR-15: what anybody may see of a draw, and when."""

from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID, uuid4

import pytest

from jackpot_server.domain.draw import commitment, cycle_seed
from jackpot_server.draw_reads import DrawReads
from jackpot_server.keys import RootKey, RootKeys
from jackpot_server.reads import ReadConnections
from protos.jackpot.v1 import jackpot_pb2 as pb
from service_kit.money import MICROS
from tests.integration.jackpot_server.serving import (
    ROOT_KEY,
    Client,
    coins,
    error_of,
    pool,
    serving,
    settings,
)

# Falls about every fourth spin of 1.00.
OFTEN = """
[pools.often]
display_name = "Often"
tier = "OFTEN"
currency_code = "COIN"
contribution_ppm = 1000
reset_minor = 50
trigger = { odds = { one_in = 4, per_wager_minor = 100 } }
"""
# Falls within some twenty spins of 1.00.
MYSTERY = """
[pools.mystery]
display_name = "Mystery"
tier = "MYSTERY"
currency_code = "COIN"
contribution_ppm = 10000
reset_minor = 100
trigger = { must_hit_by = { floor_minor = 105, ceiling_minor = 120 } }
"""
FOREIGN = pool("foreign", currency_code='"EUR"') + pool("rich", min_wager_minor=10_000)


@pytest.fixture
async def client(jackpots_dsn: str) -> AsyncIterator[Client]:
    async with serving(jackpots_dsn, pools=OFTEN + MYSTERY + FOREIGN) as client:
        yield client


async def draw_of(client: Client, pool_id: str, spin_id: str) -> pb.Draw:
    name = f"pools/{pool_id}/draws/{spin_id}"
    answer: pb.Draw = (await client.jackpots.GetDraw(pb.GetDrawRequest(name=name))).draw
    assert (answer.name, answer.pool, answer.spin_id) == (name, f"pools/{pool_id}", spin_id)
    return answer


async def until_won(client: Client, pool_id: str) -> tuple[list[str], pb.Win]:
    """Spins of one cycle, the last of which won it."""
    spins: list[str] = []
    while True:
        recorded = await client.record(client_seed="my lucky seed")
        spins.append(recorded.contribution.spin_id)
        for win in recorded.contribution.wins:
            if win.pool == f"pools/{pool_id}":
                return spins, win


async def test_pr_15_the_seed_is_published_when_the_cycle_has_closed_and_not_before(client: Client) -> None:
    spins, win = await until_won(client, "often")
    while len(spins) == 1:  # a cycle with a draw that lost, to look at
        spins, win = await until_won(client, "often")
    closed = [await draw_of(client, "often", spin_id) for spin_id in spins]
    seed = cycle_seed(bytes.fromhex(ROOT_KEY), "often", win.cycle)
    for draw in closed:
        assert draw.cycle == win.cycle
        assert draw.seed == seed
        assert draw.seed_commitment == commitment(seed)
        assert len(draw.value) == len(draw.threshold) == 32
        assert draw.won == (draw.value < draw.threshold) == (draw.spin_id == win.spin_id)
        assert draw.commit_time.ToNanoseconds() < draw.draw_time.ToNanoseconds()
        assert (draw.key_id, draw.wager_minor, draw.client_seed) == ("root-1", 100, "my lucky seed")
    while (recorded := await client.record()).contribution.wins:
        pass
    running = await draw_of(client, "often", recorded.contribution.spin_id)
    assert running.seed == b""
    assert not running.won
    assert running.value >= running.threshold
    assert running.seed_commitment == (await client.pool("often")).seed_commitment


async def test_pr_15_a_hidden_amount_is_published_when_the_cycle_has_closed_and_not_before(
    client: Client,
) -> None:
    opened = await client.pool("mystery")
    first = (await client.record()).contribution.spin_id
    running = await draw_of(client, "mystery", first)
    assert (running.seed, running.hidden, running.value, running.threshold) == (b"", 0, b"", b"")
    assert running.reached == opened.balance_micros + 100 * 10_000
    assert running.cycle_start_micros == opened.balance_micros
    spins, win = await until_won(client, "mystery")
    closed = [await draw_of(client, "mystery", spin_id) for spin_id in [first, *spins]]
    assert {draw.cycle_start_micros for draw in closed} == {100 * MICROS}
    [hidden] = {draw.hidden for draw in closed}
    assert 105 * MICROS <= hidden <= 120 * MICROS
    for draw in closed:
        assert draw.seed == cycle_seed(bytes.fromhex(ROOT_KEY), "mystery", 1)
        assert draw.won == (draw.reached >= hidden) == (draw.spin_id == win.spin_id)


async def test_pr_15_a_hidden_amount_of_a_later_cycle_is_drawn_from_where_it_opened(client: Client) -> None:
    await until_won(client, "mystery")
    opened = await client.pool("mystery")
    assert opened.cycle == 2
    _, win = await until_won(client, "mystery")
    draw = await draw_of(client, "mystery", win.spin_id)
    assert (draw.cycle, draw.hidden >= 105 * MICROS) == (2, True)
    assert draw.cycle_start_micros == opened.balance_micros
    assert draw.hidden <= draw.reached
    assert draw.won


async def test_a_threshold_that_always_wins_has_33_bytes(client: Client) -> None:
    recorded = await client.record(wager=coins(400))
    draw = await draw_of(client, "often", recorded.contribution.spin_id)
    assert draw.threshold == b"\x01" + bytes(32)
    assert (len(draw.value), draw.won) == (32, True)


async def test_where_a_spin_made_no_draw_there_is_none(client: Client) -> None:
    spin_id = (await client.record()).contribution.spin_id
    for name in (
        f"pools/often/draws/{uuid4()}",  # no such spin
        f"pools/nowhere/draws/{spin_id}",
        f"pools/foreign/draws/{spin_id}",  # another currency: the share is listed, but nothing was drawn
        f"pools/rich/draws/{spin_id}",  # below its minimum
    ):
        error = await error_of(client.jackpots.GetDraw(pb.GetDrawRequest(name=name)))
        assert (error.code, error.reason) == ("NOT_FOUND", "DRAW_NOT_FOUND"), name


async def test_a_draws_name_is_checked(client: Client) -> None:
    for name in ("", "pools/often/draws/x", "pools/often/wins/" + str(uuid4()), "draws/" + str(uuid4())):
        error = await error_of(client.jackpots.GetDraw(pb.GetDrawRequest(name=name)))
        assert (error.code, error.reason, error.fields) == ("INVALID_ARGUMENT", "INVALID_FIELDS", ["name"])


async def test_pr_13_without_the_root_key_of_its_commitment_no_seed_is_published(client: Client) -> None:
    _, win = await until_won(client, "often")
    connections = ReadConnections(partial(settings(client.dsn).create_pool, "test"))
    await connections.open()
    try:
        for secret, is_published in ((bytes.fromhex(ROOT_KEY), True), (bytes(32), False)):
            reads = DrawReads(connections, RootKeys(RootKey("root-1", secret)))
            draw = await reads.draw("often", UUID(win.spin_id))
            assert draw is not None
            assert (len(draw.seed) == 32) == (draw.proof.value is not None) == is_published
            assert draw.proof.threshold == 2**256 // 4
    finally:
        await connections.close()
