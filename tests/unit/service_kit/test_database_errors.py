"""What an error says about the outcome (P1)."""

import asyncio

import asyncpg
import pytest
from asyncpg import exceptions

from service_kit.database import Trouble, classify, failure_of
from service_kit.errors import Failure


def postgres_error(sqlstate: str) -> asyncpg.PostgresError:
    """As the driver makes it of the server's message; of its own class if it knows the state."""
    error: asyncpg.PostgresError = exceptions.PostgresError.new({"C": sqlstate, "M": "…"})
    return error


@pytest.mark.parametrize(
    ("sqlstate", "trouble"),
    [
        ("55P03", Trouble.LOCK_TIMEOUT),  # lock_not_available
        ("57014", Trouble.LOCK_TIMEOUT),  # query_canceled: statement_timeout
        ("23505", Trouble.CONFLICT),  # unique_violation
        ("40P01", Trouble.CONFLICT),  # deadlock_detected
        ("40001", Trouble.CONFLICT),  # serialization_failure
        ("22003", Trouble.POISON),  # numeric_value_out_of_range
        ("22P02", Trouble.POISON),  # invalid_text_representation
        ("23514", Trouble.POISON),  # check_violation
        ("23503", Trouble.POISON),  # foreign_key_violation
        ("21000", Trouble.POISON),  # cardinality_violation (P3)
        ("42601", Trouble.POISON),  # syntax_error
        ("42501", Trouble.POISON),  # insufficient_privilege
        ("P0001", Trouble.POISON),  # raise_exception
        ("57P01", Trouble.UNKNOWN),  # admin_shutdown
        ("57P02", Trouble.UNKNOWN),  # crash_shutdown
        ("57P03", Trouble.UNKNOWN),  # cannot_connect_now
        ("08006", Trouble.UNKNOWN),  # connection_failure
        ("40003", Trouble.UNKNOWN),  # statement_completion_unknown
        ("25006", Trouble.UNKNOWN),  # read_only_sql_transaction: a standby after a failover
        ("25P03", Trouble.UNKNOWN),  # idle_in_transaction_session_timeout
        ("53100", Trouble.UNKNOWN),  # disk_full
        ("53300", Trouble.UNKNOWN),  # too_many_connections
        ("XX000", Trouble.UNKNOWN),  # internal_error
        ("99999", Trouble.UNKNOWN),  # what nobody knows
    ],
)
def test_a_state_of_the_server(sqlstate: str, trouble: Trouble) -> None:
    assert classify(postgres_error(sqlstate)) is trouble


@pytest.mark.parametrize(
    "error",
    [
        OSError(),
        ConnectionResetError(),
        TimeoutError(),
        asyncio.CancelledError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("got result for unknown protocol state"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        exceptions.TargetServerAttributeNotMatched("no read-write server"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_trouble_on_the_way_says_nothing_about_the_outcome(error: BaseException) -> None:
    assert classify(error) is Trouble.UNKNOWN


def test_a_plan_older_than_a_migration_is_made_anew() -> None:
    error = asyncpg.InvalidCachedStatementError("cached statement plan is invalid")
    assert classify(error) is Trouble.CONFLICT


def test_a_value_that_cannot_be_sent_is_poison() -> None:
    assert classify(asyncpg.DataError("invalid input for query argument $1")) is Trouble.POISON


@pytest.mark.parametrize(
    "error", [OSError(), TimeoutError(), postgres_error("57P01"), postgres_error("55P03")]
)
def test_a_read_that_the_database_did_not_answer_may_be_repeated(error: Exception) -> None:
    failure = failure_of(error)
    assert isinstance(failure, Failure)
    assert failure.reason == "DATABASE_UNAVAILABLE"


@pytest.mark.parametrize(
    "error", [postgres_error("42601"), postgres_error("22003"), ValueError(), KeyError("x")]
)
def test_a_bug_is_not_blamed_on_the_database(error: Exception) -> None:
    assert failure_of(error) is None
