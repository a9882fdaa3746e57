"""The servicers: parse, ask, render. What goes wrong is raised as it is and answered by the kit."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from time import perf_counter_ns
from typing import Any, Final

import grpc
import grpc.aio

from protos.spin.v1 import spin_pb2 as pb
from protos.spin.v1.spin_pb2_grpc import GameServiceServicer, SpinServiceServicer, WalletServiceServicer
from service_kit.database import failure_of
from service_kit.errors import ServiceError
from spin_server.committer import Committer
from spin_server.domain.commands import SpinCommand
from spin_server.domain.facts import JackpotState, Reason, Refused, SettledSpin
from spin_server.domain.game import Catalog, GameCategory
from spin_server.draws import draw
from spin_server.metrics import JACKPOT_WAIT_SECONDS, SPIN_SECONDS
from spin_server.reads import Reads
from spin_server.refusals import refusal
from spin_server.settings import JackpotMode
from spin_server.waiting import JackpotWaiters
from spin_server.wire import answers, requests, tokens

Context = grpc.aio.ServicerContext[Any, Any]

_SPIN_SECONDS: Final = {int(category): SPIN_SECONDS.labels(category.name) for category in GameCategory}

# In sync mode, the longest that a spin's answer waits for its jackpot.
SYNC_WAIT_S: Final = 1.0
# A wait ends so long before the call's deadline, for the answer to arrive.
DEADLINE_MARGIN_S: Final = 0.2

_NO_SPIN: Final = Refused(Reason.SPIN_NOT_FOUND, "There is no such spin.")
_NO_WALLET: Final = Refused(Reason.WALLET_NOT_FOUND, "There is no such wallet.")
_NO_GAME: Final = Refused(Reason.GAME_NOT_FOUND, "There is no such game.")


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """What GetServerInfo tells of this process."""

    environment: str
    jackpot_mode: JackpotMode
    start_time: datetime
    # Whether the jackpot server answers this process.
    jackpot_reachable: Callable[[], bool]


class SpinService(SpinServiceServicer):
    """Spins."""

    def __init__(
        self,
        committer: Committer,
        reads: Reads,
        waiters: JackpotWaiters,
        catalog: Catalog,
        process: ProcessInfo,
    ) -> None:
        self._committer = committer
        self._reads = reads
        self._waiters = waiters
        self._catalog = catalog
        self.process = process
        self._waits = process.jackpot_mode == "sync"

    async def SettleSpin(self, request: pb.SettleSpinRequest, context: Context) -> pb.SettleSpinResponse:
        entered_ns = perf_counter_ns()
        spin, replayed, timing = await self._book(requests.settle(request), entered_ns)
        return pb.SettleSpinResponse(spin=spin, replayed=replayed, timing=timing)

    async def PlaySpin(self, request: pb.PlaySpinRequest, context: Context) -> pb.PlaySpinResponse:
        entered_ns = perf_counter_ns()
        command = draw(requests.play(request), self._catalog)
        spin, replayed, timing = await self._book(command, entered_ns)
        return pb.PlaySpinResponse(spin=spin, replayed=replayed, timing=timing)

    async def GetSpin(self, request: pb.GetSpinRequest, context: Context) -> pb.GetSpinResponse:
        spin = await self._reads.spin(requests.spin_name(request))
        if spin is None:
            raise refusal(_NO_SPIN)
        return pb.GetSpinResponse(spin=answers.spin(spin))

    async def ListSpins(self, request: pb.ListSpinsRequest, context: Context) -> pb.ListSpinsResponse:
        query = requests.spins_query(request)
        page = await self._reads.spins(query)
        return pb.ListSpinsResponse(
            spins=[answers.spin(spin) for spin in page.spins],
            next_page_token=tokens.spin_token(page.next_after, query) if page.next_after else "",
        )

    async def WaitForJackpot(
        self, request: pb.WaitForJackpotRequest, context: Context
    ) -> pb.WaitForJackpotResponse:
        spin_id, timeout_s = requests.wait(request)
        spin = await self._reads.spin(spin_id)
        if spin is not None and spin.jackpot.state is JackpotState.PENDING:
            left_s = context.time_remaining()
            if left_s is not None:
                timeout_s = min(timeout_s, max(0.0, left_s - DEADLINE_MARGIN_S))
            await self._waiters.wait(spin_id, timeout_s)
            spin = await self._reads.spin(spin_id)
        if spin is None:
            raise refusal(_NO_SPIN)
        return pb.WaitForJackpotResponse(spin=answers.spin(spin))

    async def VoidSpin(self, request: pb.VoidSpinRequest, context: Context) -> pb.VoidSpinResponse:
        answer = await self._committer.void(requests.void(request))
        return pb.VoidSpinResponse(spin=answers.spin(answer.spin), replayed=answer.replayed)

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: Context
    ) -> pb.GetServerInfoResponse:
        info = await self._reads.info()
        process = self.process
        return pb.GetServerInfoResponse(
            version=version("afterspin"),
            environment=process.environment,
            jackpot_mode=process.jackpot_mode,
            jackpot_reachable=process.jackpot_reachable(),
            outbox_open=info.outbox.open_rows,
            outbox_parked=info.outbox.parked_rows,
            outbox_oldest=answers.duration(info.outbox.oldest_s),
            database_version=info.version,
            schema_version=info.schema_version,
            start_time=answers.stamp(process.start_time),
        )

    async def _book(self, command: SpinCommand, entered_ns: int) -> tuple[pb.Spin, bool, pb.Timing]:
        """The spin as it is answered, whether it is a repeat, and where the call's time went."""
        queued_ns = perf_counter_ns()
        answer = await self._committer.spin(command)
        committed_ns = done_ns = perf_counter_ns()
        _SPIN_SECONDS[answer.spin.record.game_category].observe((committed_ns - entered_ns) / 1e9)
        spin = answer.spin
        if self._waits:
            spin = await self._with_jackpot(spin)
            done_ns = perf_counter_ns()
        timing = answers.timing(entered_ns, queued_ns, answer.began_ns, committed_ns, done_ns)
        return answers.spin(spin), answer.replayed, timing

    async def _with_jackpot(self, spin: SettledSpin) -> SettledSpin:
        """The spin once its jackpot is known, or as it is after SYNC_WAIT_S. Never fails: it is settled."""
        if spin.jackpot.state is not JackpotState.PENDING:
            return spin
        try:
            spin_id = spin.record.terms.spin_id
            with JACKPOT_WAIT_SECONDS.time():
                await self._waiters.wait(spin_id, SYNC_WAIT_S)
            return await self._reads.spin(spin_id) or spin
        except Exception as error:
            if not isinstance(error, ServiceError) and failure_of(error) is None:
                raise
            return spin


class GameService(GameServiceServicer):
    """The games, from memory."""

    def __init__(self, catalog: Catalog) -> None:
        self._games = {game_id: catalog.games[game_id] for game_id in sorted(catalog.games)}

    async def GetGame(self, request: pb.GetGameRequest, context: Context) -> pb.GetGameResponse:
        game = self._games.get(requests.game_name(request))
        if game is None:
            raise refusal(_NO_GAME)
        return pb.GetGameResponse(game=answers.game(game))

    async def ListGames(self, request: pb.ListGamesRequest, context: Context) -> pb.ListGamesResponse:
        query = requests.games_query(request)
        rest = [game for game_id, game in self._games.items() if game_id > query.after]
        page = rest[: query.page_size]
        more = len(rest) > len(page)
        return pb.ListGamesResponse(
            games=[answers.game(game) for game in page],
            next_page_token=tokens.game_token(page[-1].game_id) if more else "",
        )


class WalletService(WalletServiceServicer):
    """Players' money."""

    def __init__(self, committer: Committer, reads: Reads) -> None:
        self._committer = committer
        self._reads = reads

    async def CreateWallet(
        self, request: pb.CreateWalletRequest, context: Context
    ) -> pb.CreateWalletResponse:
        answer = await self._committer.wallet(requests.create_wallet(request))
        return pb.CreateWalletResponse(wallet=answers.wallet_after(answer.move), replayed=answer.replayed)

    async def GetWallet(self, request: pb.GetWalletRequest, context: Context) -> pb.GetWalletResponse:
        wallet = await self._reads.wallet(requests.wallet_name(request))
        if wallet is None:
            raise refusal(_NO_WALLET)
        return pb.GetWalletResponse(wallet=answers.wallet(wallet))

    async def Deposit(self, request: pb.DepositRequest, context: Context) -> pb.DepositResponse:
        answer = await self._committer.wallet(requests.deposit(request))
        return pb.DepositResponse(
            wallet=answers.wallet_after(answer.move),
            entry=answers.entry_of(answer.move),
            replayed=answer.replayed,
        )

    async def Withdraw(self, request: pb.WithdrawRequest, context: Context) -> pb.WithdrawResponse:
        answer = await self._committer.wallet(requests.withdrawal(request))
        return pb.WithdrawResponse(
            wallet=answers.wallet_after(answer.move),
            entry=answers.entry_of(answer.move),
            replayed=answer.replayed,
        )

    async def ListWalletEntries(
        self, request: pb.ListWalletEntriesRequest, context: Context
    ) -> pb.ListWalletEntriesResponse:
        query = requests.entries_query(request)
        page = await self._reads.entries(query)
        if page is None:
            raise refusal(_NO_WALLET)
        before = page.next_before
        return pb.ListWalletEntriesResponse(
            entries=[answers.entry(entry, page.wallet.currency_code) for entry in page.entries],
            next_page_token=tokens.entry_token(before, query.wallet_id) if before is not None else "",
        )
