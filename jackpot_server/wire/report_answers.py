"""Meters and reports to answers. Sums go as text: they may not fit 64 bits."""

from collections.abc import Sequence
from datetime import datetime

from jackpot_server.domain.facts import Win
from jackpot_server.report_reads import HourTotal, Liability, Meters, OperatorTotal
from jackpot_server.wire.answers import fill_win, pool_name
from protos.jackpot.v1 import jackpot_pb2 as pb


def meters(found: Meters, last_wins: Sequence[Win]) -> pb.GetPoolMetersResponse:
    answer = pb.GetPoolMetersResponse(
        contribution_count=found.contribution_count,
        contributed_micros=str(found.contributed),
        current_micros=str(found.current),
        reserve_micros=str(found.reserve),
        overflow_micros=str(found.overflow),
        win_count=found.win_count,
        won_micros=str(found.won),
        house_funded_micros=str(found.house),
        payable_micros=str(found.payable),
    )
    for win in last_wins:
        fill_win(answer.last_wins.add(), win)
    return answer


def liability(lines: Sequence[Liability], at_time: datetime) -> pb.GetLiabilityReportResponse:
    answer = pb.GetLiabilityReportResponse()
    answer.at_time.FromDatetime(at_time)
    for line in lines:
        answer.lines.add(
            pool=pool_name(line.pool_id),
            tier=line.tier,
            currency_code=line.currency_code,
            current_micros=str(line.current),
            reserve_micros=str(line.reserve),
            overflow_micros=str(line.overflow),
            payable_micros=str(line.payable),
            held_micros=str(line.held),
            day_micros=str(line.day),
            month_micros=str(line.month),
            year_micros=str(line.year),
            life_micros=str(line.life),
        )
    return answer


def operators(lines: Sequence[OperatorTotal]) -> pb.GetOperatorReportResponse:
    answer = pb.GetOperatorReportResponse()
    for line in lines:
        answer.lines.add(
            operator_id=line.operator_id,
            pool=pool_name(line.pool_id),
            currency_code=line.currency_code,
            contribution_count=line.contribution_count,
            contributed_micros=str(line.contributed),
            win_count=line.win_count,
            won_micros=str(line.won),
        )
    return answer


def hours(found: Sequence[HourTotal]) -> pb.GetContributionTotalsResponse:
    answer = pb.GetContributionTotalsResponse()
    for hour in found:
        shown = answer.hours.add(
            currency_code=hour.currency_code,
            count=hour.contribution_count,
            voided_count=hour.voided_count,
            wager_minor=hour.wager_minor,
            contributed_micros=str(hour.contributed_micros),
            win_count=hour.win_count,
            win_minor=hour.win_minor,
        )
        shown.start_time.FromDatetime(hour.hour)
    return answer
