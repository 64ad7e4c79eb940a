"""Text for people: nothing in it that a terminal would obey, and no end of the work where nobody reads it any more."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO


def printable(text: str) -> str:
    """Spell out control characters, which come from files of others, and what is no character; ends of lines stay."""
    if text.isprintable():
        return text
    return "".join(one if one == "\n" or one.isprintable() else ascii(one)[1:-1] for one in text)


def say(text: str) -> None:
    """Print text; a reader that has gone, as in `fasthop read DIR | head`, has seen enough."""
    if sys.stdout is None:
        return
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(printable(text).encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        silence(sys.stdout)


def silence(stream: TextIO) -> None:
    """Let what is written from now on go nowhere, also what Python writes once more when it exits."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass  # no file of the system


class Remarks:
    """A stream for what is said beside the work: where nobody can be told any more, the work goes on without."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text, or drop it."""
        if self._stream is not None:
            try:
                return self._stream.write(text)
            except (OSError, ValueError):
                self._lose()
        return len(text)

    def flush(self) -> None:
        """Flush, or give up."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._lose()

    def isatty(self) -> bool:
        """Say whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def _lose(self) -> None:
        if self._stream is not None:
            silence(self._stream)
            self._stream = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
