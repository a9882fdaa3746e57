"""Settles spins and answers their repeats: what a spin does to its wallet, or why it does nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime

from spin_server.domain.commands import Play, Settle, SpinCommand, SpinMethod, SpinTerms, StakeKind
from spin_server.domain.facts import NewSpin, Reason, Refused, SpinRecord
from spin_server.domain.game import Catalog, Game, GameCategory, payout_of
from spin_server.domain.wallet import MAX_BALANCE_MINOR, Wallet

# Where the callers find a field of SpinTerms in their request.
_REQUEST_FIELDS = {"currency_code": "wager.currency_code", "wager_minor": "wager.amount_minor"}


@dataclass(frozen=True, slots=True)
class Rules:
    """What decisions rest on besides the locked wallets."""

    catalog: Catalog
    # False: no spin takes part in a jackpot.
    jackpots_on: bool


def settle(
    command: SpinCommand, wallets: Mapping[str, Wallet], rules: Rules, now: datetime
) -> NewSpin | Refused:
    """Moves the wallet and returns the spin, or returns why not and changes nothing.

    `wallets` are the locked ones; a missing one does not exist. `now` is the database's clock, read after
    they were locked.
    """
    terms = command.terms
    game = rules.catalog.games.get(terms.game_id)
    if game is None:
        return Refused(Reason.GAME_NOT_FOUND, "There is no such game.")
    wallet = wallets.get(terms.wallet_id)
    if wallet is None:
        return Refused(Reason.WALLET_NOT_FOUND, "There is no such wallet.")
    refused = _refuse_terms(terms, game, wallet, rules.catalog)
    if refused is not None:
        return refused
    if isinstance(command, Settle):
        method, payout_minor = SpinMethod.SETTLE, command.payout_minor
    else:
        if command.multiplier_ppm is None:
            return Refused(Reason.GAME_DISABLED, "The game has no pay table: its provider settles its spins.")
        method, payout_minor = SpinMethod.PLAY, payout_of(terms.wager_minor, command.multiplier_ppm)
    if terms.wager_minor > wallet.balance_minor:
        return Refused(Reason.INSUFFICIENT_FUNDS, "The wallet does not hold the wager.")
    if not wallet.has_room_for(payout_minor - terms.wager_minor):
        return Refused(
            Reason.BALANCE_LIMIT_EXCEEDED, f"The payout would lift the wallet above {MAX_BALANCE_MINOR}."
        )
    first_entry = wallet.entry_count + 1
    if terms.wager_minor:
        wallet.move(-terms.wager_minor)
    if payout_minor:
        wallet.move(payout_minor)
    record = SpinRecord(
        terms=terms,
        method=method,
        game_category=game.category,
        payout_minor=payout_minor,
        balance_minor=wallet.balance_minor,
        has_jackpot=_takes_part(terms, game, wallet, rules),
        settle_time=now,
    )
    return NewSpin(record, first_entry)


def _refuse_terms(terms: SpinTerms, game: Game, wallet: Wallet, catalog: Catalog) -> Refused | None:
    if wallet.operator_id != terms.operator_id or wallet.user_id != terms.user_id:
        return Refused(Reason.WALLET_MISMATCH, "The wallet is not this user's.")
    if wallet.currency_code != terms.currency_code or game.currency_code != terms.currency_code:
        return Refused(
            Reason.CURRENCY_MISMATCH,
            f"The wallet holds {wallet.currency_code} and the game takes {game.currency_code}.",
        )
    if not game.enabled:
        return Refused(Reason.GAME_DISABLED, "The game is disabled.")
    free = terms.wager_minor == 0 and terms.stake_kind == StakeKind.FREE_ROUND
    if not free and not game.min_wager_minor <= terms.wager_minor <= game.max_wager_minor:
        return Refused(
            Reason.WAGER_OUT_OF_RANGE,
            f"The game takes wagers of {game.min_wager_minor} to {game.max_wager_minor} minor units.",
        )
    if terms.triggered_tiers and terms.provider_name not in catalog.tier_providers:
        return Refused(Reason.ROLE_REQUIRED, "The provider's games may not hit jackpot tiers.")
    return None


def _takes_part(terms: SpinTerms, game: Game, wallet: Wallet, rules: Rules) -> bool:
    """Whether the spin makes a contribution: SLOTS, a wager, a real player, and jackpots are on."""
    return (
        rules.jackpots_on
        and game.category is GameCategory.SLOTS
        and terms.wager_minor > 0
        and not wallet.is_test
    )


def answer_repeat(command: SpinCommand, first: SpinRecord) -> SpinRecord | Refused:
    """`first` if the command is the same request again, else SPIN_ID_REUSED with the fields that differ.

    Another operator's spin is not described. What a repeated PlaySpin drew does not count.
    """
    is_own = first.terms.operator_id == command.terms.operator_id
    if first.method is SpinMethod.VOIDED_AHEAD and is_own:
        return Refused(Reason.SPIN_VOIDED, "The spin was voided before it came.")
    different = _differences(command, first)
    if not different:
        return first
    if not is_own:
        different = []
    return Refused(Reason.SPIN_ID_REUSED, "The spin id belongs to another spin.", tuple(different))


def _differences(command: SpinCommand, first: SpinRecord) -> list[str]:
    different = []
    if isinstance(command, Play) != (first.method is SpinMethod.PLAY):
        different.append("method")
    if command.terms != first.terms:
        different += [
            _REQUEST_FIELDS.get(field.name, field.name)
            for field in fields(SpinTerms)
            if getattr(command.terms, field.name) != getattr(first.terms, field.name)
        ]
    if isinstance(command, Settle) and command.payout_minor != first.payout_minor:
        different.append("payout.amount_minor")
    return different
