"""Runs a command that ends when its parent does: `python leash.py PARENT SIGNAL -- COMMAND …`.

The kernel sends SIGNAL to the command when the thread that started it is gone, however it went (Linux;
elsewhere the command merely runs). It is a script of its own, and imports nothing of the project, because
code between fork and exec of a process with gRPC's threads is not safe.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Replaces this process by the command; exits with 1 if the parent is gone already."""
    separator = arguments.index("--")
    options, command = arguments[:separator], arguments[separator + 1 :]
    parent, death_signal = int(options[0]), signal.Signals[options[1]]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
