"""A client that never gives up: it repeats every request, with its id, until it is answered.

It remembers each answer, asks again for old ones now and then, and notes everything that a client must not
see: another answer than the first, a status that does not ask to repeat.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import UUID

import asyncpg
import grpc.aio
from google.protobuf.message import Message
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from protos.jackpot.v1 import jackpot_pb2, jackpot_pb2_grpc
from protos.spin.v1 import spin_pb2, spin_pb2_grpc
from tests.support.stack import CURRENCY, OPERATOR, PROVIDER, SLOTS_GAME, TABLE_GAME

CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 300),
    ("grpc.use_local_subchannel_pool", 1),
]
REPEATED = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
)
CALL_TIMEOUT_S = 2.0
REPEAT_PAUSE_S = 0.05
# How long a request may stay unanswered before it counts as lost.
GIVE_UP_AFTER_S = 60.0
FUNDS_MINOR = 10**11


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """ErrorInfo.reason; '' for what gRPC itself made (no connection, deadline)."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return ""


class Plan(Protocol):
    """What a load does: makes requests and sends them."""

    def next_request(self, rng: random.Random) -> Any: ...

    async def send(self, request: Any) -> Any:
        """One attempt, within CALL_TIMEOUT_S; raises AioRpcError."""

    def decided(self, answer: Any) -> Message:
        """Of an answer what must be the same in every repeat."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A request's first answer. Times (`perf_counter`): first attempt's, answered attempt's, the answer's."""

    request: Any
    decided: Message
    replayed: bool
    first_start: float
    start: float
    end: float


@dataclass
class Load:
    """`in_flight` requests at a time, until stopped; about `pause_s` from an answer to the next request."""

    plan: Plan
    in_flight: int = 8
    seed: int = 0
    pause_s: float = 0.0
    # Of all requests, how many ask for an old answer again.
    replay_share: float = 0.05
    answers: dict[UUID, Answered] = field(default_factory=dict)
    # (status, reason) of every attempt that was not answered OK.
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    # What no client may see.
    wrong: list[str] = field(default_factory=list)
    replays: int = 0
    # The ones whose fate a kill may have decided.
    _newest: deque[UUID] = field(default_factory=lambda: deque(maxlen=500))
    _stopping: bool = False
    _workers: list["asyncio.Task[None]"] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops; after an error at once, and notes what the clients saw."""
        if error is None:
            await self.stop()
            return
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        error.add_note(f"clients: refused {dict(self.refusals)}, wrong {self.wrong[:5]}")

    def start(self) -> None:
        """Begins; `stop` ends it."""
        self._stopping = False
        self._workers = [
            asyncio.create_task(self._work(random.Random(f"{self.seed}:{i}"))) for i in range(self.in_flight)
        ]

    async def stop(self) -> None:
        """No new requests; returns when every open one is answered."""
        self._stopping = True
        await asyncio.gather(*self._workers)
        self._workers.clear()

    def recent(self, rng: random.Random) -> Any | None:
        """The request of one of the newest answers; None before the first."""
        return self.answers[rng.choice(self._newest)].request if self._newest else None

    async def progress(self, count: int, within_s: float = GIVE_UP_AFTER_S) -> None:
        """Returns when `count` more requests are answered."""
        goal, deadline = len(self.answers) + count, monotonic() + within_s
        while len(self.answers) < goal:
            if any(worker.done() for worker in self._workers):
                await asyncio.gather(*self._workers)
            assert monotonic() < deadline, f"no {count} answers within {within_s:g} s; {self.refusals}"
            await asyncio.sleep(0.01)

    async def _work(self, rng: random.Random) -> None:
        while not self._stopping:
            if self.answers and rng.random() < self.replay_share:
                await self._ask_again(rng)
            else:
                await self._ask(self.plan.next_request(rng))
            if self.pause_s:
                await asyncio.sleep(rng.uniform(0, 2 * self.pause_s))

    async def _ask(self, request: Any) -> None:
        first_start = perf_counter()
        start, answer = await self._until_answered(request)
        if answer is not None:
            spin_id = UUID(request.spin_id)
            answered = Answered(
                request, self.plan.decided(answer), answer.replayed, first_start, start, perf_counter()
            )
            self.answers[spin_id] = answered
            self._newest.append(spin_id)

    async def _ask_again(self, rng: random.Random) -> None:
        spin_id = rng.choice(self._newest)
        known = self.answers[spin_id]
        _, answer = await self._until_answered(known.request)
        if answer is None:
            return
        self.replays += 1
        again = self.plan.decided(answer)
        if not answer.replayed or again != known.decided:
            self.wrong.append(f"{spin_id}: first {known.decided}, again {again}, replayed {answer.replayed}")

    async def _until_answered(self, request: Any) -> tuple[float, Any | None]:
        """When the answered attempt began, and the answer; None where it will never come."""
        deadline = monotonic() + GIVE_UP_AFTER_S
        while True:
            start = perf_counter()
            try:
                return start, await self.plan.send(request)
            except grpc.aio.AioRpcError as error:
                self.refusals[error.code().name, reason_of(error)] += 1
                if error.code() not in REPEATED:
                    self.wrong.append(f"{request.spin_id}: {error.code().name} {error.details()}")
                    return start, None
                if monotonic() > deadline:
                    self.wrong.append(f"{request.spin_id}: not answered within {GIVE_UP_AFTER_S:g} s")
                    return start, None
            await asyncio.sleep(REPEAT_PAUSE_S)


@dataclass(frozen=True, slots=True)
class Wallet:
    wallet_id: str
    operator_id: str
    user_id: str


class SpinPlan:
    """SLOTS spins and some TABLE ones, settled or played, over some wallets."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        wallets: Sequence[Wallet],
        *,
        table_share: float = 0.15,
        played_share: float = 0.25,
    ) -> None:
        self._spins = spin_pb2_grpc.SpinServiceStub(channel)
        self._wallets = wallets
        self._table_share, self._played_share = table_share, played_share

    def next_request(self, rng: random.Random) -> spin_pb2.SettleSpinRequest | spin_pb2.PlaySpinRequest:
        wallet = rng.choice(self._wallets)
        wager = rng.choice((1, 20, 100, 100, 100))
        fields: dict[str, Any] = {
            "spin_id": str(UUID(int=rng.getrandbits(128), version=4)),
            "operator_id": wallet.operator_id,
            "user_id": wallet.user_id,
            "wallet_id": wallet.wallet_id,
            "game_id": TABLE_GAME if rng.random() < self._table_share else SLOTS_GAME,
            "provider_name": PROVIDER,
            "provider_round_id": f"round-{rng.randrange(10**6)}",
            "wager": spin_pb2.Money(currency_code=CURRENCY, amount_minor=wager),
            "country_code": rng.choice(("", "MT", "SE")),
            "client_seed": rng.choice(("", "lucky-seven")),
        }
        if rng.random() < self._played_share:
            return spin_pb2.PlaySpinRequest(**fields)
        payout = spin_pb2.Money(currency_code=CURRENCY, amount_minor=rng.choice((0, 0, wager, 3 * wager)))
        return spin_pb2.SettleSpinRequest(**fields, payout=payout)

    async def send(
        self, request: spin_pb2.SettleSpinRequest | spin_pb2.PlaySpinRequest
    ) -> spin_pb2.SettleSpinResponse | spin_pb2.PlaySpinResponse:
        answer: spin_pb2.SettleSpinResponse | spin_pb2.PlaySpinResponse
        if isinstance(request, spin_pb2.SettleSpinRequest):
            answer = await self._spins.SettleSpin(request, timeout=CALL_TIMEOUT_S)
        else:
            answer = await self._spins.PlaySpin(request, timeout=CALL_TIMEOUT_S)
        return answer

    def decided(self, answer: spin_pb2.SettleSpinResponse | spin_pb2.PlaySpinResponse) -> spin_pb2.Spin:
        """The spin without what moves on after it."""
        spin = spin_pb2.Spin()
        spin.CopyFrom(answer.spin)
        for moving in ("state", "jackpot_state", "jackpot_shares", "jackpot_wins"):
            spin.ClearField(moving)
        return spin


class VoidPlan:
    """Takes spins of another load back, and some that never come."""

    def __init__(
        self, channel: grpc.aio.Channel, spins: Load, wallets: Sequence[Wallet], *, ahead_share: float = 0.05
    ) -> None:
        self._stub = spin_pb2_grpc.SpinServiceStub(channel)
        self._spins = spins
        self._wallets = wallets
        self._ahead_share = ahead_share

    def next_request(self, rng: random.Random) -> spin_pb2.VoidSpinRequest:
        spin = self._spins.recent(rng)
        if spin is None or rng.random() < self._ahead_share:
            wallet = rng.choice(self._wallets)
            spin_id = str(UUID(int=rng.getrandbits(128), version=4))
            return spin_pb2.VoidSpinRequest(
                spin_id=spin_id, operator_id=wallet.operator_id, wallet_id=wallet.wallet_id
            )
        return spin_pb2.VoidSpinRequest(
            spin_id=spin.spin_id, operator_id=spin.operator_id, wallet_id=spin.wallet_id, reason="taken back"
        )

    async def send(self, request: spin_pb2.VoidSpinRequest) -> spin_pb2.VoidSpinResponse:
        answer: spin_pb2.VoidSpinResponse = await self._stub.VoidSpin(request, timeout=CALL_TIMEOUT_S)
        return answer

    def decided(self, answer: spin_pb2.VoidSpinResponse) -> spin_pb2.Spin:
        """The spin without its jackpot, which moves on after it."""
        spin = spin_pb2.Spin()
        spin.CopyFrom(answer.spin)
        for moving in ("jackpot_state", "jackpot_shares", "jackpot_wins"):
            spin.ClearField(moving)
        return spin


class ContributionPlan:
    """Contributions straight to a jackpot server."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._jackpots = jackpot_pb2_grpc.JackpotServiceStub(channel)

    def next_request(self, rng: random.Random) -> jackpot_pb2.RecordContributionRequest:
        return jackpot_pb2.RecordContributionRequest(
            spin_id=str(UUID(int=rng.getrandbits(128), version=4)),
            operator_id=OPERATOR,
            user_id="user",
            wallet_id="wallet",
            wager=jackpot_pb2.Money(currency_code=CURRENCY, amount_minor=rng.choice((1, 20, 100))),
            game_category=jackpot_pb2.GAME_CATEGORY_SLOTS,
            game_id=SLOTS_GAME,
            stake_kind=jackpot_pb2.STAKE_KIND_CASH,
        )

    async def send(
        self, request: jackpot_pb2.RecordContributionRequest
    ) -> jackpot_pb2.RecordContributionResponse:
        answer: jackpot_pb2.RecordContributionResponse
        answer = await self._jackpots.RecordContribution(request, timeout=CALL_TIMEOUT_S)
        return answer

    def decided(self, answer: jackpot_pb2.RecordContributionResponse) -> jackpot_pb2.Contribution:
        """The contribution without its wins' states."""
        contribution = jackpot_pb2.Contribution()
        contribution.CopyFrom(answer.contribution)
        contribution.ClearField("state")
        for win in contribution.wins:
            for moving in (
                "state",
                "hold_reason",
                "review_required",
                "pay_time",
                "wallet_entry_id",
                "event_sequence",
                "spin_voided",
            ):
                win.ClearField(moving)
        return contribution


async def funded_wallets(channel: grpc.aio.Channel, count: int) -> list[Wallet]:
    """New wallets of OPERATOR with more money than any test loses."""
    stub = spin_pb2_grpc.WalletServiceStub(channel)
    rng = random.Random()
    made = [Wallet(f"wallet-{i}", OPERATOR, f"user-{i}") for i in range(count)]
    for wallet in made:
        await stub.CreateWallet(
            spin_pb2.CreateWalletRequest(
                request_id=str(UUID(int=rng.getrandbits(128), version=4)),
                wallet_id=wallet.wallet_id,
                operator_id=OPERATOR,
                user_id=wallet.user_id,
                currency_code=CURRENCY,
            ),
            timeout=CALL_TIMEOUT_S,
        )
        await stub.Deposit(
            spin_pb2.DepositRequest(
                request_id=str(UUID(int=rng.getrandbits(128), version=4)),
                name=f"wallets/{wallet.wallet_id}",
                amount=spin_pb2.Money(currency_code=CURRENCY, amount_minor=FUNDS_MINOR),
            ),
            timeout=CALL_TIMEOUT_S,
        )
    return made


STORED_SPINS = """
SELECT spin_id, wallet_id, wager_minor, payout_minor, balance_minor,
       (extract(epoch FROM settle_time) * 1000000)::bigint AS settle_micros
  FROM spins WHERE spin_id = ANY($1::uuid[])"""


async def unfaithful(spins_dsn: str, answers: dict[UUID, Answered]) -> list[str]:
    """Spins of which the database holds something else than their client was told, in sentences."""
    connection = await asyncpg.connect(spins_dsn)
    try:
        stored = {row["spin_id"]: tuple(row)[1:] for row in await connection.fetch(STORED_SPINS, [*answers])}
    finally:
        await connection.close()
    found = []
    for spin_id, answered in answers.items():
        spin = answered.decided
        assert isinstance(spin, spin_pb2.Spin)
        told = (
            spin.wallet_id,
            spin.wager.amount_minor,
            spin.payout.amount_minor,
            spin.balance.amount_minor,
            spin.settle_time.ToMicroseconds(),
        )
        if stored.get(spin_id) != told:
            found.append(f"spin {spin_id} answered as {told}, stored as {stored.get(spin_id)}")
    return found
