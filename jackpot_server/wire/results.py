"""The answer to a batch of contributions, as the bytes of its message.

Making the messages of an answer took nearly as long as filling and encoding them. So there is one, the
mould: a contribution is set in it, it is encoded, and it stands for the next one. Encodings of a message that
follow each other are the encoding of one with the repeated fields of all (protobuf.dev, "Encoding").
"""

from collections.abc import Sequence

from jackpot_server.domain.facts import Contribution, ContributionState, Recorded, ShareRow
from jackpot_server.wire.answers import (
    Labels,
    fill_command,
    fill_item_error,
    fill_recorded,
    fill_share,
    set_time,
)
from protos.jackpot.v1 import jackpot_pb2 as pb


def encoded_results(results: Sequence[Recorded | Exception], labels: Labels) -> bytes:
    """A `BatchRecordContributionsResponse` whose `results[i]` shows `results[i]`."""
    encoded = []
    mould: _Mould | None = None
    for result in results:
        if not isinstance(result, Recorded) or not _is_plain(result):
            encoded.append(_unlike_others(result, labels))
            continue
        if mould is None or not mould.fits(result.contribution):
            mould = _Mould(result, labels)
        encoded.append(mould.encoded(result.contribution))
    return b"".join(encoded)


class _Mould:
    """The answer to one contribution, and to any of the same batch with as many shares."""

    def __init__(self, recorded: Recorded, labels: Labels) -> None:
        response = pb.BatchRecordContributionsResponse()
        shown = response.results.add().recorded
        fill_recorded(shown, recorded, labels)
        self._encode = response.SerializeToString
        self._target = shown.contribution
        self._shares = list(shown.contribution.shares)
        # Of each share, what seldom differs; nothing is known of it yet.
        self._seldom: list[tuple[int, ...]] = [()] * len(self._shares)
        self._recording = recorded.contribution.recording
        self._labels = labels

    def fits(self, contribution: Contribution) -> bool:
        """Whether time, audit head and the number of shares are the same."""
        return contribution.recording is self._recording and len(contribution.shares) == len(self._shares)

    def encoded(self, contribution: Contribution) -> bytes:
        """The answer to a contribution that fits."""
        command = contribution.command
        target = self._target
        fill_command(target, command)
        if command.occur_time is None:
            target.ClearField("occur_time")
        else:
            set_time(target.occur_time, command.occur_time)
        self._set_shares(contribution.shares)
        return self._encode()

    def _set_shares(self, shares: Sequence[ShareRow]) -> None:
        for index, row in enumerate(shares):
            key, cycle, version, amount, reserve, overflow, balance, skip_reason, shadow = row
            share = self._shares[index]
            seldom = (key, cycle, version, overflow, skip_reason, shadow)
            if seldom == self._seldom[index]:
                share.amount_micros = amount
                share.reserve_micros = reserve
                share.balance_micros = balance
            else:
                self._seldom[index] = seldom
                share.Clear()
                fill_share(share, row, self._labels)


def _is_plain(recorded: Recorded) -> bool:
    """Whether nothing is in it that a mould has no place for."""
    contribution, wins, replayed = recorded
    return not (
        wins
        or replayed
        or contribution.command.triggered_tiers
        or contribution.state is not ContributionState.RECORDED
    )


def _unlike_others(result: Recorded | Exception, labels: Labels) -> bytes:
    response = pb.BatchRecordContributionsResponse()
    shown = response.results.add()
    if isinstance(result, Recorded):
        fill_recorded(shown.recorded, result, labels)
    else:
        fill_item_error(shown.error, result)
    return response.SerializeToString()
