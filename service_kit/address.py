"""Where a server listens: `host:port` or `unix:path`, and who can reach it."""

import ipaddress
import re

_TCP = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})\Z")
_UNIX = re.compile(r"unix(-abstract)?:\S+\Z")
_MAX_PORT = 65_535


def check_address(address: str) -> str:
    """`address` itself; ValueError unless `host:port`, `[ipv6]:port`, `unix:path` or `unix-abstract:name`."""
    tcp = _TCP.match(address)
    if tcp is not None and int(tcp["port"]) <= _MAX_PORT:
        return address
    if _UNIX.match(address):
        return address
    raise ValueError("expected host:port, [ipv6]:port or unix:path")


def is_local(address: str) -> bool:
    """Whether only this machine can reach it: a UNIX socket, or TCP on a loopback address."""
    tcp = _TCP.match(address)
    if tcp is None:
        return _UNIX.match(address) is not None
    host = tcp["host"].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def with_port(address: str, port: int) -> str:
    """`address` with the port that was really taken, for one that asked for port 0."""
    tcp = _TCP.match(address)
    return f"{tcp['host']}:{port}" if tcp is not None else address
