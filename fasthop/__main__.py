"""Where the command begins, `python -m fasthop` and `fasthop`: first of all with an answer to what interrupts it."""

import sys

from fasthop import signals


def entry() -> None:
    """Run the command that the arguments of the process name, and end the process with its exit code."""
    signals.answer()
    try:
        from fasthop.cli import main

        code = main()
    except KeyboardInterrupt:  # once more, while what the first one ended was told
        signals.leave()
    if code == signals.code():
        signals.leave()
    sys.exit(code)


if __name__ == "__main__":
    entry()
