"""SLOTS spins at a constant rate from a process of its own, whatever the server does.

Arrivals follow a timetable, and a spin's latency counts from its place in the timetable: a server that
stalls is charged for every spin that had to wait (no coordinated omission).

The process reads one phase per line from stdin, `{"seconds": 8, "rate": 200}`, and answers each with a line
(`Phase` as JSON). Its address, game and currency are arguments.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from time import perf_counter
from uuid import uuid4

import grpc.aio

from protos.spin.v1 import spin_pb2, spin_pb2_grpc

OPERATOR, PROVIDER, WALLETS = "bench", "house", 20
WAGER_MINOR, FUNDS_MINOR = 100, 10**10
CALL_TIMEOUT_S = 30.0


@dataclass
class Phase:
    """What one phase saw; seconds. `lags`: how late the generator itself was."""

    latencies: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    wrong: int = 0


class Player:
    """Sends spins of a handful of wallets in turn."""

    def __init__(self, channel: grpc.aio.Channel, game: str, currency: str, wallets: str) -> None:
        """`wallets` begins the names of its own."""
        self._spins = spin_pb2_grpc.SpinServiceStub(channel)
        self._wallets = spin_pb2_grpc.WalletServiceStub(channel)
        self._game, self._currency, self._prefix = game, currency, wallets

    async def open_wallets(self) -> None:
        """New wallets with more money than any run loses."""
        for number in range(WALLETS):
            wallet = spin_pb2.CreateWalletRequest(
                request_id=str(uuid4()),
                wallet_id=f"{self._prefix}-{number}",
                operator_id=OPERATOR,
                user_id=f"user-{number}",
                currency_code=self._currency,
            )
            await self._wallets.CreateWallet(wallet, timeout=CALL_TIMEOUT_S)
            funds = spin_pb2.Money(currency_code=self._currency, amount_minor=FUNDS_MINOR)
            deposit = spin_pb2.DepositRequest(
                request_id=str(uuid4()), name=f"wallets/{self._prefix}-{number}", amount=funds
            )
            await self._wallets.Deposit(deposit, timeout=CALL_TIMEOUT_S)

    async def run(self, rate: float, seconds: float) -> Phase:
        """One phase; returns when its last spin is answered."""
        phase, errors = Phase(), Counter[str]()
        calls: set[asyncio.Task[None]] = set()
        start = perf_counter() + 0.01
        for number in range(int(rate * seconds)):
            due = start + number / rate
            if (left := due - perf_counter()) > 0:
                await asyncio.sleep(left)
            phase.lags.append(max(0.0, perf_counter() - due))
            call = asyncio.create_task(self._spin(number, due, phase, errors))
            calls.add(call)
            call.add_done_callback(calls.discard)
        await asyncio.gather(*calls)
        phase.errors = dict(errors)
        return phase

    async def _spin(self, number: int, due: float, phase: Phase, errors: Counter[str]) -> None:
        spin_id = str(uuid4())
        request = spin_pb2.SettleSpinRequest(
            spin_id=spin_id,
            operator_id=OPERATOR,
            user_id=f"user-{number % WALLETS}",
            wallet_id=f"{self._prefix}-{number % WALLETS}",
            game_id=self._game,
            provider_name=PROVIDER,
            provider_round_id="round",
            wager=spin_pb2.Money(currency_code=self._currency, amount_minor=WAGER_MINOR),
            payout=spin_pb2.Money(currency_code=self._currency, amount_minor=WAGER_MINOR * (number % 2)),
        )
        try:
            answer = await self._spins.SettleSpin(request, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            errors[error.code().name] += 1
            return
        phase.latencies.append(perf_counter() - due)
        phase.wrong += answer.replayed or answer.spin.spin_id != spin_id


async def serve_phases(address: str, game: str, currency: str, wallets: str) -> None:
    """Reads phases from stdin until it ends."""
    loop = asyncio.get_running_loop()
    async with grpc.aio.insecure_channel(address) as channel:
        player = Player(channel, game, currency, wallets)
        await player.open_wallets()
        print(json.dumps("ready"), flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            phase = await player.run(**json.loads(line))
            print(json.dumps(asdict(phase)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--game", required=True)
    parser.add_argument("--currency", required=True)
    parser.add_argument("--wallets", default="bench")
    arguments = parser.parse_args()
    asyncio.run(serve_phases(arguments.address, arguments.game, arguments.currency, arguments.wallets))
