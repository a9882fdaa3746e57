"""The spin service as it is composed at LOG_LEVEL=debug: it tells of each spin, from its answer."""

from collections.abc import Awaitable
from typing import TypeVar

from protos.spin.v1 import spin_pb2 as pb
from service_kit.errors import ServiceError
from service_kit.telemetry import get_log
from spin_server.narration import STARTING, answer_lines, spin_failed
from spin_server.service import Context, SpinService

log = get_log("spin")

Response = TypeVar("Response", pb.SettleSpinResponse, pb.PlaySpinResponse)


class NarratedSpinService(SpinService):
    """Tells of each spin at `debug`. Not composed at any other level: nothing is looked at then."""

    async def SettleSpin(self, request: pb.SettleSpinRequest, context: Context) -> pb.SettleSpinResponse:
        return await self._told(request, super().SettleSpin(request, context))

    async def PlaySpin(self, request: pb.PlaySpinRequest, context: Context) -> pb.PlaySpinResponse:
        return await self._told(request, super().PlaySpin(request, context))

    async def _told(
        self, request: pb.SettleSpinRequest | pb.PlaySpinRequest, answering: Awaitable[Response]
    ) -> Response:
        log.debug(STARTING, spin_id=request.spin_id, game_id=request.game_id)
        try:
            response = await answering
        except ServiceError as error:
            log.debug(spin_failed(request.provider_name, error.reason), spin_id=request.spin_id)
            raise
        mode = self.process.jackpot_mode
        for line in answer_lines(response.spin, response.timing, replayed=response.replayed, mode=mode):
            log.debug(line, spin_id=request.spin_id)
        return response
