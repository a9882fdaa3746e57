"""Facts to answers."""

from datetime import UTC, datetime
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from protos.spin.v1 import spin_pb2 as pb
from spin_server.credit import entry_id
from spin_server.domain.commands import SpinMethod
from spin_server.domain.facts import JackpotState, JackpotView, SettledSpin, WalletEntry
from spin_server.domain.game import Game
from spin_server.domain.money_moves import WalletMove
from spin_server.domain.wallet import Wallet

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S: Final = 86_400


def timing(entered_ns: int, queued_ns: int, began_ns: int, committed_ns: int, done_ns: int) -> pb.Timing:
    """Where a call's time went: waiting for its batch to begin, the batch, the jackpot, everything."""
    began_ns = max(began_ns, queued_ns)  # it may have joined an equal call that was already being written
    return pb.Timing(
        queue_micros=(began_ns - queued_ns) // 1000,
        commit_micros=(committed_ns - began_ns) // 1000,
        total_micros=(done_ns - entered_ns) // 1000,
        jackpot_micros=(done_ns - committed_ns) // 1000,
    )


def spin(settled: SettledSpin) -> pb.Spin:
    """A spin and its jackpot as of now."""
    record = settled.record
    terms = record.terms
    spin_id = str(terms.spin_id)
    if record.method is SpinMethod.VOIDED_AHEAD:
        return pb.Spin(name="spins/" + spin_id, spin_id=spin_id, state=pb.Spin.STATE_VOIDED)
    message = pb.Spin(
        name="spins/" + spin_id,
        spin_id=spin_id,
        operator_id=terms.operator_id,
        user_id=terms.user_id,
        wallet_id=terms.wallet_id,
        game_id=terms.game_id,
        game_category=record.game_category,  # type: ignore[arg-type]
        provider_name=terms.provider_name,
        provider_round_id=terms.provider_round_id,
        wager=_money(terms.currency_code, terms.wager_minor),
        payout=_money(terms.currency_code, record.payout_minor),
        stake_kind=terms.stake_kind,  # type: ignore[arg-type]
        country_code=terms.country_code,
        client_seed=terms.client_seed,
        balance=_money(terms.currency_code, record.balance_minor),
        settle_time=stamp(record.settle_time),
        state=pb.Spin.STATE_VOIDED if settled.is_voided else pb.Spin.STATE_SETTLED,
        jackpot_state=settled.jackpot.state,  # type: ignore[arg-type]
    )
    if terms.triggered_tiers:
        message.triggered_tiers.extend(terms.triggered_tiers.split(","))
    if settled.jackpot.state is not JackpotState.NOT_APPLICABLE:
        _fill_jackpot(message, settled.jackpot)
    return message


def _fill_jackpot(message: pb.Spin, jackpot: JackpotView) -> None:
    for share in jackpot.shares:
        message.jackpot_shares.add(pool=share.pool, tier=share.tier, amount_micros=share.amount_micros)
    for win in jackpot.wins:
        message.jackpot_wins.add(
            win=win.win,
            pool=win.pool,
            tier=win.tier,
            amount=_money(win.currency_code, win.amount_minor),
            state=win.state,
        )


def game(game: Game) -> pb.Game:
    """A game with its pay table."""
    prizes = game.pay_table.prizes if game.pay_table else ()
    return pb.Game(
        name=f"games/{game.game_id}",
        game_id=game.game_id,
        display_name=game.display_name,
        game_category=game.category,  # type: ignore[arg-type]
        provider_name=game.provider_name,
        currency_code=game.currency_code,
        min_wager_minor=game.min_wager_minor,
        max_wager_minor=game.max_wager_minor,
        enabled=game.enabled,
        return_ppm=game.return_ppm,
        pay_table=[pb.Prize(multiplier_ppm=prize.multiplier_ppm, weight=prize.weight) for prize in prizes],
    )


def wallet(wallet: Wallet) -> pb.Wallet:
    """A wallet as it is now."""
    return pb.Wallet(
        name=f"wallets/{wallet.wallet_id}",
        wallet_id=wallet.wallet_id,
        operator_id=wallet.operator_id,
        user_id=wallet.user_id,
        balance=_money(wallet.currency_code, wallet.balance_minor),
        is_test=wallet.is_test,
        create_time=stamp(wallet.create_time),
    )


def wallet_after(move: WalletMove) -> pb.Wallet:
    """A wallet as a request left it."""
    request = move.request
    return pb.Wallet(
        name=f"wallets/{request.wallet_id}",
        wallet_id=request.wallet_id,
        operator_id=request.operator_id,
        user_id=request.user_id,
        balance=_money(request.currency_code, move.balance_minor),
        is_test=request.is_test,
        create_time=stamp(move.create_time),
    )


def entry(entry: WalletEntry, currency_code: str) -> pb.WalletEntry:
    """One movement of a wallet of that currency."""
    return pb.WalletEntry(
        entry_id=entry_id(entry.wallet_id, entry.entry_number),
        kind=entry.kind,  # type: ignore[arg-type]
        amount=_money(currency_code, entry.amount_minor),
        balance=_money(currency_code, entry.balance_minor),
        reference=_reference(entry),
        entry_time=stamp(entry.entry_time),
    )


def entry_of(move: WalletMove) -> pb.WalletEntry | None:
    """The movement that a request made, if it made one."""
    return entry(move.entry, move.request.currency_code) if move.entry else None


def duration(seconds: float) -> Duration:
    """A span of time on the wire, to the millisecond."""
    span = Duration()
    span.FromMilliseconds(round(seconds * 1000))
    return span


def _reference(entry: WalletEntry) -> str:
    if entry.spin_id is not None:
        return f"spins/{entry.spin_id}"
    return entry.win if entry.win is not None else str(entry.request_id)


def _money(currency_code: str, amount_minor: int) -> pb.Money:
    return pb.Money(currency_code=currency_code, amount_minor=amount_minor)


def stamp(moment: datetime) -> Timestamp:
    """A moment on the wire, to the microsecond."""
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * _DAY_S + since.seconds, nanos=since.microseconds * 1000)
