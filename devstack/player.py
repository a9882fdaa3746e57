"""The demo's player: a client of spin.v1 like any other, with a wallet that never runs dry."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import grpc

from protos.jackpot.v1 import jackpot_pb2, jackpot_pb2_grpc
from protos.spin.v1 import spin_pb2, spin_pb2_grpc

OPERATOR = USER = WALLET = "demo"
CURRENCY = "COIN"
PROVIDER = "house"
SLOTS, TABLE = "demo-slots", "demo-table"
WAGER_MINOR = 100
LOW_MINOR = 10_000
DEPOSIT_MINOR = 100_000
CALL_TIMEOUT_S = 5.0
JACKPOT_TIMEOUT_S = 15.0
# The same in every run, so that the second run's call is a repeat of the first one's.
CREATE_WALLET_ID = str(uuid.uuid5(uuid.NAMESPACE_DNS, "wallets.demo.afterspin"))


@dataclass(frozen=True, slots=True)
class Played:
    """A settled spin, and how long its caller waited for it. `replayed`: it had been settled before."""

    spin: spin_pb2.Spin
    replayed: bool
    answer_s: float
    # perf_counter() at the answer.
    answered_at: float


class Player:
    """Plays as `wallets/demo`. Owns its channels; `close` ends them. Errors are grpc.aio.AioRpcError."""

    def __init__(self, spin_address: str, jackpot_address: str) -> None:
        # Back at work soon after a server was.
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
        self._channels = [
            grpc.aio.insecure_channel(address, options=options) for address in (spin_address, jackpot_address)
        ]
        self._spins = spin_pb2_grpc.SpinServiceStub(self._channels[0])
        self._wallets = spin_pb2_grpc.WalletServiceStub(self._channels[0])
        self._jackpots = jackpot_pb2_grpc.JackpotServiceStub(self._channels[1])

    async def close(self) -> None:
        """Ends the channels and what is still in flight on them."""
        for channel in self._channels:
            await channel.close()

    async def provide_wallet(self) -> int:
        """Creates the wallet unless it exists, and funds it if it is low. Returns its balance."""
        try:
            await self._wallets.CreateWallet(
                spin_pb2.CreateWalletRequest(
                    request_id=CREATE_WALLET_ID,
                    wallet_id=WALLET,
                    operator_id=OPERATOR,
                    user_id=USER,
                    currency_code=CURRENCY,
                ),
                timeout=CALL_TIMEOUT_S,
            )
        except grpc.aio.AioRpcError as error:
            # Somebody else made it, with another request id.
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise
        # Not the balance of the answer: a repeat shows the first one's.
        balance = await self.balance()
        return await self.deposit() if balance < LOW_MINOR else balance

    async def balance(self) -> int:
        """Of the wallet, in minor units."""
        request = spin_pb2.GetWalletRequest(name=f"wallets/{WALLET}")
        answer = await self._wallets.GetWallet(request, timeout=CALL_TIMEOUT_S)
        return answer.wallet.balance.amount_minor

    async def deposit(self) -> int:
        """Adds play money; returns the new balance."""
        answer = await self._wallets.Deposit(
            spin_pb2.DepositRequest(
                request_id=str(uuid.uuid4()),
                name=f"wallets/{WALLET}",
                amount=spin_pb2.Money(currency_code=CURRENCY, amount_minor=DEPOSIT_MINOR),
            ),
            timeout=CALL_TIMEOUT_S,
        )
        return answer.wallet.balance.amount_minor

    async def play(self, game_id: str = SLOTS, spin_id: uuid.UUID | None = None) -> Played:
        """One spin whose outcome the server draws; with an id that was played before, a repeat of it."""
        spin_id = spin_id or uuid.uuid4()
        request = spin_pb2.PlaySpinRequest(
            spin_id=str(spin_id),
            operator_id=OPERATOR,
            user_id=USER,
            wallet_id=WALLET,
            game_id=game_id,
            provider_name=PROVIDER,
            provider_round_id=f"round-{spin_id}",
            wager=spin_pb2.Money(currency_code=CURRENCY, amount_minor=WAGER_MINOR),
            stake_kind=spin_pb2.STAKE_KIND_CASH,
        )
        start = perf_counter()
        answer = await self._spins.PlaySpin(request, timeout=CALL_TIMEOUT_S)
        end = perf_counter()
        return Played(answer.spin, answer.replayed, end - start, end)

    async def jackpot(self, played: Played) -> tuple[spin_pb2.Spin, float]:
        """The spin once its jackpot is known, and how long after the spin's answer that was."""
        request = spin_pb2.WaitForJackpotRequest(name=played.spin.name)
        request.timeout.FromMilliseconds(int(JACKPOT_TIMEOUT_S * 1000))
        answer = await self._spins.WaitForJackpot(request, timeout=JACKPOT_TIMEOUT_S + 1)
        return answer.spin, perf_counter() - played.answered_at

    async def pools(self) -> Sequence[jackpot_pb2.Pool]:
        """The pools that the player takes part in, smallest first."""
        request = jackpot_pb2.ListPoolsRequest(operator_id=OPERATOR, currency_code=CURRENCY)
        answer = await self._jackpots.ListPools(request, timeout=CALL_TIMEOUT_S)
        return sorted(answer.pools, key=lambda pool: pool.config.reset_minor)
