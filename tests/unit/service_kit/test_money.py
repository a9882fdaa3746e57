"""Amounts are whole numbers, and stay exact."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_kit.money import (
    CURRENCIES,
    MAX_AMOUNT_MINOR,
    MICROS,
    Currencies,
    format_micros,
    format_minor,
    share_micros,
    whole_minor,
)

PPM = 1_000_000


def test_a_one_cent_bet_contributes() -> None:
    """PR-01."""
    assert share_micros(1, 1500) == 1500


@given(
    st.lists(st.integers(0, MAX_AMOUNT_MINOR), max_size=20),
    st.integers(0, PPM),
)
def test_a_share_is_exact_and_adds_up(wagers: list[int], rate_ppm: int) -> None:
    """PR-01: what many bets give is what one bet of their sum gives."""
    assert sum(share_micros(wager, rate_ppm) for wager in wagers) == share_micros(sum(wagers), rate_ppm)


@given(st.integers(0, MAX_AMOUNT_MINOR), st.integers(0, PPM))
def test_a_share_is_that_part_of_the_wager(wager_minor: int, rate_ppm: int) -> None:
    exact = Decimal(wager_minor) * rate_ppm / PPM
    assert Decimal(share_micros(wager_minor, rate_ppm)) / MICROS == exact


@given(st.integers(0, 4 * 10**18))
def test_whole_units_and_the_fraction_are_all_there_is(micros: int) -> None:
    """PR-03."""
    paid = whole_minor(micros)
    assert 0 <= micros - paid * MICROS < MICROS


def test_the_list_is_iso_4217s_with_its_digits() -> None:
    assert [CURRENCIES.digits(code) for code in ("EUR", "JPY", "BHD", "CLF", "COIN")] == [2, 0, 3, 4, 2]
    for code in ("", "eur", "EURO", "XXX", "XTS", "HRK", "DEM", None, 978):
        assert code not in CURRENCIES


def test_a_declared_currency_is_known_to_who_declared_it() -> None:
    currencies = Currencies({"GEMS": 0})
    assert "GEMS" in currencies
    assert "GEMS" not in CURRENCIES
    assert format_minor(1234, "GEMS", currencies) == "1,234 GEMS"


@pytest.mark.parametrize(
    ("code", "digits", "why"),
    [
        ("EUR", 2, "ISO 4217"),
        ("coin", 2, "capital letters"),
        ("TOOLONGCODE", 2, "capital letters"),
        ("COIN\n", 2, "capital letters"),
        ("GEMS", 7, "0 to 6"),
    ],
)
def test_a_wrong_declaration_is_refused(code: str, digits: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Currencies({code: digits})


@pytest.mark.parametrize(
    ("amount_minor", "code", "shown"),
    [
        (0, "EUR", "0.00 EUR"),
        (7, "COIN", "0.07 COIN"),
        (123_456_789, "EUR", "1,234,567.89 EUR"),
        (-5, "EUR", "-0.05 EUR"),
        (1500, "JPY", "1,500 JPY"),
        (1500, "BHD", "1.500 BHD"),
        (1500, "???", "15.00 ???"),
    ],
)
def test_amounts_are_shown_in_their_currency(amount_minor: int, code: str, shown: str) -> None:
    assert format_minor(amount_minor, code) == shown


def test_accounts_are_shown_to_the_last_micro() -> None:
    assert format_micros(1_234_567_000_001, "COIN") == "12,345.67000001 COIN"
    assert format_micros(1, "JPY") == "0.000001 JPY"
