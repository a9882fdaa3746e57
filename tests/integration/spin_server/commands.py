"""Commands with everything filled in, for tests that care about one field."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from spin_server.domain.commands import (
    CreateWallet,
    MoveMoney,
    Play,
    Settle,
    SpinTerms,
    StakeKind,
    WalletMethod,
)

SLOTS, TABLE = "demo-slots", "demo-table"


def terms(wallet_id: str = "w", **fields: Any) -> SpinTerms:
    plain = SpinTerms(
        spin_id=uuid4(),
        operator_id="demo",
        user_id=f"user-of-{wallet_id}",
        wallet_id=wallet_id,
        game_id=SLOTS,
        provider_name="house",
        provider_round_id="r1",
        currency_code="COIN",
        wager_minor=100,
        stake_kind=int(StakeKind.CASH),
        country_code="",
        client_seed="",
    )
    return replace(plain, **fields)


def settle(wallet_id: str = "w", payout_minor: int = 0, **fields: Any) -> Settle:
    return Settle(terms(wallet_id, **fields), payout_minor)


def play(wallet_id: str = "w", multiplier_ppm: int | None = 0, **fields: Any) -> Play:
    return Play(terms(wallet_id, **fields), multiplier_ppm)


def create(wallet_id: str = "w", **fields: Any) -> CreateWallet:
    plain = CreateWallet(uuid4(), wallet_id, "demo", f"user-of-{wallet_id}", "COIN", False)
    return replace(plain, **fields)


def deposit(wallet_id: str = "w", amount_minor: int = 10_000, request_id: UUID | None = None) -> MoveMoney:
    return MoveMoney(request_id or uuid4(), WalletMethod.DEPOSIT, wallet_id, "COIN", amount_minor)


def withdraw(wallet_id: str = "w", amount_minor: int = 100, request_id: UUID | None = None) -> MoveMoney:
    return MoveMoney(request_id or uuid4(), WalletMethod.WITHDRAW, wallet_id, "COIN", amount_minor)
