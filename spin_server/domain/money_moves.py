"""Wallets' own commands and jackpot wins: creating a wallet, and what moves its money besides spins."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime

from spin_server.domain.commands import CreateWallet, MoveMoney, WalletCommand, WalletMethod
from spin_server.domain.facts import Reason, Refused, WalletEntry, WalletRequest
from spin_server.domain.wallet import MAX_BALANCE_MINOR, EntryKind, Wallet


@dataclass(frozen=True, slots=True)
class WalletMove:
    """A wallet request that took effect, and the entry that it made; CreateWallet makes none."""

    request: WalletRequest
    create_time: datetime
    entry: WalletEntry | None

    @property
    def balance_minor(self) -> int:
        """The wallet right after the request."""
        return self.entry.balance_minor if self.entry else 0


def create_wallet(
    command: CreateWallet, wallets: MutableMapping[str, Wallet], now: datetime
) -> WalletMove | Refused:
    """Adds the new wallet to `wallets`, or returns why not."""
    if command.wallet_id in wallets:
        return Refused(Reason.WALLET_EXISTS, "There is a wallet with this id.")
    wallets[command.wallet_id] = Wallet(
        wallet_id=command.wallet_id,
        operator_id=command.operator_id,
        user_id=command.user_id,
        currency_code=command.currency_code,
        balance_minor=0,
        entry_count=0,
        is_test=command.is_test,
        create_time=now,
    )
    request = WalletRequest(
        request_id=command.request_id,
        method=WalletMethod.CREATE,
        wallet_id=command.wallet_id,
        operator_id=command.operator_id,
        user_id=command.user_id,
        currency_code=command.currency_code,
        amount_minor=0,
        is_test=command.is_test,
        entry_number=0,
        request_time=now,
    )
    return WalletMove(request, now, None)


def move_money(command: MoveMoney, wallets: Mapping[str, Wallet], now: datetime) -> WalletMove | Refused:
    """Moves the wallet and returns the entry, or returns why not and changes nothing."""
    wallet = wallets.get(command.wallet_id)
    if wallet is None:
        return Refused(Reason.WALLET_NOT_FOUND, "There is no such wallet.")
    if wallet.currency_code != command.currency_code:
        return Refused(Reason.CURRENCY_MISMATCH, f"The wallet holds {wallet.currency_code}.")
    deposit = command.method is WalletMethod.DEPOSIT
    amount_minor = command.amount_minor if deposit else -command.amount_minor
    if not wallet.has_room_for(amount_minor):
        if deposit:
            return Refused(
                Reason.BALANCE_LIMIT_EXCEEDED, f"It would lift the wallet above {MAX_BALANCE_MINOR}."
            )
        return Refused(Reason.INSUFFICIENT_FUNDS, "The wallet does not hold the amount.")
    entry = WalletEntry(
        wallet_id=wallet.wallet_id,
        entry_number=wallet.move(amount_minor),
        kind=EntryKind.DEPOSIT if deposit else EntryKind.WITHDRAWAL,
        amount_minor=amount_minor,
        balance_minor=wallet.balance_minor,
        entry_time=now,
        request_id=command.request_id,
    )
    request = WalletRequest(
        request_id=command.request_id,
        method=command.method,
        wallet_id=wallet.wallet_id,
        operator_id=wallet.operator_id,
        user_id=wallet.user_id,
        currency_code=wallet.currency_code,
        amount_minor=command.amount_minor,
        is_test=wallet.is_test,
        entry_number=entry.entry_number,
        request_time=now,
    )
    return WalletMove(request, wallet.create_time, entry)


def answer_repeated_request(
    command: WalletCommand, first: WalletMove, wallet: Wallet | None
) -> WalletMove | Refused:
    """`first` if the command is the same request again, else REQUEST_ID_REUSED with the fields that differ.

    `wallet` is the one that the command names, if it exists: a deposit tells its operator by it. Another
    operator's request is not described.
    """
    different = _differences(command, first.request)
    if not different:
        return first
    if isinstance(command, CreateWallet):
        operator_id: str | None = command.operator_id
    else:
        operator_id = wallet.operator_id if wallet else None
    if operator_id != first.request.operator_id:
        different = []
    return Refused(Reason.REQUEST_ID_REUSED, "The request id belongs to another request.", tuple(different))


def _differences(command: WalletCommand, first: WalletRequest) -> list[str]:
    if isinstance(command, CreateWallet):
        compared = {
            "wallet_id": command.wallet_id == first.wallet_id,
            "operator_id": command.operator_id == first.operator_id,
            "user_id": command.user_id == first.user_id,
            "currency_code": command.currency_code == first.currency_code,
            "is_test": command.is_test == first.is_test,
        }
        method = WalletMethod.CREATE
    else:
        compared = {
            "name": command.wallet_id == first.wallet_id,
            "amount.currency_code": command.currency_code == first.currency_code,
            "amount.amount_minor": command.amount_minor == first.amount_minor,
        }
        method = command.method
    if method is not first.method:
        return ["method"]
    return [name for name, same in compared.items() if not same]


def credit_win(
    win: str,
    operator_id: str,
    user_id: str,
    currency_code: str,
    amount_minor: int,
    wallet: Wallet | None,
    now: datetime,
) -> WalletEntry | str:
    """Puts a jackpot win into the wallet and returns the entry, or returns why the wallet cannot take it."""
    if wallet is None:
        return "there is no such wallet"
    if wallet.operator_id != operator_id or wallet.user_id != user_id:
        return "the wallet is not this user's"
    if wallet.currency_code != currency_code:
        return f"the wallet holds {wallet.currency_code}"
    if not wallet.has_room_for(amount_minor):
        return f"it would lift the wallet above {MAX_BALANCE_MINOR}"
    return WalletEntry(
        wallet_id=wallet.wallet_id,
        entry_number=wallet.move(amount_minor),
        kind=EntryKind.JACKPOT_WIN,
        amount_minor=amount_minor,
        balance_minor=wallet.balance_minor,
        entry_time=now,
        win=win,
    )
