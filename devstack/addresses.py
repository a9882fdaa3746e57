"""Where each part of the stack listens, from the environment; and which of these ports are taken."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from devstack.processes import StartError, free_port, port_is_free


@dataclass(frozen=True, slots=True)
class Addresses:
    """Loopback ports and the servers' listening addresses (`host:port` or `unix:/path`).

    Variables are the servers' own (SPIN_LISTEN …) and DEVSTACK_* for what only this stack starts.
    """

    spin: str = "127.0.0.1:50051"
    jackpot: str = "127.0.0.1:50052"
    spin_metrics: int = 9464
    jackpot_metrics: int = 9465
    spins_database: int = 50061
    jackpots_database: int = 50062
    cache: int = 50063

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Addresses":
        """The defaults, except what a variable names. Raises StartError."""
        default = cls()
        return cls(
            spin=environ.get("SPIN_LISTEN", default.spin),
            jackpot=environ.get("JACKPOT_LISTEN", default.jackpot),
            **{
                name: _number(variable, environ.get(variable, str(getattr(default, name))))
                for name, variable in _PORT_VARIABLES.items()
            },
        )

    @classmethod
    def free(cls) -> "Addresses":
        """Ports that nothing uses now, for tests; metrics off."""
        return cls(
            spin=f"127.0.0.1:{free_port()}",
            jackpot=f"127.0.0.1:{free_port()}",
            spin_metrics=0,
            jackpot_metrics=0,
            spins_database=free_port(),
            jackpots_database=free_port(),
            cache=free_port(),
        )

    def taken(self, needed: set[str]) -> list[str]:
        """One line for each port of the `needed` fields that another process uses: which, and what to do."""
        lines = []
        for field in fields(self):
            port = _port(getattr(self, field.name))
            if field.name in needed and port and not port_is_free(port):
                variable = _VARIABLES[field.name]
                example = f"127.0.0.1:{port + 100}" if variable.endswith("_LISTEN") else port + 100
                part = field.name.replace("_", " ")
                lines.append(f"{port} ({part}): free it, or choose another with {variable}={example}")
        return lines


_PORT_VARIABLES = {
    "spin_metrics": "SPIN_METRICS_PORT",
    "jackpot_metrics": "JACKPOT_METRICS_PORT",
    "spins_database": "DEVSTACK_SPINS_DATABASE_PORT",
    "jackpots_database": "DEVSTACK_JACKPOTS_DATABASE_PORT",
    "cache": "DEVSTACK_CACHE_PORT",
}
_VARIABLES = {"spin": "SPIN_LISTEN", "jackpot": "JACKPOT_LISTEN", **_PORT_VARIABLES}


def _number(variable: str, text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise StartError(f"{variable}={text} is not a port")
    return int(text)


def _port(address: str | int) -> int:
    """The TCP port of an address; 0 if it has none."""
    if isinstance(address, int):
        return address
    return 0 if address.startswith("unix:") else int(address.rpartition(":")[2])
