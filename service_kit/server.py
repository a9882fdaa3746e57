"""A gRPC server's life: it answers "not serving", starts, serves, drains in order, and ends with status 0.

server = GrpcServer(settings, [partial(add_SpinServiceServicer_to_server, servicer)])
run(partial(server.run_until_signal, app.start, app.stop), settings)
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import cast

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_health.v1.health import aio as health_aio
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as REFLECTION
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

from service_kit.address import is_local, with_port
from service_kit.errors import StartRefused, draining, starting
from service_kit.gate import Gate
from service_kit.interceptors import Methods, Registrar
from service_kit.process import end_process, rest_collector, stop_signals, unless
from service_kit.settings import ServerSettings
from service_kit.telemetry import get_log

_log = get_log("server")

# What the generated `add_…Servicer_to_server` is when its servicer is bound.
AddService = Callable[[grpc.aio.Server], None]
Hook = Callable[[], Awaitable[None]]
# Whether the server can do its work now: its own database answers.
Readiness = Callable[[], Awaitable[bool]]

MAX_METADATA_BYTES = 8 * 1024
READINESS_PAUSE_S = 1.0
READINESS_LIMIT_S = 1.0
# For streams, and for calls that were cut, to tell their callers so.
SEND_LIMIT_S = 1.0
# For the hooks, if the calls have used up the grace.
HOOKS_LIMIT_S = 5.0
# The largest that gRPC takes.
_NO_BOUND = 2**31 - 1


class GrpcServer:
    """One gRPC server on one address. It owns its port, the health and reflection services, and the drain."""

    def __init__(self, settings: ServerSettings, services: Sequence[AddService]) -> None:
        """StartRefused if other machines can reach the address and plaintext is not allowed."""
        if not is_local(settings.listen) and not settings.allow_plaintext:
            raise StartRefused(
                f"Other machines can reach {settings.listen}, and there is no TLS: listen on a loopback "
                f"address or a UNIX socket, or set {settings.variable('allow_plaintext')}=1."
            )
        self._settings = settings
        self.address = settings.listen
        self._gate = Gate(starting)
        # Health and reflection answer from the first moment to the last.
        self._service_gate = Gate(starting)
        self._service_gate.open()
        self._health = health_aio.HealthServicer()
        self._methods = Methods(access_log=settings.log_level == "debug")
        self._services = self._register(services)
        self._server: grpc.aio.Server | None = None
        self._drained = False
        self._hooks: list[tuple[str, Hook]] = []
        self._drain_hooks: list[Callable[[], None]] = []

    def on_stop(self, name: str, hook: Hook) -> None:
        """Calls `hook` when the last call has ended; hooks are called in the reverse order of these calls."""
        self._hooks.append((name, hook))

    def on_drain(self, hook: Callable[[], None]) -> None:
        """Calls `hook` at the first moment of a drain, to let calls go that wait for something to happen."""
        self._drain_hooks.append(hook)

    @property
    def calls_inside(self) -> int:
        """Calls that a handler is at work on, streams not counted."""
        return len(self._gate.calls)

    @property
    def open_streams(self) -> int:
        """Server-streaming calls that have not ended."""
        return len(self._gate.streams)

    async def open(self) -> None:
        """Takes the port (StartRefused if it cannot be had) and answers: health says NOT_SERVING."""
        await self._set_health(HealthCheckResponse.NOT_SERVING)
        server = grpc.aio.server(options=_options(self._settings))
        server.add_generic_rpc_handlers((self._methods,))
        try:
            port = server.add_insecure_port(self._settings.listen)
        except RuntimeError as error:
            await server.stop(None)
            raise StartRefused(f"{self._settings.listen} cannot be listened on: is it taken?") from error
        self.address = with_port(self._settings.listen, port)
        await server.start()
        self._server = server

    async def begin_serving(self) -> None:
        """Lets calls in; health says SERVING."""
        self._gate.open()
        await self._set_health(HealthCheckResponse.SERVING)
        _log.info("server_started", address=self.address, services=self._services)

    async def drain(self, hurry: asyncio.Event | None = None) -> None:
        """Ends the work and calls the hooks; `hurry` cuts the waiting short. A second call does nothing.

        At once health says NOT_SERVING, new calls are refused with DRAINING and streams end. Calls in
        flight finish; those that have not when the grace is over are cancelled and told
        OUTCOME_UNKNOWN. The port stays open, to go on refusing, until `close` or the process's end.
        """
        if self._drained:
            return
        self._drained = True
        begin = time.monotonic()
        deadline = begin + self._settings.drain_grace_s
        if self._server is not None:
            await self._end_calls(deadline, hurry or asyncio.Event())
        hooks_end = max(deadline, time.monotonic() + HOOKS_LIMIT_S)
        for name, hook in reversed(self._hooks):
            await _call_hook(name, hook, hooks_end - time.monotonic())
        _log.info("server_drained", address=self.address, seconds=round(time.monotonic() - begin, 3))

    async def close(self) -> None:
        """Drains if that was not done, then gives the port back. A second call does nothing.

        gRPC answers a call that arrives in the last millisecond with CANCELLED; see `run_until_signal`.
        """
        await self.drain()
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)

    async def run_until_signal(self, start: Hook, stop: Hook, *, ready: Readiness | None = None) -> None:
        """Lives until SIGTERM or SIGINT, then drains; a second signal ends the drain's waiting.

        In a process of its own (`process.run`) it does not return then: the process ends with status 0,
        its port still open. Callers at that moment see a closed connection, UNAVAILABLE; a stopped gRPC
        server would tell some of them CANCELLED.

        `start` opens what the handlers need, `stop` closes it again (it is called too if `start`
        failed half-way, and after the hooks that `start` registered). `ready` is asked once a
        second; while it is false, raises or hangs, health says NOT_SERVING.
        """
        with stop_signals() as (stopping, hurry):
            self.on_stop("application", stop)
            try:
                await self.open()
                if await unless(stopping, start()):
                    rest_collector()
                    await self.begin_serving()
                    await self._serve(stopping, ready)
                await self.drain(hurry)
                end_process()
            finally:
                await self.close()

    async def _serve(self, stopping: asyncio.Event, ready: Readiness | None) -> None:
        if ready is None:
            await stopping.wait()
        else:
            await unless(stopping, self._follow_readiness(ready))
        _log.info("server_draining", address=self.address)

    async def _follow_readiness(self, ready: Readiness) -> None:
        was_ready = True
        while True:
            await asyncio.sleep(READINESS_PAUSE_S)
            is_ready = await _ask(ready)
            if is_ready != was_ready:
                was_ready = is_ready
                status = HealthCheckResponse.SERVING if is_ready else HealthCheckResponse.NOT_SERVING
                await self._set_health(status)
                _log.warning("readiness_changed", ready=is_ready)

    async def _end_calls(self, deadline: float, hurry: asyncio.Event) -> None:
        await self._health.enter_graceful_shutdown()
        self._gate.close(draining)
        for hook in self._drain_hooks:
            hook()
        await _wait(hurry.wait(), self._settings.drain_delay_s)
        await unless(hurry, _wait_for_all(self._gate.calls, deadline - time.monotonic()))
        self._gate.cut()
        self._service_gate.close(draining)
        await _wait_for_all(
            [*self._gate.calls, *self._gate.streams, *self._service_gate.streams], SEND_LIMIT_S
        )

    async def _set_health(self, status: int) -> None:
        for service in self._health_names():
            await self._health.set(service, status)

    def _health_names(self) -> list[str]:
        return ["", *self._services]

    def _register(self, services: Sequence[AddService]) -> list[str]:
        application = cast(grpc.aio.Server, Registrar(self._methods, self._gate))
        for add in services:
            add(application)
        names = list(self._methods.services)
        infrastructure = cast(grpc.aio.Server, Registrar(self._methods, self._service_gate))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, infrastructure)
        described = [*names, HEALTH, REFLECTION]
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            reflection_aio.ReflectionServicer(described), infrastructure
        )  # type: ignore[no-untyped-call]
        return names


async def _wait(event: Awaitable[object], limit_s: float) -> None:
    """Waits for `event`, at most `limit_s` seconds."""
    try:
        async with asyncio.timeout(max(limit_s, 0.0)):
            await event
    except TimeoutError:
        pass


async def _wait_for_all(tasks: Collection["asyncio.Task[object]"], limit_s: float) -> None:
    """Waits until `tasks`, which may shrink meanwhile, have ended, at most `limit_s` seconds."""
    if tasks:
        await asyncio.wait(list(tasks), timeout=max(limit_s, 0.0))


async def _ask(ready: Readiness) -> bool:
    try:
        async with asyncio.timeout(READINESS_LIMIT_S):
            return await ready()
    except Exception as error:
        _log.debug("readiness_check_failed", exc_info=error)
        return False


async def _call_hook(name: str, hook: Hook, limit_s: float) -> None:
    """A hook that fails or hangs must not keep the others from closing what they own."""
    try:
        async with asyncio.timeout(max(limit_s, 0.0)):
            await hook()
    except Exception as error:
        _log.error("stop_hook_failed", hook=name, exc_info=error)


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        # Two servers on one port would share it silently (G12).
        ("grpc.so_reuseport", 0),
        # Only "identity": nothing to unpack, no bombs (G8).
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.max_send_message_length", settings.max_response_bytes),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA_BYTES),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        # Calls that no handler has yet: from the thousandth on gRPC would tell some of them CANCELLED. They
        # are bounded by the streams; who is too many is told OVERLOADED.
        ("grpc.server.max_pending_requests", _NO_BOUND),
        ("grpc.server.max_pending_requests_hard_limit", _NO_BOUND),
        # Clients ping every 20 s, also without calls (G9); this side finds clients that are gone.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
