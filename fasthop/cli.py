"""The command line. Exit codes: 0 done, 1 failed, 2 wrong usage, spec or folder, 130 interrupted."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fasthop import __version__
from fasthop.sweep.errors import FolderError, SpecError, TableError

# Everything else is imported where it is used: `fasthop --help` must not wait for numba and pandas.


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"fasthop: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fasthop", description="Batch simulation of associative memories, as Parquet tables.")
    parser.add_argument("--version", action="version", version=f"fasthop {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    command = commands.add_parser("run", help="run a sweep, or go on with it")
    command.add_argument("spec", metavar="SPEC", help="a TOML file")
    command.add_argument("--out", metavar="DIR", type=Path, help="the folder for its tables: new, or of the same sweep")
    command.add_argument("--threads", metavar="N", type=int, help="threads of the kernels; all cores by default")
    command.add_argument("--dry-run", action="store_true", help="say what would be done, and create nothing")
    command.set_defaults(do=_run, resumable=True)

    command = commands.add_parser("demo", help="run three small sweeps and print what comes out")
    command.add_argument("--out", metavar="DIR", type=Path, default=Path("runs/demo"), help="default: runs/demo")
    command.set_defaults(do=_demo, resumable=True)

    command = commands.add_parser("read", help="print the rows of a sweep")
    command.add_argument("folder", metavar="DIR", type=Path)
    command.add_argument("--summary", action="store_true", help="the summary of its tasks instead")
    command.add_argument("--csv", action="store_true", help="all rows, as CSV")
    command.set_defaults(do=_read, resumable=False)

    command = commands.add_parser("plot", help="draw what a sweep holds by now")
    command.add_argument("folder", metavar="DIR", type=Path)
    command.set_defaults(do=_plot, resumable=False)

    command = commands.add_parser("info", help="print versions, threads and the instruction set")
    command.set_defaults(do=_info, resumable=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; what goes wrong for reasons outside fasthop is one sentence on stderr.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.

    Returns
    -------
    int
        The exit code.
    """
    argv = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(argv)
    again = f"; what is finished is kept, go on with: fasthop {shlex.join(argv)}" if arguments.resumable else "."
    try:
        code: int = arguments.do(arguments)
        sys.stdout.flush()
        return code
    except SpecError as error:
        return _say(error.problems, 2)
    except FolderError as error:
        return _say([str(error)], 2)
    except TableError as error:
        return _say([str(error)], 1)
    except MemoryError as error:
        return _say([f"out of memory: {str(error) or 'the system has no more'}{again}"], 1)
    except KeyboardInterrupt:
        return _say([f"interrupted{again}"], 130)
    except BrokenPipeError:  # `fasthop read DIR --csv | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it exits
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _say([f"{where}{error.strerror or error}{again}"], 1)


def _say(sentences: Sequence[str], code: int) -> int:
    for sentence in sentences:
        print(f"fasthop: {sentence}", file=sys.stderr)
    return code


def _run(arguments: argparse.Namespace) -> int:
    from fasthop.sweep.run import outlook, run

    if arguments.dry_run:
        plan = outlook(arguments.spec, arguments.out)
        total = f"tasks: {plan.tasks}, realisations: {plan.realisations}, chunks: {plan.chunks}"
        print(f"{total}, of which still to be computed: {plan.left}")
        return 0
    if arguments.out is None:
        return _say(["run needs --out DIR, the folder for its tables."], 2)
    if arguments.threads is not None:
        import numba

        most = numba.config.NUMBA_NUM_THREADS
        if not 1 <= arguments.threads <= most:
            return _say([f"--threads must be a whole number from 1 to {most}; got {arguments.threads}."], 2)
        numba.set_num_threads(arguments.threads)
    report = run(arguments.spec, arguments.out)
    done = f"{report.rows} rows in {report.chunks} chunks computed, {report.skipped} chunks were there already"
    print(f"{report.out}: {done}; {report.seconds:.1f} s.")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from fasthop.demo import main as demo

    demo(arguments.out)
    return 0


def _read(arguments: argparse.Namespace) -> int:
    from fasthop.sweep.read import read

    frame = read(arguments.folder, arguments.summary)
    if arguments.csv:
        frame.to_csv(sys.stdout, index=False, lineterminator="\n")
    else:
        print(frame.to_string(index=False, max_rows=40))
        print(f"{len(frame)} rows, {len(frame.columns)} columns")
    return 0


def _plot(arguments: argparse.Namespace) -> int:
    from fasthop.sweep.run import plot

    print(plot(arguments.folder))
    return 0


def _info(arguments: argparse.Namespace) -> int:
    import platform
    from importlib.metadata import version

    import numba

    from fasthop_kernels import ensemble
    from fasthop_kernels.lanes import instruction_set

    statistics = getattr(ensemble.work, "stats", None)  # a plain function under NUMBA_DISABLE_JIT
    cache = getattr(statistics, "cache_path", None)
    threads = numba.get_num_threads()  # starts them, which is when numba chooses its threading layer
    lines = {
        "fasthop": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("numba", "numpy", "pandas", "pyarrow")},
        "threads": threads,
        "threading layer": numba.threading_layer(),
        "instruction set": instruction_set(),
        "kernel cache": cache or "none; every process compiles anew",
    }
    for name, value in lines.items():
        print(f"{name:16s} {value}")
    return 0
