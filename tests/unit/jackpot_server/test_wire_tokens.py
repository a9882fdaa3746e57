"""Page tokens: they bring back the position, for the same list only."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackpot_server.queries import ContributionPosition, WinPosition
from jackpot_server.wire import tokens
from service_kit.page_tokens import seal

MOMENTS = st.datetimes(timezones=st.just(UTC))
LIST = ("demo", None, datetime(2026, 1, 1, tzinfo=UTC))


@given(MOMENTS, st.uuids())
def test_a_contribution_s_position_comes_back(moment: datetime, spin: UUID) -> None:
    position = ContributionPosition(moment, spin)
    assert tokens.contribution_position(tokens.contribution_token(position, *LIST), *LIST) == position


@given(MOMENTS, st.uuids(), st.integers(0, 2**31 - 1))
def test_a_win_s_position_comes_back(moment: datetime, spin: UUID, pool_key: int) -> None:
    position = WinPosition(moment, spin, pool_key)
    assert tokens.win_position(tokens.win_token(position, *LIST), *LIST) == position


@given(st.from_regex(r"[a-z][a-z0-9-]{1,31}", fullmatch=True))
def test_a_pool_s_position_comes_back(pool_id: str) -> None:
    token = tokens.pool_token(pool_id, *LIST)
    assert tokens.pool_position(token, *LIST) == pool_id
    assert token.isascii()
    assert "=" not in token


def test_a_token_is_good_for_its_own_list_only() -> None:
    token = tokens.pool_token("mini", "demo", "COIN")
    with pytest.raises(tokens.BadToken):
        tokens.pool_position(token, "demo", "EUR")


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_anything_else_is_refused(token: str) -> None:
    for read in (tokens.contribution_position, tokens.win_position, tokens.pool_position):
        with pytest.raises(tokens.BadToken):
            read(token, *LIST)


def test_a_forged_position_that_is_no_moment_is_refused() -> None:
    forged = seal(tokens._CONTRIBUTION.pack(2**62, bytes(16)), *LIST)
    with pytest.raises(tokens.BadToken):
        tokens.contribution_position(forged, *LIST)


def test_moments_of_other_time_zones_are_the_same_position() -> None:
    there = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    position = tokens.contribution_position(
        tokens.contribution_token(ContributionPosition(there, UUID(int=5)), *LIST), *LIST
    )
    assert position.record_time == there
