"""The bytes of a batch's answer are those of its messages."""

from dataclasses import replace
from datetime import timedelta

import grpc

from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.evidence import AuditHead
from jackpot_server.domain.facts import Recorded
from jackpot_server.domain.pool import Lifecycle
from jackpot_server.wire import answers
from jackpot_server.wire.results import encoded_results
from protos.jackpot.v1 import jackpot_pb2 as pb
from service_kit.errors import Refusal
from tests.support.engine import ALWAYS, START, Engine, pool_config, spin

REFUSAL = Refusal(grpc.StatusCode.ALREADY_EXISTS, "SPIN_ID_REUSED", "The spin id was used with other fields.")


def _engine() -> Engine:
    return Engine(
        {
            "plain": pool_config(reserve_ppm=500),
            "full": pool_config(ceiling_minor=1001, overflow_limit_minor=2, game_ids=("game", "other")),
            "falls": pool_config(ALWAYS, game_ids=("lucky",)),
            "euro": pool_config(min_wager_minor=150),
            "abroad": replace(pool_config(), currency_code="USD"),
        }
    )


def _varied(number: int) -> Contribute:
    """Spins that differ in every field which an answer shows."""
    command = spin(
        number,
        wager_minor=100 + number % 3 * 50,
        user_id=f"user-{number}",
        wallet_id=f"wallet-{number}",
        provider_round_id=f"round-{number}" if number % 2 else "",
        client_seed=f"seed-{number}" if number % 5 == 0 else "",
        game_id=("game", "other", "lucky", "third")[number % 4],
        provider_name=("house", "")[number % 2],
        country_code=("", "MT")[number % 2],
        occur_time=START + timedelta(microseconds=number) if number % 3 else None,
    )
    return command._replace(triggered_tiers=("MAJOR",)) if number % 7 == 0 else command


def _one_by_one(engine: Engine, results: list[Recorded | Exception]) -> pb.BatchRecordContributionsResponse:
    response = pb.BatchRecordContributionsResponse()
    for result in results:
        shown = response.results.add()
        if isinstance(result, Recorded):
            answers.fill_recorded(shown.recorded, result, engine.rules.catalog.labels)
        else:
            answers.fill_item_error(shown.error, result)
    return response


def _answered(engine: Engine, *commands: Contribute) -> list[Recorded | Exception]:
    """Answers of one batch, with a record of its own."""
    results: list[Recorded | Exception] = []
    for answer in engine.submit(*commands):
        assert isinstance(answer, Recorded)
        results.append(answer)
        answer.contribution.recording.head = AuditHead(1, len(engine.decisions), bytes(32))
    return results


def test_the_bytes_of_a_batch_are_those_of_its_messages() -> None:
    engine = _engine()
    results = _answered(engine, *(_varied(number) for number in range(60)))
    engine.set_state("plain", Lifecycle.PAUSED)
    results += _answered(engine, *(_varied(number) for number in range(60, 80)))
    engine.set_state("plain", Lifecycle.SHADOW)
    # Another batch: other heads, repeats among new ones, and a refusal.
    results += _answered(engine, *(_varied(number) for number in range(70, 100)))
    results.insert(5, REFUSAL)
    expected = _one_by_one(engine, results)
    assert encoded_results(results, engine.rules.catalog.labels) == expected.SerializeToString()
    shown = [result.recorded for result in expected.results]
    shares = [share for recorded in shown for share in recorded.contribution.shares]
    assert any(recorded.contribution.wins for recorded in shown)
    assert any(recorded.replayed for recorded in shown)
    assert any(share.overflow_micros for share in shares)
    assert any(share.skip_reason for share in shares)
    assert any(share.shadow for share in shares)


def test_nothing_is_answered_with_nothing() -> None:
    assert encoded_results([], {}) == b""
