"""The calls to a jackpot server; the only user of its stub."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import TypeVar
from uuid import UUID

import grpc
import grpc.aio
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from jackpot_outbox import telemetry, wire
from jackpot_outbox.rows import (
    AcknowledgementRow,
    Answer,
    ContributionRow,
    HourTotal,
    RecordedContribution,
    Setback,
    VoidRow,
    WinPage,
)
from protos.jackpot.v1 import jackpot_pb2 as pb
from protos.jackpot.v1.jackpot_pb2_grpc import JackpotServiceStub

R = TypeVar("R")

# 500 contributions with 16 shares each fit both ways (G7).
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

# One repeat for a connection that just broke; the relay does the rest (G11).
_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": "jackpot.v1.JackpotService"}],
                "retryPolicy": {
                    "maxAttempts": 2,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "0.1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)
_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.enable_retries", 1),
    # G9: notices a peer that is gone without a word.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # G10: 0.5 s instead of 1.7 s to come back after a restart.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.compression_enabled_algorithms_bitset", 1),
    # Every client its own connection: one that is stuck does not hold the others.
    ("grpc.use_local_subchannel_pool", 1),
)

_PAGE_SIZE = 1_000
_IDS_AT_ONCE = 500

# Rows that are converted without giving the event loop to others.
_CONVERT_AT_ONCE = 100

# How gRPC's cores say that a message is beyond a limit; the status alone may also mean "busy".
_TOO_LARGE = ("larger than max", "exceeds maximum", "too large")


class CallError(Exception):
    """A call as a whole had no answer: its status, and what ErrorInfo and RetryInfo add to it."""

    def __init__(
        self, code: grpc.StatusCode, reason: str, message: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{code.name} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def is_refused(self) -> bool:
        """The request itself is at fault: a smaller one may pass."""
        return self.code == grpc.StatusCode.INVALID_ARGUMENT or self.is_too_large

    @property
    def is_too_large(self) -> bool:
        return self.code == grpc.StatusCode.RESOURCE_EXHAUSTED and any(
            text in self.message for text in _TOO_LARGE
        )


@dataclass(frozen=True, slots=True)
class JackpotServerInfo:
    """What a jackpot server says of itself; the cache's kind as the cache itself says, '' without one."""

    version: str
    environment: str
    cache_kind: str
    cache_version: str
    cache_reachable: bool


class _Method:
    """One method of the contract, and how its calls are counted."""

    def __init__(self, name: str) -> None:
        self._labels = ("unary_unary", "jackpot.v1.JackpotService", name)

    async def answer(self, call: Awaitable[R]) -> R:
        """The answer to `call`; raises CallError if there is none."""
        start = perf_counter()
        telemetry.CLIENT_STARTED.labels(*self._labels).inc()
        code = grpc.StatusCode.CANCELLED
        try:
            response = await call
            code = grpc.StatusCode.OK
        except grpc.aio.AioRpcError as error:
            code = error.code()
            raise _call_error(error) from error
        finally:
            telemetry.CLIENT_HANDLED.labels(*self._labels, code.name).inc()
            telemetry.CLIENT_SECONDS.labels(*self._labels).observe(perf_counter() - start)
        return response


_RECORD = _Method("BatchRecordContributions")
_VOID = _Method("VoidContribution")
_ACKNOWLEDGE = _Method("AcknowledgeWin")
_WIN_EVENTS = _Method("ListWinEvents")
_TOTALS = _Method("GetContributionTotals")
_LIST = _Method("ListContributions")
_GET = _Method("BatchGetContributions")
_SERVER_INFO = _Method("GetServerInfo")


class JackpotClient:
    """One channel to a jackpot server. Calls raise CallError; each has a deadline of its own."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub = JackpotServiceStub(self._channel)

    @property
    def connected(self) -> bool:
        """Whether the channel is up; asks it to connect if it is idle."""
        return self._channel.get_state(try_to_connect=True) == grpc.ChannelConnectivity.READY

    async def record(self, rows: Sequence[ContributionRow], timeout_s: float) -> list[Answer | Setback]:
        """BatchRecordContributions: `results[i]` is what became of `rows[i]`."""
        request = pb.BatchRecordContributionsRequest()
        for start in range(0, len(rows), _CONVERT_AT_ONCE):
            request.requests.extend(map(wire.contribution_request, rows[start : start + _CONVERT_AT_ONCE]))
            await asyncio.sleep(0)
        telemetry.CALL_ROWS.observe(len(rows))
        response = await _RECORD.answer(self._stub.BatchRecordContributions(request, timeout=timeout_s))
        if len(response.results) != len(rows):
            raise _not_understood(f"{len(response.results)} results for {len(rows)} requests.")
        results: list[Answer | Setback] = []
        for start in range(0, len(rows), _CONVERT_AT_ONCE):
            chunk = slice(start, start + _CONVERT_AT_ONCE)
            results += map(wire.contribution_result, rows[chunk], response.results[chunk])
            await asyncio.sleep(0)
        return results

    async def send_alone(self, row: VoidRow | AcknowledgementRow, timeout_s: float) -> Answer | Setback:
        """VoidContribution or AcknowledgeWin: what became of `row`; a Setback only if refused for good."""
        send = self._void(row, timeout_s) if isinstance(row, VoidRow) else self._acknowledge(row, timeout_s)
        try:
            return await send
        except CallError as failed:
            if failed.code in wire.FINAL_CODES or failed.is_too_large:
                return Setback(row, failed.reason, failed.message, parked=True)
            raise
        except ValueError as error:
            raise _not_understood(str(error)) from error

    async def _acknowledge(self, row: AcknowledgementRow, timeout_s: float) -> Answer:
        call = self._stub.AcknowledgeWin(wire.acknowledgement_request(row), timeout=timeout_s)
        return wire.acknowledgement_answer(row, await _ACKNOWLEDGE.answer(call))

    async def _void(self, row: VoidRow, timeout_s: float) -> Answer:
        call = self._stub.VoidContribution(wire.void_request(row), timeout=timeout_s)
        return wire.void_answer(row, await _VOID.answer(call))

    async def win_events(
        self, operator_id: str, after_sequence: int, page_size: int, wait_s: float, timeout_s: float
    ) -> WinPage:
        """ListWinEvents after `after_sequence`; waits up to `wait_s` if there are none.

        The page ends before the first missing sequence, if there is one: `WinPage.last_sequence` is the
        last that was seen without a gap.
        """
        request = pb.ListWinEventsRequest(
            operator_id=operator_id, after_sequence=after_sequence, page_size=page_size
        )
        request.wait.FromMilliseconds(int(wait_s * 1000))
        response = await _WIN_EVENTS.answer(self._stub.ListWinEvents(request, timeout=timeout_s))
        try:
            return wire.win_page(operator_id, after_sequence, response)
        except ValueError as error:
            raise _not_understood(str(error)) from error

    async def hour_totals(
        self, operator_id: str, start: datetime, end: datetime, timeout_s: float
    ) -> list[HourTotal]:
        """GetContributionTotals: hours without any are left out."""
        request = pb.GetContributionTotalsRequest(
            operator_id=operator_id, start_time=wire.timestamp(start), end_time=wire.timestamp(end)
        )
        said = await _TOTALS.answer(self._stub.GetContributionTotals(request, timeout=timeout_s))
        return [wire.hour_total(hour) for hour in said.hours]

    async def missing(self, spin_ids: Sequence[UUID], timeout_s: float) -> list[UUID]:
        """BatchGetContributions: those of the spins that the jackpot server does not have, in their order."""
        gone: set[str] = set()
        for first in range(0, len(spin_ids), _IDS_AT_ONCE):
            names = [f"contributions/{spin_id}" for spin_id in spin_ids[first : first + _IDS_AT_ONCE]]
            request = pb.BatchGetContributionsRequest(names=names)
            said = await _GET.answer(self._stub.BatchGetContributions(request, timeout=timeout_s))
            gone.update(said.missing_names)
        return [spin_id for spin_id in spin_ids if f"contributions/{spin_id}" in gone]

    async def contributions(
        self, operator_id: str, start: datetime, end: datetime, timeout_s: float
    ) -> AsyncIterator[RecordedContribution]:
        """ListContributions, page by page."""
        request = pb.ListContributionsRequest(
            operator_id=operator_id,
            start_time=wire.timestamp(start),
            end_time=wire.timestamp(end),
            page_size=_PAGE_SIZE,
        )
        while True:
            said = await _LIST.answer(self._stub.ListContributions(request, timeout=timeout_s))
            for contribution in said.contributions:
                yield wire.recorded_contribution(contribution)
            if not said.next_page_token:
                return
            request.page_token = said.next_page_token

    async def server_info(self, timeout_s: float) -> JackpotServerInfo:
        """GetServerInfo."""
        call = self._stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=timeout_s)
        said = await _SERVER_INFO.answer(call)
        cache = said.cache
        return JackpotServerInfo(said.version, said.environment, cache.kind, cache.version, cache.reachable)

    async def close(self) -> None:
        """Ends the channel and every call on it."""
        await self._channel.close()


def _not_understood(message: str) -> CallError:
    return CallError(grpc.StatusCode.UNKNOWN, wire.NOT_UNDERSTOOD, message)


def _call_error(error: grpc.aio.AioRpcError) -> CallError:
    code = error.code()
    reason, retry_after_s = code.name, None
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            reason, retry_after_s = _details(value, reason)
    return CallError(code, reason, error.details() or "", retry_after_s)


def _details(serialized: bytes, reason: str) -> tuple[str, float | None]:
    """The reason of ErrorInfo, or `reason`, and the delay of RetryInfo."""
    retry_after_s = None
    info, retry = ErrorInfo(), RetryInfo()
    for detail in Status.FromString(serialized).details:
        if detail.Unpack(info):
            reason = info.reason or reason
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
    return reason, retry_after_s
