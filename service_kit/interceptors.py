"""What stands between gRPC and every handler: errors, refusals at start and drain, metrics, the debug log.

A method is wrapped once, when it is registered, and not looked up again for each call. The wrapper
decodes the request and encodes the response itself, so that an error there is answered like any other:

- a `Refusal` or `Failure` becomes its status with ErrorInfo; a trouble of the database becomes
  DATABASE_UNAVAILABLE; anything else INTERNAL_ERROR, with no word of the exception (G3);
- bytes that do not decode become INVALID_ARGUMENT, UNDECODABLE (G4);
- a CancelledError that did not come from the caller becomes OUTCOME_UNKNOWN; gRPC would send nothing (G2);
- a method that a servicer does not have becomes UNIMPLEMENTED, METHOD_NOT_IMPLEMENTED.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Never, TypeAlias

import grpc
import grpc.aio
from prometheus_client import Counter, Histogram

from service_kit.database import failure_of
from service_kit.errors import (
    Failure,
    ServiceError,
    draining,
    internal_error,
    not_implemented,
    outcome_unknown,
    to_status,
    undecodable,
)
from service_kit.gate import Gate
from service_kit.telemetry import get_log

_log = get_log("grpc")

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
STARTED = Counter("grpc_server_started_total", "Calls that arrived.", _LABELS)
HANDLED = Counter("grpc_server_handled_total", "Calls that were answered.", (*_LABELS, "grpc_code"))
SECONDS = Histogram(
    "grpc_server_handling_seconds",
    "From a call's arrival to its answer; for a stream to its end.",
    _LABELS,
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)

# One kind of failure of one method is logged at most this often; the ones between are counted.
LOG_PAUSE_S = 1.0

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Method:
    """One method of the contract: its names, its metrics, and how its errors are answered."""

    def __init__(self, kind: str, service: str, name: str, *, access_log: bool) -> None:
        """`service` is the full name; its package is the domain of the errors."""
        self.path = f"/{service}/{name}"
        self._domain = service.rpartition(".")[0]
        self._access_log = access_log
        self._labels = (kind, service, name)
        self._handled: dict[str, Counter] = {}
        self._logged: dict[str, tuple[float, int]] = {}
        # A call arrived.
        self.started: Callable[[], None] = STARTED.labels(*self._labels).inc
        self._seconds = SECONDS.labels(*self._labels)
        self._count_ok = self._counter("OK").inc
        self._observe = self._seconds.observe

    def answered(self, start: float) -> None:
        """Books a call that began at `start` (time.perf_counter) and was answered OK."""
        seconds = time.perf_counter() - start
        self._count_ok()
        self._observe(seconds)
        if self._access_log:
            _log.debug("call_answered", method=self.path, code="OK", ms=round(seconds * 1e3, 3))

    async def refuse(
        self, error: BaseException, context: Context, start: float, ended: Failure | None = None
    ) -> Never:
        """Answers a call with the status of `error`; raises what makes gRPC end the call.

        `ended` is given if a drain has cancelled the call: it is what the caller is told then.
        """
        if isinstance(error, grpc.aio.AbortError):
            self._book(context.code().name, start, None)
            raise error
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error
        if isinstance(error, asyncio.CancelledError):
            if ended is None and _was_cancelled():
                # The caller has gone: nobody is left to be answered.
                self.abandoned(start)
                raise error
            shown: ServiceError = ended or outcome_unknown()
        else:
            shown = self._shown(error)
        self._book(shown.code.name, start, shown.reason)
        if isinstance(shown, Failure) and shown is not error and ended is None:
            self._log_failure(shown, error)
        status = to_status(shown, self._domain)
        trailer = (("grpc-status-details-bin", status.SerializeToString()),)
        await context.abort(shown.code, shown.message, trailer)

    def abandoned(self, start: float) -> None:
        """Books a stream whose caller went away."""
        self._book("CANCELLED", start, None)

    @staticmethod
    def _shown(error: BaseException) -> ServiceError:
        if isinstance(error, ServiceError):
            return error
        return failure_of(error) or internal_error()

    def _book(self, code: str, start: float, reason: str | None) -> None:
        seconds = time.perf_counter() - start
        self._counter(code).inc()
        self._observe(seconds)
        if self._access_log:
            _log.debug(
                "call_answered", method=self.path, code=code, reason=reason, ms=round(seconds * 1e3, 3)
            )

    def _counter(self, code: str) -> Counter:
        counter = self._handled.get(code)
        if counter is None:
            counter = self._handled[code] = HANDLED.labels(*self._labels, code)
        return counter

    def _log_failure(self, shown: Failure, cause: BaseException) -> None:
        """What the caller does not see: the cause. A flood of one kind becomes one event per pause."""
        kind = f"{shown.reason} {type(cause).__name__}"
        last, unlogged = self._logged.get(kind, (float("-inf"), 0))
        now = time.monotonic()
        if now - last < LOG_PAUSE_S:
            self._logged[kind] = (last, unlogged + 1)
            return
        self._logged[kind] = (now, 0)
        log = _log.error if shown.code is grpc.StatusCode.INTERNAL else _log.warning
        log("call_failed", method=self.path, reason=shown.reason, unlogged=unlogged, exc_info=cause)


def _was_cancelled() -> bool:
    """Whether this task was cancelled from outside, by its caller's end or deadline."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Methods(grpc.GenericRpcHandler):
    """Every method of a server, wrapped once; what a known service does not have is answered too."""

    def __init__(self, *, access_log: bool) -> None:
        """`access_log`: log each call at `debug`."""
        self._access_log = access_log
        self._by_path: dict[str, Handler] = {}
        self._unknown_of: dict[str, Handler] = {}
        self.services: list[str] = []

    def add(self, service: str, handlers: Mapping[str, Handler], gate: Gate) -> None:
        """Wraps the methods of one service, whose calls pass `gate`. TypeError for one that is not async."""
        self.services.append(service)
        for name, handler in handlers.items():
            self._by_path[f"/{service}/{name}"] = self._wrap(service, name, handler, gate)
        unknown = Method("unknown", service, "unknown", access_log=self._access_log)
        self._unknown_of[service] = _refuse_every_call(unknown)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """The wrapped handler of a call; None, gRPC's own UNIMPLEMENTED, for a service that is not here."""
        path = handler_call_details.method
        handler = self._by_path.get(path)
        if handler is not None:
            return handler
        return self._unknown_of.get(path.rpartition("/")[0][1:])

    def _wrap(self, service: str, name: str, handler: Handler, gate: Gate) -> Handler:
        request = "stream" if handler.request_streaming else "unary"
        response = "stream" if handler.response_streaming else "unary"
        kind = f"{request}_{response}"
        behaviour = getattr(handler, kind)
        method = Method(kind, service, name, access_log=self._access_log)
        # The generated servicer's own method: the server's class has none of that name.
        if behaviour.__module__.endswith("_pb2_grpc"):
            return _refuse_every_call(method)
        if kind == "unary_unary" and inspect.iscoroutinefunction(behaviour):
            return _wrap_unary(method, handler, gate)
        if handler.response_streaming and inspect.isasyncgenfunction(behaviour):
            return _wrap_generator(method, handler, behaviour, gate)
        if handler.response_streaming and inspect.iscoroutinefunction(behaviour):
            return _wrap_writer(method, handler, behaviour, gate)
        raise TypeError(f"{method.path} must be async (and no method takes a stream and answers once)")


class Registrar:
    """Stands for the server in the generated `add_…Servicer_to_server(servicer, server)`."""

    def __init__(self, methods: Methods, gate: Gate) -> None:
        self._methods = methods
        self._gate = gate

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        """Wraps the methods of a service."""
        self._methods.add(service_name, method_handlers, self._gate)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[object]) -> None:
        """Takes nothing: the same methods come through `add_registered_method_handlers`, with their names."""


def _wrap_unary(method: Method, handler: Handler, gate: Gate) -> Handler:
    behaviour: Any = handler.unary_unary
    decode, encode = _codec(handler)
    clock = time.perf_counter

    async def call(raw: bytes, context: Context) -> bytes:
        start = clock()
        method.started()
        if gate.closed_because is not None:
            await method.refuse(gate.closed_because(), context, start)
        gate.enter()
        try:
            response = encode(await behaviour(decode(raw), context))
        except BaseException as error:
            await method.refuse(error, context, start, outcome_unknown() if gate.is_cut else None)
        method.answered(start)
        return response

    return grpc.unary_unary_rpc_method_handler(call)


def _wrap_generator(method: Method, handler: Handler, behaviour: Any, gate: Gate) -> Handler:
    decode, encode = _codec(handler)

    async def call(incoming: Any, context: Context) -> AsyncIterator[bytes]:
        start = time.perf_counter()
        method.started()
        if gate.closed_because is not None:
            await method.refuse(gate.closed_because(), context, start)
        stream = gate.enter_stream()
        try:
            request = incoming if handler.request_streaming else decode(incoming)
            async with aclosing(behaviour(request, context)) as messages:
                async for message in messages:
                    encoded = encode(message)
                    stream.thinking = False
                    yield encoded
                    if stream.ended:
                        raise draining()
                    stream.thinking = True
        except GeneratorExit:
            method.abandoned(start)
            raise
        except BaseException as error:
            await method.refuse(error, context, start, draining() if stream.ended else None)
        method.answered(start)

    if handler.request_streaming:
        return grpc.stream_stream_rpc_method_handler(call, request_deserializer=decode)
    return grpc.unary_stream_rpc_method_handler(call)


def _wrap_writer(method: Method, handler: Handler, behaviour: Any, gate: Gate) -> Handler:
    """For a coroutine that sends its stream with `context.write`."""
    decode, _ = _codec(handler)

    async def call(request: Any, context: Context) -> None:
        start = time.perf_counter()
        method.started()
        if gate.closed_because is not None:
            await method.refuse(gate.closed_because(), context, start)
        stream = gate.enter_stream()
        try:
            await behaviour(request if handler.request_streaming else decode(request), context)
        except BaseException as error:
            await method.refuse(error, context, start, draining() if stream.ended else None)
        method.answered(start)

    make = (
        grpc.stream_stream_rpc_method_handler
        if handler.request_streaming
        else grpc.unary_stream_rpc_method_handler
    )
    decoder = decode if handler.request_streaming else None
    return make(call, request_deserializer=decoder, response_serializer=handler.response_serializer)


def _refuse_every_call(method: Method) -> Handler:
    """Answers METHOD_NOT_IMPLEMENTED; as a stream of streams it fits a call of any shape."""

    async def call(_requests: object, context: Context) -> None:
        start = time.perf_counter()
        method.started()
        await method.refuse(not_implemented(), context, start)

    return grpc.stream_stream_rpc_method_handler(call)


def _codec(handler: Handler) -> tuple[Callable[[bytes], Any], Callable[[Any], bytes]]:
    """What turns bytes into the request, or raises UNDECODABLE, and the response into bytes.

    A method may answer with bytes: a response that it has encoded itself.
    """
    deserialize, serialize = handler.request_deserializer, handler.response_serializer
    if deserialize is None or serialize is None:
        raise TypeError("a method is registered without its messages")

    def decode(raw: bytes) -> Any:
        try:
            return deserialize(raw)
        except Exception as error:
            raise undecodable() from error

    def encode(response: Any) -> bytes:
        return response if isinstance(response, bytes) else serialize(response)

    return decode, encode
