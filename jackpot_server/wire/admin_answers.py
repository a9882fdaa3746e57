"""What the administration answers."""

from typing import Final
from uuid import UUID

from jackpot_server.admin_store import StoredEvent
from jackpot_server.admin_transaction import Approval
from protos.jackpot.v1 import jackpot_pb2 as pb

_DONE: Final = pb.Approval.STATE_DONE
_PENDING: Final = pb.Approval.STATE_PENDING


def approval(asked: Approval, request_id: UUID) -> pb.Approval:
    """Whether it is done or waits, and who has asked."""
    return pb.Approval(
        state=_DONE if asked.is_done else _PENDING,
        first_actor=asked.actor,
        second_actor=asked.approver,
        request_id=str(request_id),
    )


def fill_event(target: pb.AuditEvent, stored: StoredEvent) -> None:
    """One row of the trail."""
    event = stored.event
    target.event_id = str(stored.number)
    target.event_time.FromDatetime(stored.time)
    target.action = event.action
    target.resource = event.resource
    target.actor = event.actor
    target.approver = event.approver
    target.reason = event.reason
    target.before = event.before
    target.after = event.after
    target.request_id = str(event.request_id)
    target.pending = event.pending
