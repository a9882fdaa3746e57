"""A game client of a test stack: one wallet, one spin after the other."""

import uuid

import grpc.aio

from protos.spin.v1 import spin_pb2 as pb
from protos.spin.v1 import spin_pb2_grpc
from tests.support.stack import CURRENCY, OPERATOR, PROVIDER, SLOTS_GAME


class Client:
    """Plays one spin after the other."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._spins = spin_pb2_grpc.SpinServiceStub(channel)
        self._wallets = spin_pb2_grpc.WalletServiceStub(channel)

    async def provide_wallet(self) -> None:
        await self._wallets.CreateWallet(
            pb.CreateWalletRequest(
                request_id=str(uuid.uuid4()),
                wallet_id="w",
                operator_id=OPERATOR,
                user_id="u",
                currency_code=CURRENCY,
            )
        )
        money = pb.Money(currency_code=CURRENCY, amount_minor=10**9)
        await self._wallets.Deposit(
            pb.DepositRequest(request_id=str(uuid.uuid4()), name="wallets/w", amount=money)
        )

    async def play(self, game_id: str, wager_minor: int = 100) -> pb.Spin:
        """A spin, followed until its jackpot is known."""
        answer = await self._spins.PlaySpin(
            pb.PlaySpinRequest(
                spin_id=str(uuid.uuid4()),
                operator_id=OPERATOR,
                user_id="u",
                wallet_id="w",
                game_id=game_id,
                provider_name=PROVIDER,
                provider_round_id="r",
                wager=pb.Money(currency_code=CURRENCY, amount_minor=wager_minor),
            )
        )
        waited = await self._spins.WaitForJackpot(pb.WaitForJackpotRequest(name=answer.spin.name))
        return waited.spin

    async def play_until_a_win(self) -> pb.Spin:
        """The mini falls within 20 spins of 1.00."""
        for _ in range(100):
            spin = await self.play(SLOTS_GAME)
            if spin.jackpot_wins:
                return spin
        raise AssertionError("no jackpot has fallen")
