"""What ends the command from outside: Ctrl-C, SIGTERM, and SIGHUP, which a terminal sends when it is closed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class _State:
    """Which signal has come first; whether there is something to finish; whether Ctrl-C is for somebody else."""

    first: int | None = None
    finishing = False
    deaf = False


def answer() -> None:
    """Answer what ends this process, but for what the process that began it has told it to ignore.

    That is at once, with a line and no traceback, also from amid the import of a library that would make something else
    of an exception; in a block of `finishing` it is KeyboardInterrupt. All signals become SIGINT, so that who holds
    that off for a moment holds off all of them.
    """
    for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
        ignored = signal.getsignal(number) in (signal.SIG_IGN, None)
        if number == signal.SIGINT:
            _State.deaf = ignored
        if not ignored or number == signal.SIGINT:
            signal.signal(number, _heard)


def _heard(number: int, _: FrameType | None) -> None:
    if number == signal.SIGINT and _State.deaf and _State.first is None:
        return
    _State.first = _State.first or number
    if not _State.finishing:
        with contextlib.suppress(OSError):
            os.write(2, f"fasthop: {told()}.\n".encode())
        leave()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def finishing() -> Iterator[None]:
    """Let what is written in this block be finished: what ends the process is KeyboardInterrupt."""
    _State.finishing = True
    try:
        yield
    finally:
        _State.finishing = _State.first is not None  # what has been interrupted says so itself


def told() -> str:
    """Say what has ended the process."""
    first = _State.first or signal.SIGINT
    return "interrupted" if first == signal.SIGINT else f"interrupted by {signal.Signals(first).name}"


def code() -> int:
    """Return the exit code of what a signal has ended: that of a shell."""
    return 128 + (_State.first or signal.SIGINT)


def leave() -> NoReturn:
    """End the process, with nothing to write any more and no thread that is waited for."""
    os._exit(code())
