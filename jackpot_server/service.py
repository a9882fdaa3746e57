"""The servicers: parse, ask, render. What goes wrong is raised as it is and answered by the kit."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, cast

import grpc.aio

from jackpot_server.board import PoolBoard
from jackpot_server.committer import Committer
from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.facts import Recorded
from jackpot_server.draw_reads import DrawReads
from jackpot_server.metrics import CALL_ENTRIES, RECORDED, REFUSED, REPLAYED, VOIDED, WINS
from jackpot_server.reads import Reads, end_of
from jackpot_server.refusals import contribution_not_found, draw_not_found, pool_not_found, win_not_found
from jackpot_server.report_reads import ReportReads
from jackpot_server.server_info import ServerInfo
from jackpot_server.watch import PoolWatch
from jackpot_server.win_feed import WinFeed
from jackpot_server.wire import answers, report_answers, report_requests, requests, tokens
from jackpot_server.wire.results import encoded_results
from protos.jackpot.v1 import jackpot_pb2 as pb
from protos.jackpot.v1.jackpot_pb2_grpc import JackpotServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]

# A wait ends so long before the call's deadline, for the answer to arrive.
DEADLINE_MARGIN_S: Final = 0.2


class JackpotService(JackpotServiceServicer):
    """Contributions in, wins out; pools to look at."""

    def __init__(
        self,
        committer: Committer,
        reads: Reads,
        reports: ReportReads,
        draws: DrawReads,
        feed: WinFeed,
        board: PoolBoard,
        watch: PoolWatch,
        info: ServerInfo,
    ) -> None:
        self._committer = committer
        self._reads = reads
        self._reports = reports
        self._draws = draws
        self._feed = feed
        self._board = board
        self._watch = watch
        self._info = info

    async def RecordContribution(
        self, request: pb.RecordContributionRequest, context: Context
    ) -> pb.RecordContributionResponse:
        recorded = await self._committer.contribute(requests.contribution(request))
        _count([recorded])
        response = pb.RecordContributionResponse()
        answers.fill_recorded(response, recorded, self._committer.catalog.labels)
        return response

    async def BatchRecordContributions(  # type: ignore[override]
        self, request: pb.BatchRecordContributionsRequest, context: Context
    ) -> bytes:
        parsed = requests.contributions(request)
        commands = [item for item in parsed if isinstance(item, Contribute)]
        recorded = iter(await self._committer.contribute_many(commands))
        results = [next(recorded) if isinstance(item, Contribute) else item for item in parsed]
        CALL_ENTRIES.observe(len(parsed))
        _count(results)
        return encoded_results(results, self._committer.catalog.labels)

    async def VoidContribution(
        self, request: pb.VoidContributionRequest, context: Context
    ) -> pb.VoidContributionResponse:
        voided = await self._committer.void(requests.void(request))
        if not voided.replayed:
            VOIDED.inc()
        response = pb.VoidContributionResponse(replayed=voided.replayed)
        labels = self._committer.catalog.labels
        answers.fill_contribution(response.contribution, voided.contribution, voided.wins, labels)
        return response

    async def GetContribution(
        self, request: pb.GetContributionRequest, context: Context
    ) -> pb.GetContributionResponse:
        spin_id = requests.contribution_name(request)
        found = (await self._reads.contributions([spin_id])).get(spin_id)
        if found is None:
            raise contribution_not_found(spin_id)
        response = pb.GetContributionResponse()
        answers.fill_contribution(response.contribution, *found, self._reads.labels)
        return response

    async def BatchGetContributions(
        self, request: pb.BatchGetContributionsRequest, context: Context
    ) -> pb.BatchGetContributionsResponse:
        spin_ids = list(dict.fromkeys(requests.contribution_names(request)))
        found = await self._reads.contributions(spin_ids)
        response = pb.BatchGetContributionsResponse()
        for spin_id in spin_ids:
            if spin_id in found:
                answers.fill_contribution(response.contributions.add(), *found[spin_id], self._reads.labels)
            else:
                response.missing_names.append(answers.contribution_name(spin_id))
        return response

    async def ListContributions(
        self, request: pb.ListContributionsRequest, context: Context
    ) -> pb.ListContributionsResponse:
        query = requests.contributions_query(request)
        page = await self._reads.list_contributions(query)
        response = pb.ListContributionsResponse()
        shown = answers.fill_contributions(response.contributions, page.items, self._reads.labels)
        end = page.end if shown == len(page.items) else end_of(page.items[shown - 1])
        if end is not None:
            response.next_page_token = tokens.contribution_token(
                end, query.operator_id, query.start_time, query.end_time
            )
        return response

    async def GetContributionTotals(
        self, request: pb.GetContributionTotalsRequest, context: Context
    ) -> pb.GetContributionTotalsResponse:
        return report_answers.hours(await self._reports.hours(report_requests.hours(request)))

    async def ListWinEvents(
        self, request: pb.ListWinEventsRequest, context: Context
    ) -> pb.ListWinEventsResponse:
        query = requests.events_query(request)
        question = (query.operator_id, query.after_sequence, query.page_size)
        events = await self._reads.win_events(*question)
        wait_s = _before_deadline(context, query.wait_s)
        if not events and wait_s > 0:
            await self._feed.wait(query.operator_id, query.after_sequence, wait_s)
            events = await self._reads.win_events(*question)
        response = pb.ListWinEventsResponse(last_sequence=query.after_sequence)
        for event in events:
            answers.fill_win_event(response.events.add(), event)
            response.last_sequence = event.win.event_sequence
        return response

    async def AcknowledgeWin(
        self, request: pb.AcknowledgeWinRequest, context: Context
    ) -> pb.AcknowledgeWinResponse:
        acknowledged = await self._committer.acknowledge(requests.acknowledgement(request))
        response = pb.AcknowledgeWinResponse(replayed=acknowledged.replayed)
        answers.fill_win(response.win, acknowledged.win)
        return response

    async def GetWin(self, request: pb.GetWinRequest, context: Context) -> pb.GetWinResponse:
        pool_id, spin_id = requests.win_name(request)
        win = await self._reads.win(pool_id, spin_id)
        if win is None:
            raise win_not_found(pool_id, spin_id)
        response = pb.GetWinResponse()
        answers.fill_win(response.win, win)
        return response

    async def ListWins(self, request: pb.ListWinsRequest, context: Context) -> pb.ListWinsResponse:
        query = requests.wins_query(request)
        page = await self._reads.list_wins(query)
        response = pb.ListWinsResponse()
        for win in page.items:
            answers.fill_win(response.wins.add(), win)
        if page.end is not None:
            response.next_page_token = tokens.win_token(
                page.end,
                query.operator_id,
                query.pool_id,
                int(query.state or 0),
                query.start_time,
                query.end_time,
            )
        return response

    async def GetPool(self, request: pb.GetPoolRequest, context: Context) -> pb.GetPoolResponse:
        pool_id = requests.pool_name(request)
        shown = await self._board.pool(pool_id)
        if shown is None:
            raise pool_not_found(pool_id)
        return shown

    async def ListPools(self, request: pb.ListPoolsRequest, context: Context) -> pb.ListPoolsResponse:
        query = requests.pools_query(request)
        page = await self._board.pools(query)
        response = pb.ListPoolsResponse(pools=page.items)
        if page.end is not None:
            response.next_page_token = tokens.pool_token(page.end, query.operator_id, query.currency_code)
        return response

    async def WatchPools(
        self, request: pb.WatchPoolsRequest, context: Context
    ) -> AsyncIterator[pb.WatchPoolsResponse]:
        with self._watch.watch(requests.watch_query(request)) as watcher:
            async for message in watcher.messages():
                yield message

    async def GetPoolRules(
        self, request: pb.GetPoolRulesRequest, context: Context
    ) -> pb.GetPoolRulesResponse:
        pool_id = requests.pool_name(request)
        rules = await self._board.rules(pool_id)
        if rules is None:
            raise pool_not_found(pool_id)
        return rules

    async def GetDraw(self, request: pb.GetDrawRequest, context: Context) -> pb.GetDrawResponse:
        pool_id, spin_id = requests.draw_name(request)
        draw = await self._draws.draw(pool_id, spin_id)
        if draw is None:
            raise draw_not_found(pool_id, spin_id)
        response = pb.GetDrawResponse()
        answers.fill_draw(response.draw, draw)
        return response

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: Context
    ) -> pb.GetServerInfoResponse:
        return await self._info.answer()


def _count(results: Sequence[Recorded | Exception]) -> None:
    answered = [result for result in results if isinstance(result, Recorded)]
    new = [result for result in answered if not result.replayed]
    RECORDED.inc(len(new))
    REPLAYED.inc(len(answered) - len(new))
    REFUSED.inc(len(results) - len(answered))
    WINS.inc(sum(not win.shadow for result in new for win in result.wins))


def _before_deadline(context: Context, wait_s: float) -> float:
    # None where the call has no deadline, whatever the stubs say.
    remaining_s = cast("float | None", context.time_remaining())
    return wait_s if remaining_s is None else min(wait_s, remaining_s - DEADLINE_MARGIN_S)
