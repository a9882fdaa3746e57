"""The administration's servicer: who asks, parse, ask, render."""

from collections.abc import Callable
from typing import Any, TypeVar

import grpc.aio

from jackpot_server import admin_store
from jackpot_server.admin_transaction import AdminCommand, Approval
from jackpot_server.administration import Administration
from jackpot_server.domain.admin_commands import (
    WinChange,
)
from jackpot_server.identity import Identities
from jackpot_server.pool_reads import PoolReads
from jackpot_server.reads import ReadConnections, Reads
from jackpot_server.refusals import pool_not_found
from jackpot_server.report_reads import ReportReads
from jackpot_server.wire import (
    admin_answers,
    admin_requests,
    answers,
    report_answers,
    report_requests,
    tokens,
)
from protos.jackpot.v1 import jackpot_pb2 as pb
from protos.jackpot.v1.jackpot_pb2_grpc import JackpotAdminServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]
R = TypeVar("R")

_NEWEST = 2**63 - 1


class JackpotAdminService(JackpotAdminServiceServicer):
    """Changes of pools by people, and the trail of them."""

    def __init__(
        self,
        administration: Administration,
        identities: Identities,
        pools: PoolReads,
        wins: Reads,
        connections: ReadConnections,
    ) -> None:
        self._administration = administration
        self._identities = identities
        self._pools = pools
        self._wins = wins
        self._reports = ReportReads(connections)
        self._fetch = connections.fetch

    async def CreatePool(self, request: pb.CreatePoolRequest, context: Context) -> pb.CreatePoolResponse:
        approval, pool = await self._ask(admin_requests.create_pool, request, context)
        return pb.CreatePoolResponse(pool=pool, approval=approval)

    async def UpdatePool(self, request: pb.UpdatePoolRequest, context: Context) -> pb.UpdatePoolResponse:
        approval, pool = await self._ask(admin_requests.update_pool, request, context)
        return pb.UpdatePoolResponse(pool=pool, approval=approval)

    async def PausePool(self, request: pb.PausePoolRequest, context: Context) -> pb.PausePoolResponse:
        _, pool = await self._ask(admin_requests.pause_pool, request, context)
        return pb.PausePoolResponse(pool=pool)

    async def ResumePool(self, request: pb.ResumePoolRequest, context: Context) -> pb.ResumePoolResponse:
        _, pool = await self._ask(admin_requests.resume_pool, request, context)
        return pb.ResumePoolResponse(pool=pool)

    async def ClosePool(self, request: pb.ClosePoolRequest, context: Context) -> pb.ClosePoolResponse:
        approval, pool = await self._ask(admin_requests.close_pool, request, context)
        return pb.ClosePoolResponse(pool=pool, approval=approval)

    async def CorrectPool(self, request: pb.CorrectPoolRequest, context: Context) -> pb.CorrectPoolResponse:
        approval, pool = await self._ask(admin_requests.correct_pool, request, context)
        return pb.CorrectPoolResponse(pool=pool, approval=approval)

    async def HoldWin(self, request: pb.HoldWinRequest, context: Context) -> pb.HoldWinResponse:
        _, win = await self._ask_win(admin_requests.hold_win, request, context)
        return pb.HoldWinResponse(win=win)

    async def ApproveWin(self, request: pb.ApproveWinRequest, context: Context) -> pb.ApproveWinResponse:
        approval, win = await self._ask_win(admin_requests.approve_win, request, context)
        return pb.ApproveWinResponse(win=win, approval=approval)

    async def RejectWin(self, request: pb.RejectWinRequest, context: Context) -> pb.RejectWinResponse:
        approval, win = await self._ask_win(admin_requests.reject_win, request, context)
        return pb.RejectWinResponse(win=win, approval=approval)

    async def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, context: Context
    ) -> pb.ListAuditEventsResponse:
        self._identities.actor(context)
        query = admin_requests.events_query(request)
        rows = await self._fetch(
            admin_store.LIST_EVENTS,
            query.resource,
            query.start_time,
            query.end_time,
            _NEWEST if query.before is None else query.before,
            query.page_size + 1,
        )
        events = [admin_store.stored_event(row) for row in rows]
        response = pb.ListAuditEventsResponse()
        for event in events[: query.page_size]:
            admin_answers.fill_event(response.events.add(), event)
        if len(events) > query.page_size:
            response.next_page_token = tokens.event_token(
                events[query.page_size - 1].number, query.resource, query.start_time, query.end_time
            )
        return response

    async def GetPoolMeters(
        self, request: pb.GetPoolMetersRequest, context: Context
    ) -> pb.GetPoolMetersResponse:
        self._identities.actor(context)
        pool_id = report_requests.meters(request)
        found = await self._reports.meters(pool_id)
        if found is None:
            raise pool_not_found(pool_id)
        return report_answers.meters(*found)

    async def GetLiabilityReport(
        self, request: pb.GetLiabilityReportRequest, context: Context
    ) -> pb.GetLiabilityReportResponse:
        self._identities.actor(context)
        at_time = report_requests.liability(request)
        return report_answers.liability(await self._reports.liability(at_time), at_time)

    async def GetOperatorReport(
        self, request: pb.GetOperatorReportRequest, context: Context
    ) -> pb.GetOperatorReportResponse:
        self._identities.actor(context)
        return report_answers.operators(await self._reports.operators(report_requests.operator(request)))

    async def _ask(
        self, parse: Callable[[R, str], AdminCommand], request: R, context: Context
    ) -> tuple[pb.Approval, pb.Pool | None]:
        """Who asks comes first, then what; the pool as it is once the answer is durable."""
        actor = self._identities.actor(context)
        command = parse(request, actor)
        approval: Approval = await self._administration.ask(command)
        views = await self._pools.pools([command.what.pool_id])
        shown = answers.pool(views[0]) if views else None
        return admin_answers.approval(approval, command.request_id), shown

    async def _ask_win(
        self, parse: Callable[[R, str], AdminCommand], request: R, context: Context
    ) -> tuple[pb.Approval, pb.Win]:
        """As `_ask`, with the win as it is then."""
        actor = self._identities.actor(context)
        command = parse(request, actor)
        assert isinstance(command.what, WinChange)
        approval: Approval = await self._administration.ask(command)
        shown = pb.Win()
        win = await self._wins.win(command.what.pool_id, command.what.spin_id)
        if win is not None:
            answers.fill_win(shown, win)
        return admin_answers.approval(approval, command.request_id), shown
