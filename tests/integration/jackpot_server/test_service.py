"""jackpot.v1 as a caller sees it."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from protos.jackpot.v1 import jackpot_pb2 as pb
from tests.integration.jackpot_server.serving import (
    POOLS,
    Client,
    apply_pools,
    coins,
    contribution,
    credited,
    error_of,
    serving,
)
from tests.support.waiting import eventually


@pytest.fixture
async def client(jackpots_dsn: str) -> AsyncIterator[Client]:
    async with serving(jackpots_dsn) as client:
        yield client


@pytest.fixture
async def empty_pools(jackpots_dsn: str) -> AsyncIterator[Client]:
    async with serving(jackpots_dsn, pools=None) as client:
        yield client


class TestRecording:
    async def test_a_contribution_is_answered_in_full(self, client: Client) -> None:
        request = contribution(
            wager=coins(250),
            country_code="MT",
            client_seed="my lucky seed",
            triggered_tiers=["A", "B"],
            stake_kind=pb.STAKE_KIND_CASH,
            occur_time=Timestamp(seconds=1_700_000_000, nanos=123_456_000),
        )
        response = await client.jackpots.RecordContribution(request)
        answer = response.contribution
        assert not response.replayed
        assert answer.name == f"contributions/{request.spin_id}"
        for field in request.DESCRIPTOR.fields:
            assert getattr(answer, field.name) == getattr(request, field.name), field.name
        assert answer.state == pb.Contribution.STATE_RECORDED
        assert answer.record_time.seconds > 1_700_000_000
        assert 1 <= answer.audit_head.chain <= 8
        assert (answer.audit_head.sequence > 0, len(answer.audit_head.sha256)) == (True, 32)
        grand, mini = sorted(answer.shares, key=lambda share: share.pool)
        assert (mini.pool, mini.tier, mini.cycle) == ("pools/mini", "MINI", 1)
        assert (mini.amount_micros, mini.reserve_micros) == (250 * 10_000, 250 * 5_000)
        assert mini.balance_micros == 100_000_000 + 250 * 10_000
        assert (grand.pool, grand.amount_micros) == ("pools/grand", 250 * 20_000)
        assert len(answer.wins) == 0

    async def test_a_repeat_gets_the_first_answer(self, client: Client) -> None:
        request = contribution()
        first = await client.jackpots.RecordContribution(request)
        request.occur_time.GetCurrentTime()
        again = await client.jackpots.RecordContribution(request)
        assert again.replayed
        assert again.contribution == first.contribution

    async def test_another_wager_under_the_same_id_is_refused_by_name(self, client: Client) -> None:
        request = contribution()
        await client.jackpots.RecordContribution(request)
        request.wager.amount_minor += 1
        request.user_id = "somebody-else"
        error = await error_of(client.jackpots.RecordContribution(request))
        assert (error.code, error.reason, error.domain) == ("ALREADY_EXISTS", "SPIN_ID_REUSED", "jackpot.v1")
        assert set(error.metadata["fields"].split(",")) == {"wager", "user_id"}

    async def test_an_upper_case_spin_id_is_the_same_spin(self, client: Client) -> None:
        request = contribution()
        await client.jackpots.RecordContribution(request)
        request.spin_id = request.spin_id.upper()
        assert (await client.jackpots.RecordContribution(request)).replayed

    async def test_an_unspecified_stake_kind_is_shown_as_cash_and_equals_it(self, client: Client) -> None:
        request = contribution()
        response = await client.jackpots.RecordContribution(request)
        assert response.contribution.stake_kind == pb.STAKE_KIND_CASH
        request.stake_kind = pb.STAKE_KIND_CASH
        assert (await client.jackpots.RecordContribution(request)).replayed

    async def test_a_win_is_in_the_answer(self, client: Client) -> None:
        request = contribution(operator_id="winner", wallet_id="w-9")
        response = await client.jackpots.RecordContribution(request)
        (win,) = response.contribution.wins
        assert win.name == f"pools/sure/wins/{request.spin_id}"
        assert (win.pool, win.tier, win.cycle) == ("pools/sure", "SURE", 1)
        assert (win.operator_id, win.user_id, win.wallet_id) == ("winner", "player", "w-9")
        assert win.amount == coins(50)
        assert (win.state, win.event_sequence) == (pb.Win.STATE_PAYABLE, 1)
        assert win.decide_time == response.contribution.record_time
        assert not win.HasField("pay_time")


class TestBatches:
    async def test_each_item_has_its_own_result(self, client: Client) -> None:
        known = contribution()
        await client.jackpots.RecordContribution(known)
        reused = contribution(spin_id=known.spin_id, game_id="other")
        requests = [
            contribution(operator_id="winner"),
            contribution(spin_id="nonsense", wager=pb.Money(currency_code="XYZ", amount_minor=-1)),
            known,
            reused,
            contribution(),
        ]
        batch = pb.BatchRecordContributionsRequest(requests=requests)
        results = (await client.jackpots.BatchRecordContributions(batch)).results
        assert [result.WhichOneof("outcome") for result in results] == [
            "recorded",
            "error",
            "recorded",
            "error",
            "recorded",
        ]
        for index in (0, 2, 4):
            assert results[index].recorded.contribution.spin_id == requests[index].spin_id
        assert [results[index].recorded.replayed for index in (0, 2, 4)] == [False, True, False]
        assert len(results[0].recorded.contribution.wins) == 1
        malformed, conflicting = results[1].error, results[3].error
        assert (malformed.code, malformed.reason) == (3, "INVALID_FIELDS")
        assert list(malformed.fields) == ["spin_id", "wager.currency_code", "wager.amount_minor"]
        assert malformed.message
        assert (conflicting.code, conflicting.reason) == (6, "SPIN_ID_REUSED")

    async def test_the_second_of_two_equal_ids_is_a_replay(self, client: Client) -> None:
        request = contribution()
        batch = pb.BatchRecordContributionsRequest(requests=[request, contribution(), request])
        results = (await client.jackpots.BatchRecordContributions(batch)).results
        assert [result.recorded.replayed for result in results] == [False, False, True]
        assert results[0].recorded.contribution == results[2].recorded.contribution

    async def test_five_hundred_are_taken_and_five_hundred_and_one_are_not(self, client: Client) -> None:
        batch = pb.BatchRecordContributionsRequest(requests=[contribution() for _ in range(500)])
        response = await client.jackpots.BatchRecordContributions(batch)
        assert all(result.HasField("recorded") for result in response.results)
        batch.requests.append(contribution())
        error = await error_of(client.jackpots.BatchRecordContributions(batch))
        assert (error.code, error.reason, error.fields) == (
            "INVALID_ARGUMENT",
            "INVALID_FIELDS",
            ["requests"],
        )

    async def test_an_empty_call_has_no_results(self, client: Client) -> None:
        response = await client.jackpots.BatchRecordContributions(pb.BatchRecordContributionsRequest())
        assert len(response.results) == 0


class TestReadingContributions:
    async def test_what_was_answered_can_be_read_again(self, client: Client) -> None:
        recorded = await client.record(operator_id="winner", client_seed="é", country_code="DE")
        name = recorded.contribution.name
        got = await client.jackpots.GetContribution(pb.GetContributionRequest(name=name))
        assert got.contribution == recorded.contribution
        upper = f"contributions/{recorded.contribution.spin_id.upper()}"
        assert (await client.jackpots.GetContribution(pb.GetContributionRequest(name=upper))) == got

    async def test_what_is_not_there_is_not_found(self, client: Client) -> None:
        name = f"contributions/{uuid4()}"
        error = await error_of(client.jackpots.GetContribution(pb.GetContributionRequest(name=name)))
        assert (error.code, error.reason) == ("NOT_FOUND", "CONTRIBUTION_NOT_FOUND")

    async def test_many_are_read_at_once_and_the_missing_are_named(self, client: Client) -> None:
        first, second = await client.record(), await client.record()
        missing = f"contributions/{uuid4()}"
        names = [second.contribution.name, missing, first.contribution.name, second.contribution.name]
        got = await client.jackpots.BatchGetContributions(pb.BatchGetContributionsRequest(names=names))
        assert list(got.contributions) == [second.contribution, first.contribution]
        assert list(got.missing_names) == [missing]

    async def test_an_operator_s_contributions_are_listed_in_order_page_by_page(self, client: Client) -> None:
        batch = [contribution() for _ in range(7)] + [contribution(operator_id="other") for _ in range(3)]
        await client.jackpots.BatchRecordContributions(pb.BatchRecordContributionsRequest(requests=batch))
        for _ in range(3):
            await client.record()
        request = pb.ListContributionsRequest(operator_id="demo", page_size=4)
        listed: list[pb.Contribution] = []
        pages = 0
        while True:
            page = await client.jackpots.ListContributions(request)
            listed.extend(page.contributions)
            pages += 1
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert pages == 3
        order = [(one.record_time.ToNanoseconds(), one.spin_id) for one in listed]
        assert order == sorted(order)
        assert len({one.spin_id for one in listed}) == 10
        assert {one.operator_id for one in listed} == {"demo"}

    async def test_a_period_ends_before_its_end(self, client: Client) -> None:
        recorded = [(await client.record()).contribution for _ in range(3)]
        times = [one.record_time for one in recorded]
        listed = await client.jackpots.ListContributions(
            pb.ListContributionsRequest(operator_id="demo", start_time=times[1], end_time=times[2])
        )
        assert [one.spin_id for one in listed.contributions] == [recorded[1].spin_id]

    async def test_a_page_that_would_be_too_large_is_shorter(self, client: Client) -> None:
        """A thousand contributions of the largest size do not fit into 4 MiB."""
        wide = dict.fromkeys(("user_id", "wallet_id", "game_id", "provider_name"), "x" * 64)
        tiers = [f"{number:064}" for number in range(16)]
        batch = [
            contribution(**wide, provider_round_id="r" * 128, client_seed="s" * 64, triggered_tiers=tiers)
            for _ in range(500)
        ]
        for part in range(0, 500, 100):
            await client.jackpots.BatchRecordContributions(
                pb.BatchRecordContributionsRequest(requests=batch[part : part + 100])
            )
        for _ in range(4):
            for again in batch:
                again.spin_id = str(uuid4())
            await client.jackpots.BatchRecordContributions(pb.BatchRecordContributionsRequest(requests=batch))
        request = pb.ListContributionsRequest(operator_id="demo", page_size=1000)
        seen: set[str] = set()
        while True:
            page = await client.jackpots.ListContributions(request)
            assert page.ByteSize() < 4 * 1024 * 1024
            seen.update(one.spin_id for one in page.contributions)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert len(seen) == 2500

    async def test_a_token_of_another_list_is_refused(self, client: Client) -> None:
        for _ in range(2):
            await client.record()
        page = await client.jackpots.ListContributions(
            pb.ListContributionsRequest(operator_id="demo", page_size=1)
        )
        error = await error_of(
            client.jackpots.ListContributions(
                pb.ListContributionsRequest(operator_id="other", page_token=page.next_page_token)
            )
        )
        assert error.fields == ["page_token"]


class TestWins:
    async def test_a_win_is_read_as_it_is_now(self, client: Client) -> None:
        win = await client.win()
        assert (await client.jackpots.GetWin(pb.GetWinRequest(name=win.name))).win == win
        paid = (await client.jackpots.AcknowledgeWin(credited(win))).win
        assert (paid.state, paid.wallet_entry_id, paid.event_sequence) == (pb.Win.STATE_PAID, "w:1", 2)
        assert paid.HasField("pay_time")
        assert (await client.jackpots.GetWin(pb.GetWinRequest(name=win.name))).win == paid
        name = f"contributions/{win.spin_id}"
        read = await client.jackpots.GetContribution(pb.GetContributionRequest(name=name))
        assert list(read.contribution.wins) == [paid]

    async def test_an_unknown_win_is_not_found(self, client: Client) -> None:
        for name in (f"pools/sure/wins/{uuid4()}", f"pools/nowhere/wins/{uuid4()}"):
            error = await error_of(client.jackpots.GetWin(pb.GetWinRequest(name=name)))
            assert (error.code, error.reason) == ("NOT_FOUND", "WIN_NOT_FOUND")
            acknowledged = credited(pb.Win(name=name, amount=coins(1), event_sequence=1))
            error = await error_of(client.jackpots.AcknowledgeWin(acknowledged))
            assert (error.code, error.reason) == ("NOT_FOUND", "WIN_NOT_FOUND")

    async def test_the_same_entry_again_is_a_replay_and_another_is_refused(self, client: Client) -> None:
        win = await client.win()
        first = await client.jackpots.AcknowledgeWin(credited(win))
        again = await client.jackpots.AcknowledgeWin(credited(win))
        assert (first.replayed, again.replayed) == (False, True)
        error = await error_of(client.jackpots.AcknowledgeWin(credited(win, wallet_entry_id="w:2")))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", "WIN_ALREADY_PAID")

    async def test_another_amount_is_refused(self, client: Client) -> None:
        win = await client.win()
        error = await error_of(client.jackpots.AcknowledgeWin(credited(win, credited=coins(49))))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", "AMOUNT_MISMATCH")

    async def test_wins_are_listed_newest_first_by_operator_pool_state_and_time(self, client: Client) -> None:
        wins = [await client.win("winner") for _ in range(5)]
        others = [await client.win("winner-2") for _ in range(2)]
        await client.jackpots.AcknowledgeWin(credited(wins[1]))
        await client.jackpots.AcknowledgeWin(credited(wins[3]))

        async def names(**fields: object) -> list[str]:
            found: list[str] = []
            request = pb.ListWinsRequest(page_size=2, **fields)  # type: ignore[arg-type]
            while True:
                page = await client.jackpots.ListWins(request)
                assert len(page.wins) <= 2
                found.extend(win.name for win in page.wins)
                if not page.next_page_token:
                    return found
                request.page_token = page.next_page_token

        ordered = [win.name for win in reversed(wins)]
        assert await names(operator_id="winner") == ordered
        assert await names() == [win.name for win in reversed(others)] + ordered
        assert await names(pool="pools/sure") == await names()
        assert await names(pool="pools/sure", operator_id="winner") == ordered
        assert await names(pool="pools/mini") == []
        assert await names(pool="pools/nowhere") == []
        assert await names(operator_id="winner", state=pb.Win.STATE_PAID) == [wins[3].name, wins[1].name]
        assert await names(operator_id="winner", state=pb.Win.STATE_PAYABLE) == [
            wins[4].name,
            wins[2].name,
            wins[0].name,
        ]
        assert await names(state=pb.Win.STATE_HELD) == []
        times = [win.decide_time for win in wins]
        assert await names(operator_id="winner", start_time=times[1], end_time=times[3]) == [
            wins[2].name,
            wins[1].name,
        ]


class TestWinEvents:
    async def test_events_come_in_order_without_gaps_as_the_win_was_after_each(self, client: Client) -> None:
        first, second = await client.win(), await client.win()
        await client.win("winner-2")
        await client.jackpots.AcknowledgeWin(credited(first))
        request = pb.ListWinEventsRequest(operator_id="winner")
        answer = await client.jackpots.ListWinEvents(request)
        assert [event.sequence for event in answer.events] == [1, 2, 3]
        assert [event.win.name for event in answer.events] == [first.name, second.name, first.name]
        kinds = pb.WinEvent.Kind
        assert [event.kind for event in answer.events] == [
            kinds.KIND_DECIDED,
            kinds.KIND_DECIDED,
            kinds.KIND_PAID,
        ]
        assert answer.events[0].win == first
        assert answer.events[2].win.state == pb.Win.STATE_PAID
        assert answer.last_sequence == 3
        rest = await client.jackpots.ListWinEvents(
            pb.ListWinEventsRequest(operator_id="winner", after_sequence=1, page_size=1)
        )
        assert [event.sequence for event in rest.events] == [2]
        assert rest.last_sequence == 2

    async def test_without_news_and_without_a_wait_the_answer_is_empty_at_once(self, client: Client) -> None:
        answer = await client.jackpots.ListWinEvents(
            pb.ListWinEventsRequest(operator_id="nobody", after_sequence=5)
        )
        assert (len(answer.events), answer.last_sequence) == (0, 5)

    async def test_a_wait_ends_with_the_event_on_whichever_replica_it_happens(
        self, client: Client, jackpots_dsn: str
    ) -> None:
        async with serving(jackpots_dsn) as replica:
            request = pb.ListWinEventsRequest(operator_id="winner", wait=Duration(seconds=30))
            waiting = [asyncio.ensure_future(client.jackpots.ListWinEvents(request)) for _ in range(20)]
            other = asyncio.ensure_future(
                client.jackpots.ListWinEvents(
                    pb.ListWinEventsRequest(operator_id="winner-2", wait=Duration(seconds=30))
                )
            )
            win = await replica.win()
            async with asyncio.timeout(5):
                answers = await asyncio.gather(*waiting)
            assert all(next(iter(answer.events)).win == win for answer in answers)
            assert not other.done()
            other.cancel()

    async def test_a_wait_ends_empty_when_its_time_is_over(self, client: Client) -> None:
        request = pb.ListWinEventsRequest(operator_id="winner", wait=Duration(nanos=300_000_000))
        async with asyncio.timeout(5):
            answer = await client.jackpots.ListWinEvents(request)
        assert len(answer.events) == 0

    async def test_a_wait_is_answered_before_the_call_s_deadline(self, client: Client) -> None:
        request = pb.ListWinEventsRequest(operator_id="winner", wait=Duration(seconds=30))
        answer = await client.jackpots.ListWinEvents(request, timeout=0.8)
        assert len(answer.events) == 0

    async def test_a_caller_that_goes_away_leaves_nothing_behind(self, client: Client) -> None:
        request = pb.ListWinEventsRequest(operator_id="winner", wait=Duration(seconds=30))
        call = client.jackpots.ListWinEvents(request)
        feed = client.server._feed
        await eventually(lambda: feed.waiting == 1)
        call.cancel()
        await eventually(lambda: feed.waiting == 0)

    async def test_a_drain_lets_waiting_calls_go_at_once(self, client: Client) -> None:
        request = pb.ListWinEventsRequest(operator_id="winner", wait=Duration(seconds=30))
        call = asyncio.ensure_future(client.jackpots.ListWinEvents(request))
        await eventually(lambda: client.server._feed.waiting == 1)
        async with asyncio.timeout(5):
            await client.server.server.close()
            assert len((await call).events) == 0


class TestTheRest:
    async def test_the_server_says_what_it_is(self, client: Client) -> None:
        info = await client.jackpots.GetServerInfo(pb.GetServerInfoRequest())
        assert info.environment == "test"
        assert info.version
        assert int(info.database_version.split(".")[0]) >= 15
        assert info.schema_version >= 1
        assert (len(info.engine_sha256), len(info.config_sha256)) == (32, 32)
        assert info.start_time.seconds > 1_700_000_000
        assert info.cache == pb.GetServerInfoResponse.Cache()

    async def test_another_configuration_has_another_digest(self, client: Client) -> None:
        before = await client.jackpots.GetServerInfo(pb.GetServerInfoRequest())
        await apply_pools(client.dsn, POOLS.replace('display_name = "Mini"', 'display_name = "Tiny"'))
        after = await client.jackpots.GetServerInfo(pb.GetServerInfoRequest())
        assert before.config_sha256 != after.config_sha256
        assert before.engine_sha256 == after.engine_sha256

    async def test_a_database_without_pools_can_be_served(self, empty_pools: Client) -> None:
        recorded = await empty_pools.record()
        assert len(recorded.contribution.shares) == 0
        listed = await empty_pools.jackpots.ListPools(pb.ListPoolsRequest())
        assert len(listed.pools) == 0

    async def test_a_pool_that_was_applied_meanwhile_takes_part(self, empty_pools: Client) -> None:
        await empty_pools.record()
        await apply_pools(empty_pools.dsn, POOLS)
        recorded = await empty_pools.record()
        assert {share.pool for share in recorded.contribution.shares} == {"pools/mini", "pools/grand"}

    async def test_a_database_that_is_gone_is_unavailable_and_then_back(
        self, client: Client, jackpots_dsn: str
    ) -> None:
        recorded = await client.record()
        name = recorded.contribution.name
        admin = await asyncpg.connect(jackpots_dsn)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await admin.close()
        async with asyncio.timeout(10):
            while True:
                try:
                    got = await client.jackpots.GetContribution(pb.GetContributionRequest(name=name))
                    break
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
        assert got.contribution == recorded.contribution
        assert (await client.record()).contribution.state == pb.Contribution.STATE_RECORDED
