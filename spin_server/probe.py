"""`python -m spin_server probe`: a quick test of a running system, as a game client sees it."""

import uuid
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import grpc
import grpc.aio

from jackpot_outbox.client import CallError, JackpotClient
from protos.spin.v1 import spin_pb2 as pb
from protos.spin.v1 import spin_pb2_grpc
from service_kit.money import format_micros, format_minor
from service_kit.quick_test import Account, impact, judge_times, why

CALL_TIMEOUT_S = 5.0
JACKPOT_TIMEOUT_S = 15.0
# What --fund puts in, in wagers of the probe.
FUND_SPINS = 1_000

_TITLES = {"async": "Asynchronous", "sync": "Synchronous", "off": "Off"}
_MODES = {
    "async": "asynchronous: the player was answered first",
    "sync": "synchronous: the answer waited for the jackpot",
    "off": "off: no jackpot is processed",
}
_States = pb.Spin.JackpotState


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """What to probe: where the servers are, who plays what, how often, and what is fast enough."""

    address: str
    jackpot_address: str
    operator_id: str
    user_id: str
    wallet_id: str
    slots_game: str
    table_game: str
    wager_minor: int
    count: int
    target_ms: float
    fund: bool


class Failed(Exception):
    """The test cannot go on; what failed is in the account."""


async def probe(plan: ProbePlan) -> Account:
    """Plays `2 * plan.count + 2` spins and says what came of them. Never raises for what it finds."""
    account = Account()
    async with grpc.aio.insecure_channel(plan.address) as channel:
        run = _Probe(plan, channel, account)
        try:
            await run.settings_call()
            mode = await run.server_info()
            await run.wallet()
            reached = mode == "off" or await _look_at_jackpot_server(plan, account)
            followed = await run.follow(mode) if reached else None
            slots_s, table_s = await run.pairs()
            if followed is not None:
                account.title = f"JACKPOT PROCESSING (Phase 4.5 - {_TITLES.get(mode, mode)})"
                account.block = _block(mode, followed, impact(slots_s, table_s))
        except Failed:
            pass
        except grpc.aio.AioRpcError as error:
            account.failed(f"a call failed: {why(error)}", f"the log of the spin server at {plan.address}")
    return account


class _Probe:
    """The calls of one quick test."""

    def __init__(self, plan: ProbePlan, channel: grpc.aio.Channel, account: Account) -> None:
        self._plan = plan
        self._account = account
        self._games = spin_pb2_grpc.GameServiceStub(channel)
        self._spins = spin_pb2_grpc.SpinServiceStub(channel)
        self._wallets = spin_pb2_grpc.WalletServiceStub(channel)
        self._currency = ""
        self._providers: dict[str, str] = {}

    async def settings_call(self) -> None:
        """Asks for both games, as a game client does first."""
        started = perf_counter()
        for game_id in (self._plan.slots_game, self._plan.table_game):
            try:
                request = pb.GetGameRequest(name=f"games/{game_id}")
                game = (await self._games.GetGame(request, timeout=CALL_TIMEOUT_S)).game
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    look_at = f"SPIN_GAMES_FILE, which has no game {game_id}; or name another one"
                else:
                    look_at = f"whether the spin server runs and listens at {self._plan.address}"
                self._account.failed(f"settings call failed: {why(error)}", look_at)
                raise Failed from error
            self._currency = game.currency_code
            self._providers[game_id] = game.provider_name
        self._account.passed(f"settings call successful ({(perf_counter() - started) * 1000:.1f} ms)")

    async def server_info(self) -> str:
        """The jackpot mode; notes whether the jackpot server is reached."""
        info = await self._spins.GetServerInfo(pb.GetServerInfoRequest(), timeout=CALL_TIMEOUT_S)
        self._account.figures["jackpot_mode"] = info.jackpot_mode
        if info.outbox_parked:
            self._account.failed(
                f"{info.outbox_parked} outbox rows are parked",
                "python -m jackpot_outbox list --parked: the jackpot server refused them for good",
            )
        return info.jackpot_mode

    async def wallet(self) -> None:
        """Makes sure that the wallet can pay; with --fund creates and fills it."""
        plan = self._plan
        needed = (2 * plan.count + 2) * plan.wager_minor
        name = f"wallets/{plan.wallet_id}"
        try:
            balance = (
                await self._wallets.GetWallet(pb.GetWalletRequest(name=name))
            ).wallet.balance.amount_minor
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            if not plan.fund:
                self._account.failed(f"there is no {name}", "--wallet and --fund, which creates and fills it")
                raise Failed from error
            await self._create_wallet()
            balance = 0
        if balance < needed and plan.fund:
            await self._deposit(name, FUND_SPINS * plan.wager_minor + needed)
        elif balance < needed:
            held, wanted = (format_minor(minor, self._currency) for minor in (balance, needed))
            self._account.failed(
                f"{name} holds {held}, the test stakes {wanted}", "--fund, or a smaller --count"
            )
            raise Failed

    async def follow(self, mode: str) -> pb.Spin:
        """One spin of each game to its end; the SLOTS spin as it is then."""
        at_once, slots = await self._followed(self._plan.slots_game)
        _, table = await self._followed(self._plan.table_game)
        expected = _States.JACKPOT_STATE_NOT_APPLICABLE if mode == "off" else _States.JACKPOT_STATE_RECORDED
        if slots.jackpot_state != expected:
            state = _States.Name(slots.jackpot_state).removeprefix("JACKPOT_STATE_")
            self._account.failed(
                f"the jackpot of the SLOTS spin is {state} after {JACKPOT_TIMEOUT_S:g} s",
                f"whether a jackpot server runs at {self._plan.jackpot_address}; the outbox sends until then",
            )
            raise Failed
        if mode == "async":
            if at_once != _States.JACKPOT_STATE_PENDING:
                self._account.failed("the spin's answer waited for its jackpot", "SPIN_JACKPOT_MODE")
            else:
                self._account.passed("jackpot was started asynchronously, after the spin's answer")
        elif mode == "sync":
            self._account.passed("jackpot was processed before the answer (sync mode)")
        else:
            self._account.passed("jackpots are off: the spin has none")
        if table.jackpot_state != _States.JACKPOT_STATE_NOT_APPLICABLE:
            self._account.failed(
                "the TABLE spin has a jackpot", f"the category of games/{self._plan.table_game}"
            )
        return slots

    async def pairs(self) -> tuple[list[float], list[float]]:
        """SLOTS and TABLE in turn: how long each caller waited."""
        plan = self._plan
        times: dict[str, list[float]] = {plan.slots_game: [], plan.table_game: []}
        for _ in range(plan.count):
            for game_id, seconds in times.items():
                started = perf_counter()
                await self._settle(game_id)
                seconds.append(perf_counter() - started)
        slots_s, table_s = times.values()
        judge_times(self._account, "SLOTS spins", slots_s, plan.target_ms)
        judge_times(self._account, "TABLE spins", table_s, plan.target_ms)
        self._account.figures["impact_ms"] = (median(slots_s) - median(table_s)) * 1000
        return slots_s, table_s

    async def _followed(self, game_id: str) -> tuple[pb.Spin.JackpotState.ValueType, pb.Spin]:
        """One spin: its jackpot's state in the answer, and the spin once its jackpot was processed."""
        started = perf_counter()
        spin = (await self._settle(game_id)).spin
        took_ms = (perf_counter() - started) * 1000
        category = pb.GameCategory.Name(spin.game_category).removeprefix("GAME_CATEGORY_")
        self._account.passed(f"{category} spin completed in {took_ms:.2f} ms")
        request = pb.WaitForJackpotRequest(name=spin.name)
        request.timeout.FromMilliseconds(int(JACKPOT_TIMEOUT_S * 1000))
        answer = await self._spins.WaitForJackpot(request, timeout=JACKPOT_TIMEOUT_S + 1)
        return spin.jackpot_state, answer.spin

    async def _settle(self, game_id: str) -> pb.SettleSpinResponse:
        """One spin that loses; what a wallet then holds follows from the number of spins."""
        plan = self._plan
        spin_id = str(uuid.uuid4())
        request = pb.SettleSpinRequest(
            spin_id=spin_id,
            operator_id=plan.operator_id,
            user_id=plan.user_id,
            wallet_id=plan.wallet_id,
            game_id=game_id,
            provider_name=self._providers[game_id],
            provider_round_id=f"probe-{spin_id}",
            wager=pb.Money(currency_code=self._currency, amount_minor=plan.wager_minor),
            payout=pb.Money(currency_code=self._currency, amount_minor=0),
        )
        try:
            return await self._spins.SettleSpin(request, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            look_at = {
                grpc.StatusCode.FAILED_PRECONDITION: f"wallet {plan.wallet_id}, its owner and its balance",
                grpc.StatusCode.UNAVAILABLE: "the spin server's database, and its log",
            }.get(error.code(), f"the log of the spin server at {plan.address}")
            self._account.failed(f"a spin of {game_id} failed: {why(error)}", look_at)
            raise Failed from error

    async def _create_wallet(self) -> None:
        plan = self._plan
        await self._wallets.CreateWallet(
            pb.CreateWalletRequest(
                request_id=str(uuid.uuid4()),
                wallet_id=plan.wallet_id,
                operator_id=plan.operator_id,
                user_id=plan.user_id,
                currency_code=self._currency,
            ),
            timeout=CALL_TIMEOUT_S,
        )

    async def _deposit(self, name: str, amount_minor: int) -> None:
        amount = pb.Money(currency_code=self._currency, amount_minor=amount_minor)
        await self._wallets.Deposit(
            pb.DepositRequest(request_id=str(uuid.uuid4()), name=name, amount=amount), timeout=CALL_TIMEOUT_S
        )


async def _look_at_jackpot_server(plan: ProbePlan, account: Account) -> bool:
    """Whether it answers; and which cache is in use, as the cache itself says."""
    client = JackpotClient(plan.jackpot_address)
    try:
        info = await client.server_info(CALL_TIMEOUT_S)
    except CallError as error:
        account.failed(
            f"the jackpot server does not answer: {error.code.name}",
            f"whether it runs and listens at {plan.jackpot_address}; spins go on without it",
        )
        return False
    finally:
        await client.close()
    if info.cache_reachable:
        account.passed(f"cache in use: {info.cache_kind} {info.cache_version}, as it says itself")
    else:
        account.failed(
            "the cache does not answer",
            "JACKPOT_CACHE_URL and the server that it names; pools are read from the database meanwhile",
        )
    return True


def _block(mode: str, spin: pb.Spin, performance: str) -> dict[str, str]:
    currency = spin.wager.currency_code
    total = sum(share.amount_micros for share in spin.jackpot_shares)
    wins = [f"{format_minor(win.amount.amount_minor, currency)} from {win.tier}" for win in spin.jackpot_wins]
    return {
        "Processing Mode": _MODES.get(mode, mode),
        "Jackpot Contributions": str(len(spin.jackpot_shares)),
        "Total Contribution": format_micros(total, currency),
        "Jackpot Win": ", ".join(wins) or "none",
        "Performance Impact": performance,
    }
