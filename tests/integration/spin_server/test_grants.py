"""What the server's own role may do: all of its work, and no change of what was written."""

import asyncio
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from protos.spin.v1 import spin_pb2 as pb
from service_kit.database import connect
from tests.integration.jackpot_outbox.jackpot_double import JackpotDouble
from tests.integration.spin_server.serving import serving
from tests.support.waiting import eventually

ROLE = "spin_server_of_a_test"


@pytest.fixture
async def role_dsn(spins_dsn: str) -> str:
    """The database as a login role that is a member of spin_app and of nothing else."""
    owner = await connect(spins_dsn, application_name="test")
    try:
        if not await owner.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", ROLE):
            await owner.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'secret' IN ROLE spin_app")
    finally:
        await owner.close()
    parts = urlsplit(spins_dsn)
    return urlunsplit(parts._replace(netloc=f"{ROLE}:secret@{parts.hostname}:{parts.port}"))


async def test_the_servers_role_can_do_all_its_work(role_dsn: str) -> None:
    double = JackpotDouble()  # type: ignore[abstract]  # gRPC itself refuses the rest
    double.win_amount = lambda _: 5
    await double.start()
    try:
        async with serving(role_dsn, jackpot_address=double.address) as client:
            await client.fund()
            spin = (await client.settle()).spin
            known = await client.spins.WaitForJackpot(pb.WaitForJackpotRequest(name=spin.name))
            assert [win.state for win in known.spin.jackpot_wins] == [pb.JackpotWin.STATE_CREDITED]
            await eventually(lambda: double.acknowledgements)
            replayed = await client.settle(spin_id=spin.spin_id)
            assert replayed.replayed
            await client.spins.VoidSpin(
                pb.VoidSpinRequest(spin_id=spin.spin_id, operator_id="demo", wallet_id="w")
            )
            await client.spins.ListSpins(pb.ListSpinsRequest(operator_id="demo"))
            await client.wallets.ListWalletEntries(pb.ListWalletEntriesRequest(name="wallets/w"))
            assert (await client.spins.GetServerInfo(pb.GetServerInfoRequest())).schema_version == 2
    finally:
        await double.stop()


async def test_the_servers_role_cannot_rewrite_what_was_decided(role_dsn: str) -> None:
    connection = await connect(role_dsn, application_name="test")
    try:
        for table in (
            "spins",
            "wallet_entries",
            "wallet_requests",
            "jackpot_results",
            "spin_voids",
            "jackpot_voids",
        ):
            for statement in (
                f"DELETE FROM {table}",
                f"TRUNCATE {table}",
                f"UPDATE {table} SET spin_id = NULL",
            ):
                with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedColumnError)):
                    await connection.execute(statement)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM wallets")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE mine (x int)")
    finally:
        await asyncio.shield(connection.close())
