"""What a spin does to its wallet, decided without a database."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spin_server.domain.commands import Play
from spin_server.domain.facts import NewSpin, Reason, Refused
from spin_server.domain.game import Catalog
from spin_server.domain.settle import Rules, settle
from spin_server.domain.wallet import MAX_BALANCE_MINOR, Wallet
from spin_server.games import load_games
from tests.integration.spin_server import commands

CATALOG = load_games(Path(__file__).parents[3] / "devstack/demo/games.toml")
SLOTS = CATALOG.games[commands.SLOTS]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def wallet(**fields: Any) -> Wallet:
    return replace(Wallet("w", "demo", "user-of-w", "COIN", 1_000, 3, False, NOW), **fields)


def decide(
    command: Any, of: Wallet, catalog: Catalog = CATALOG, jackpots_on: bool = True
) -> NewSpin | Refused:
    return settle(command, {of.wallet_id: of}, Rules(catalog, jackpots_on), NOW)


def with_game(**fields: Any) -> Catalog:
    return Catalog({SLOTS.game_id: replace(SLOTS, **fields)}, frozenset({"studio"}))


def refused_for(decision: NewSpin | Refused) -> Reason | None:
    return decision.reason if isinstance(decision, Refused) else None


@given(
    balance=st.integers(0, MAX_BALANCE_MINOR),
    wager=st.integers(0, 10**12),
    payout=st.integers(0, 10**12),
    stake_kind=st.sampled_from([1, 2, 3]),
)
def test_a_spin_moves_the_wallet_by_payout_less_wager_or_not_at_all(
    balance: int, wager: int, payout: int, stake_kind: int
) -> None:
    of = wallet(balance_minor=balance)
    catalog = with_game(max_wager_minor=10**12)
    spin = commands.settle(payout_minor=payout, wager_minor=wager, stake_kind=stake_kind)
    decision = decide(spin, of, catalog)
    if isinstance(decision, Refused):
        assert (of.balance_minor, of.entry_count) == (balance, 3)
        assert (
            wager > balance
            or balance - wager + payout > MAX_BALANCE_MINOR
            or (wager == 0 and stake_kind != 3)
        )
    else:
        assert of.balance_minor == decision.record.balance_minor == balance - wager + payout
        assert 0 <= of.balance_minor <= MAX_BALANCE_MINOR
        assert (decision.first_entry, of.entry_count) == (4, 3 + (wager > 0) + (payout > 0))


@pytest.mark.parametrize(
    ("command", "of", "catalog", "reason"),
    [
        (commands.settle(game_id="none"), wallet(), CATALOG, Reason.GAME_NOT_FOUND),
        (commands.settle(), wallet(wallet_id="other"), CATALOG, Reason.WALLET_NOT_FOUND),
        (commands.settle(), wallet(operator_id="rival"), CATALOG, Reason.WALLET_MISMATCH),
        (commands.settle(), wallet(user_id="rival"), CATALOG, Reason.WALLET_MISMATCH),
        (commands.settle(), wallet(currency_code="EUR"), CATALOG, Reason.CURRENCY_MISMATCH),
        (commands.settle(), wallet(), with_game(currency_code="EUR"), Reason.CURRENCY_MISMATCH),
        (commands.settle(), wallet(), with_game(enabled=False), Reason.GAME_DISABLED),
        (commands.play(multiplier_ppm=None), wallet(), with_game(pay_table=None), Reason.GAME_DISABLED),
        (commands.settle(), wallet(), with_game(min_wager_minor=101), Reason.WAGER_OUT_OF_RANGE),
        (commands.settle(stake_kind=3), wallet(), with_game(max_wager_minor=99), Reason.WAGER_OUT_OF_RANGE),
        (commands.settle(triggered_tiers="MINI"), wallet(), with_game(), Reason.ROLE_REQUIRED),
        (commands.settle(), wallet(balance_minor=99), CATALOG, Reason.INSUFFICIENT_FUNDS),
        (
            commands.settle(payout_minor=101),
            wallet(balance_minor=MAX_BALANCE_MINOR),
            CATALOG,
            Reason.BALANCE_LIMIT_EXCEEDED,
        ),
        (
            commands.settle(triggered_tiers="MINI", provider_name="studio"),
            wallet(),
            with_game(),
            None,
        ),
        (commands.settle(), wallet(balance_minor=100), CATALOG, None),
    ],
)
def test_a_spin_is_refused_for_its_first_reason(
    command: Any, of: Wallet, catalog: Catalog, reason: Reason | None
) -> None:
    assert refused_for(decide(command, of, catalog)) == reason


@pytest.mark.parametrize(
    ("fields", "of", "jackpots_on", "takes_part"),
    [
        ({}, wallet(), True, True),
        ({"stake_kind": 2}, wallet(), True, True),
        ({"stake_kind": 3}, wallet(), True, True),
        ({"game_id": commands.TABLE}, wallet(), True, False),
        ({"stake_kind": 3, "wager_minor": 0}, wallet(), True, False),
        ({}, wallet(is_test=True), True, False),
        ({}, wallet(), False, False),
    ],
)
def test_only_wagered_slots_spins_of_real_players_take_part_in_jackpots(
    fields: dict[str, Any], of: Wallet, jackpots_on: bool, takes_part: bool
) -> None:
    decision = decide(commands.settle(**fields), of, jackpots_on=jackpots_on)
    assert isinstance(decision, NewSpin)
    assert decision.record.has_jackpot is takes_part


def test_a_played_spin_pays_its_prize() -> None:
    decision = decide(Play(commands.terms(wager_minor=7), 5_000_000), wallet())
    assert isinstance(decision, NewSpin)
    assert decision.record.payout_minor == 35
