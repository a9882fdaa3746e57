"""Server streams read from bare HTTP/2 frames, for a load generator that takes little of a shared machine.

gRPC's own client takes as much processor time for a message as the server that sends it. What is left out
here: flow control (windows of 2 GiB do not fill), the server's headers and trailers, padding.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_HEAD_BYTES: Final = 9
_INITIAL_WINDOW_SIZE: Final = 4
_WINDOW, _DEFAULT_WINDOW = 2**31 - 1, 65_535
# A byte that says "not compressed", and the length.
_PREFIX_BYTES: Final = 5


class RawStreams(asyncio.Protocol):
    """One connection, and on it a server stream for each of `requests`.

    `took(number, message)` gets what comes for `requests[number]`. `ended` is done when any stream ends.
    """

    def __init__(
        self, authority: str, path: str, requests: Sequence[bytes], took: Callable[[int, bytes], None]
    ) -> None:
        self._headers = _literals({
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": authority,
            "te": "trailers",
            "content-type": "application/grpc",
        })  # fmt: skip
        self._requests = requests
        self._took = took
        self._frames = b""
        self._messages = [b""] * len(requests)
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Opens the streams."""
        self._transport = cast(asyncio.Transport, transport)
        settings = _INITIAL_WINDOW_SIZE.to_bytes(2, "big") + _WINDOW.to_bytes(4, "big")
        wider = (_WINDOW - _DEFAULT_WINDOW).to_bytes(4, "big")
        frames = [_PREFACE, _frame(_SETTINGS, 0, 0, settings), _frame(_WINDOW_UPDATE, 0, 0, wider)]
        for number, request in enumerate(self._requests):
            stream = 2 * number + 1
            body = b"\0" + len(request).to_bytes(4, "big") + request
            frames.append(_frame(_HEADERS, _END_HEADERS, stream, self._headers))
            frames.append(_frame(_DATA, _END_STREAM, stream, body))
        self._transport.write(b"".join(frames))

    def data_received(self, data: bytes) -> None:
        """Takes whole frames; keeps the beginning of one that is not whole."""
        data, start = self._frames + data, 0
        while len(data) >= (begin := start + _HEAD_BYTES):
            end = begin + int.from_bytes(data[start : start + 3], "big")
            if len(data) < end:
                break
            stream = int.from_bytes(data[start + 5 : begin], "big")
            self._take_frame(data[start + 3], data[start + 4], stream, data[begin:end])
            start = end
        self._frames = data[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends every stream."""
        self._end()

    def _take_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._take_data(stream // 2, payload)
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._transport.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        if kind in (_RST_STREAM, _GOAWAY) or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
            self._end()

    def _take_data(self, number: int, payload: bytes) -> None:
        data, start = self._messages[number] + payload, 0
        while len(data) >= (begin := start + _PREFIX_BYTES):
            end = begin + int.from_bytes(data[start + 1 : begin], "big")
            if len(data) < end:
                break
            self._took(number, data[begin:end])
            start = end
        self._messages[number] = data[start:]

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(True)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _literals(headers: Mapping[str, str]) -> bytes:
    """As literals with new names that no table keeps; none of them is longer than a byte can say."""
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    return b"".join(
        b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in fields
    )
