"""The same again, and the same id with other fields."""

from datetime import UTC, datetime

import pytest

from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.facts import Recorded, WinState
from tests.support.engine import ALWAYS, Engine, credited, pool_config, spin


def test_a_repeat_gets_the_first_answer_and_changes_nothing() -> None:
    engine = Engine({"major": pool_config(ALWAYS)})
    [first] = engine.submit(spin(1))
    before, entries = engine.pool("major"), list(engine.entries)
    [again] = engine.submit(spin(1))
    assert isinstance(first, Recorded)
    assert isinstance(again, Recorded)
    assert again.replayed
    assert again.contribution == first.contribution
    assert [win.event_sequence for win in again.wins] == [1]
    assert engine.pool("major") == before
    assert engine.entries == entries


def test_a_repeat_shows_its_wins_as_they_are_now() -> None:
    engine = Engine({"major": pool_config(ALWAYS)})
    [first] = engine.submit(spin(1))
    assert isinstance(first, Recorded)
    engine.submit(credited(engine.wins["major", spin(1).spin_id]))
    [again] = engine.submit(spin(1))
    assert isinstance(again, Recorded)
    assert [win.state for win in again.wins] == [WinState.PAID]
    assert [win.amount_minor for win in again.wins] == [win.amount_minor for win in first.wins]


def test_a_repeat_in_the_batch_of_its_acknowledgement_shows_what_that_made_of_the_win() -> None:
    engine = Engine({"major": pool_config(ALWAYS)})
    engine.submit(spin(1))
    _, again = engine.decide([credited(engine.wins["major", spin(1).spin_id]), spin(1)])
    assert isinstance(again, Recorded)
    assert [(win.state, win.event_sequence) for win in again.wins] == [(WinState.PAID, 2)]


def test_the_second_of_two_equal_ids_in_one_batch_is_a_repeat() -> None:
    engine = Engine({"major": pool_config(ALWAYS)})
    first, again = engine.decide([spin(1), spin(1)])
    assert isinstance(first, Recorded)
    assert isinstance(again, Recorded)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.wins == first.wins
    assert first.wins[0].event_sequence == 1


def test_the_time_of_the_spin_is_not_compared() -> None:
    engine = Engine({"major": pool_config()})
    engine.submit(spin(1, occur_time=datetime(2026, 1, 1, tzinfo=UTC)))
    [again] = engine.submit(spin(1, occur_time=datetime(2026, 1, 2, tzinfo=UTC)))
    assert isinstance(again, Recorded)
    assert again.contribution.command.occur_time == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("user_id", "x", "user_id"),
        ("wallet_id", "x", "wallet_id"),
        ("provider_round_id", "x", "provider_round_id"),
        ("client_seed", "x", "client_seed"),
        ("wager_minor", 99, "wager"),
        ("currency_code", "USD", "wager"),
        ("game_category", 2, "game_category"),
        ("game_id", "x", "game_id"),
        ("provider_name", "x", "provider_name"),
        ("stake_kind", 2, "stake_kind"),
        ("country_code", "AT", "country_code"),
        ("triggered_tiers", ("MINI",), "triggered_tiers"),
    ],
)
def test_a_spin_id_with_another_field_is_refused_and_the_field_named(
    field: str, value: object, named: str
) -> None:
    engine = Engine({"major": pool_config()})
    engine.submit(spin(1))
    before = engine.pool("major")
    [refused] = engine.submit(spin(1, **{field: value}))  # type: ignore[arg-type]
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.fields) == (Reason.SPIN_ID_REUSED, (named,))
    assert engine.pool("major") == before


def test_fields_that_differ_are_named_once_each() -> None:
    engine = Engine({"major": pool_config()})
    engine.submit(spin(1))
    [refused] = engine.submit(spin(1, wager_minor=1, currency_code="USD", game_id="x"))
    assert isinstance(refused, Refused)
    assert sorted(refused.fields) == ["game_id", "wager"]


def test_no_field_is_named_to_another_operator() -> None:
    engine = Engine({"major": pool_config()})
    engine.submit(spin(1))
    [refused] = engine.submit(spin(1, operator_id="another", wager_minor=1))
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.fields) == (Reason.SPIN_ID_REUSED, ())
