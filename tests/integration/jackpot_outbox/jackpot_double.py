"""The foreign side: a jackpot.v1 server that keeps everything in dictionaries and misbehaves when told to."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Never

import grpc
from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from grpc_status import rpc_status

from protos.jackpot.v1 import jackpot_pb2 as pb
from protos.jackpot.v1.jackpot_pb2_grpc import JackpotServiceServicer, add_JackpotServiceServicer_to_server

Context = Any


class Told(Exception):
    """An error that the double was told to answer."""

    def __init__(self, code: grpc.StatusCode, reason: str, message: str = "as told") -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


class JackpotDouble(JackpotServiceServicer):
    """Decides in memory. What it decided survives `stop` and `start`, like a database."""

    def __init__(self) -> None:
        self.contributions: dict[str, pb.Contribution] = {}
        self.acknowledgements: dict[str, list[pb.AcknowledgeWinRequest]] = defaultdict(list)
        self.events: dict[str, list[pb.WinEvent]] = defaultdict(list)
        self.wins: dict[str, pb.Win] = {}
        # What was seen.
        self.call_sizes: list[int] = []
        self.call_times: list[float] = []
        self.times_sent: Counter[str] = Counter()
        self.arrival_times: dict[str, float] = {}
        self.sent_twice_at_once: list[str] = []
        self.followers_asked = 0
        self.followers: Counter[str] = Counter()
        self.most_followers: Counter[str] = Counter()
        # What it is told to do.
        self.win_amount: Callable[[pb.RecordContributionRequest], int | None] = lambda _: None
        self.item_error: Callable[[pb.RecordContributionRequest], Told | None] = lambda _: None
        self.call_error: Callable[[Sequence[pb.RecordContributionRequest]], Told | None] = lambda _: None
        self.acknowledgement_error: Callable[[pb.AcknowledgeWinRequest], Told | None] = lambda _: None
        self.answers_to_lose = 0
        self.delay_s = 0.0
        self.hangs = asyncio.Event()  # set: goes on
        self.hangs.set()
        self._on_their_way: set[str] = set()
        self._event_came = asyncio.Condition()
        self._server: grpc.aio.Server | None = None
        self.port = 0

    # -- a server -----------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Serves on the port of the first start."""
        server = grpc.aio.server(
            options=[("grpc.so_reuseport", 0), ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000)]
        )
        add_JackpotServiceServicer_to_server(self, server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Goes away at once, calls in flight are cut."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None
        self._on_their_way.clear()
        self.followers.clear()

    # -- jackpot.v1 ---------------------------------------------------------------------------------

    async def BatchRecordContributions(
        self, request: pb.BatchRecordContributionsRequest, context: Context
    ) -> pb.BatchRecordContributionsResponse:
        self.call_sizes.append(len(request.requests))
        self.call_times.append(monotonic())
        async with self._seen([item.spin_id for item in request.requests]):
            await self._misbehave()
            if told := self.call_error(request.requests):
                await _abort(context, told)
            response = pb.BatchRecordContributionsResponse()
            for item in request.requests:
                if told := self.item_error(item):
                    response.results.add().error.CopyFrom(
                        pb.ItemError(code=told.code.value[0], reason=told.reason, message=told.message)
                    )
                else:
                    response.results.add().recorded.CopyFrom(await self._record(item))
            await self._lose_answer(context)
            return response

    async def AcknowledgeWin(
        self, request: pb.AcknowledgeWinRequest, context: Context
    ) -> pb.AcknowledgeWinResponse:
        async with self._seen([f"{request.name} {request.event_sequence}"]):
            await self._misbehave()
            if told := self.acknowledgement_error(request):
                await _abort(context, told)
            win = self.wins.get(request.name)
            if win is None:
                await _abort(context, Told(grpc.StatusCode.NOT_FOUND, "WIN_NOT_FOUND"))
            replayed = request in self.acknowledgements[request.name]
            if not replayed:
                self.acknowledgements[request.name].append(request)
                if request.outcome == pb.AcknowledgeWinRequest.OUTCOME_CREDITED:
                    await self.tell(win, pb.Win.STATE_PAID, pb.WinEvent.KIND_PAID)
                elif request.outcome == pb.AcknowledgeWinRequest.OUTCOME_FAILED:
                    await self.tell(win, pb.Win.STATE_HELD, pb.WinEvent.KIND_HELD)
            await self._lose_answer(context)
            return pb.AcknowledgeWinResponse(win=win, replayed=replayed)

    async def ListWinEvents(
        self, request: pb.ListWinEventsRequest, context: Context
    ) -> pb.ListWinEventsResponse:
        operator_id = request.operator_id
        self.followers_asked += 1
        self.followers[operator_id] += 1
        self.most_followers[operator_id] = max(self.most_followers[operator_id], self.followers[operator_id])
        try:
            await self.hangs.wait()
            deadline = monotonic() + request.wait.ToTimedelta().total_seconds()
            while not (events := self._events_after(operator_id, request.after_sequence)):
                left_s = deadline - monotonic()
                if left_s <= 0:
                    break
                try:
                    async with asyncio.timeout(left_s), self._event_came:
                        await self._event_came.wait()
                except TimeoutError:
                    break
            events = events[: request.page_size]
            last = events[-1].sequence if events else request.after_sequence
            return pb.ListWinEventsResponse(events=events, last_sequence=last)
        finally:
            self.followers[operator_id] -= 1

    # -- decisions ----------------------------------------------------------------------------------

    async def _record(self, request: pb.RecordContributionRequest) -> pb.RecordContributionResponse:
        known = self.contributions.get(request.spin_id)
        if known is None:
            known = self.contributions[request.spin_id] = pb.Contribution(
                name=f"contributions/{request.spin_id}",
                spin_id=request.spin_id,
                operator_id=request.operator_id,
                state=pb.Contribution.STATE_RECORDED,
                shares=[
                    pb.PoolShare(
                        pool="pools/mini", tier="MINI", amount_micros=request.wager.amount_minor * 15
                    ),
                    pb.PoolShare(
                        pool="pools/grand",
                        tier="GRAND",
                        skip_reason=pb.PoolShare.SKIP_REASON_BELOW_MINIMUM,
                    ),
                ],
            )
            known.record_time.FromDatetime(datetime.now(UTC))
            amount = self.win_amount(request)
            if amount is not None:
                known.wins.append(await self.decide_win(request, amount))
            return pb.RecordContributionResponse(contribution=known)
        for win in known.wins:  # states show the present
            win.CopyFrom(self.wins[win.name])
        return pb.RecordContributionResponse(contribution=known, replayed=True)

    async def decide_win(self, request: pb.RecordContributionRequest, amount_minor: int) -> pb.Win:
        """A new win of `pools/mini`, with its event."""
        win = pb.Win(
            name=f"pools/mini/wins/{request.spin_id}",
            pool="pools/mini",
            tier="MINI",
            spin_id=request.spin_id,
            operator_id=request.operator_id,
            user_id=request.user_id,
            wallet_id=request.wallet_id,
            amount=pb.Money(currency_code=request.wager.currency_code, amount_minor=amount_minor),
        )
        self.wins[win.name] = win
        await self.tell(win, pb.Win.STATE_PAYABLE, pb.WinEvent.KIND_DECIDED)
        return win

    async def tell(
        self, win: pb.Win, state: "pb.Win.State.ValueType", kind: "pb.WinEvent.Kind.ValueType"
    ) -> None:
        """Moves a win to a state with its next event."""
        events = self.events[win.operator_id]
        win.state = state
        win.event_sequence = len(events) + 1
        events.append(pb.WinEvent(sequence=win.event_sequence, kind=kind, win=win))
        async with self._event_came:
            self._event_came.notify_all()

    def _events_after(self, operator_id: str, sequence: int) -> list[pb.WinEvent]:
        return [event for event in self.events[operator_id] if event.sequence > sequence]

    # -- misbehaviour -------------------------------------------------------------------------------

    @asynccontextmanager
    async def _seen(self, ids: list[str]) -> AsyncIterator[None]:
        self.times_sent.update(ids)
        for one in ids:
            self.arrival_times.setdefault(one, monotonic())
        self.sent_twice_at_once += self._on_their_way.intersection(ids)
        self._on_their_way.update(ids)
        try:
            yield
        finally:
            self._on_their_way.difference_update(ids)

    async def _misbehave(self) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await self.hangs.wait()

    async def _lose_answer(self, context: Context) -> None:
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            await _abort(context, Told(grpc.StatusCode.CANCELLED, "ANSWER_LOST"))


async def _abort(context: Context, told: Told) -> Never:
    status = Status(code=told.code.value[0], message=told.message)
    status.details.add().Pack(ErrorInfo(reason=told.reason, domain="jackpot.v1"))
    rich = rpc_status.to_status(status)
    await context.abort(rich.code, rich.details, rich.trailing_metadata)
    raise AssertionError("abort raises")
