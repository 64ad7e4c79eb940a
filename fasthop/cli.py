"""The command line. Exit codes: 0 done, 1 failed, 2 wrong usage, spec or folder, 128 + the signal that ended it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from fasthop import __version__, signals
from fasthop.sweep.errors import ClusterError, FolderError, SpecError, TableError
from fasthop.sweep.terminal import Remarks, printable, say, silence

if TYPE_CHECKING:
    from fasthop.sweep.merge import MergeReport

# Everything else is imported where it is used: `fasthop --help` must not wait for numba and pandas.


#: Parts of a sweep; more are a slip of the pen.
MOST_SHARDS = 10**6


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, printable(f"fasthop: {message}\n"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fasthop", description="Batch simulation of associative memories, as Parquet tables.")
    parser.add_argument("--version", action="version", version=f"fasthop {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    command = commands.add_parser("run", help="run a sweep, or go on with it")
    command.add_argument("spec", metavar="SPEC", help="a TOML file")
    command.add_argument("--out", metavar="DIR", type=_folder, help="for its tables: new, or of the same sweep")
    command.add_argument("--threads", metavar="N", type=int, help="threads of the kernels; all cores by default")
    command.add_argument("--shard", metavar="I/N", type=_shard, help="compute the I-th of N parts; see merge")
    command.add_argument("--dask", metavar="ADDRESS", help="compute on the workers of this dask scheduler, or its file")
    command.add_argument(
        "--dask-security", metavar="FILE", help="for a tls:// scheduler: TOML with tls_ca_file, tls_client_cert, …"
    )
    command.add_argument("--log-json", action="store_true", help="progress as lines of JSON on stderr")
    command.add_argument(
        "--dry-run", action="store_true", help="say what would be done and how long it would take, and create nothing"
    )
    command.set_defaults(do=_run, resumable=True)

    command = commands.add_parser("status", help="say how far a sweep is, with the intervals so far")
    command.add_argument("folder", metavar="DIR", type=_folder)
    command.set_defaults(do=_status, resumable=False)

    command = commands.add_parser("merge", help="put shards or copies of a sweep together")
    command.add_argument("folders", metavar="DIR", type=_folder, nargs="+")
    command.add_argument("--out", "-o", metavar="DIR", type=_folder, required=True, help="new, or of the same sweep")
    command.set_defaults(do=_merge, resumable=False)

    command = commands.add_parser("compact", help="put the files of a sweep together in few")
    command.add_argument("folder", metavar="DIR", type=_folder)
    command.set_defaults(do=_compact, resumable=False)

    command = commands.add_parser("verify", help="look for damage, duplicates and gaps, and compute a sample again")
    command.add_argument("folder", metavar="DIR", type=_folder)
    command.add_argument("--sample", metavar="N", type=int, default=3, help="chunks to compute again; default: 3")
    command.add_argument("--seed", metavar="S", type=int, default=0, help="which chunks; default: 0")
    command.set_defaults(do=_verify, resumable=False)

    command = commands.add_parser("demo", help="run three small sweeps and print what comes out")
    command.add_argument("--out", metavar="DIR", type=_folder, default=Path("runs/demo"), help="default: runs/demo")
    command.set_defaults(do=_demo, resumable=True)

    command = commands.add_parser("read", help="print the rows of a sweep")
    command.add_argument("folder", metavar="DIR", type=_folder)
    command.add_argument("--summary", action="store_true", help="the summary of its tasks instead")
    command.add_argument("--csv", action="store_true", help="all rows, as CSV")
    command.set_defaults(do=_read, resumable=False)

    command = commands.add_parser("plot", help="draw what a sweep holds by now")
    command.add_argument("folder", metavar="DIR", type=_folder)
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
        return code
    except SpecError as error:
        return _say(error.problems, 2)
    except FolderError as error:
        return _say([str(error)], 2)
    except ClusterError as error:
        return _say([f"{error}{again}" if arguments.resumable else str(error)], 1)
    except TableError as error:
        return _say([str(error)], 1)
    except MemoryError as error:
        return _say([f"out of memory: {str(error) or 'the system has no more'}{again}"], 1)
    except KeyboardInterrupt:
        return _say([f"{signals.told()}{again}"], signals.code())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _say([f"{where}{error.strerror or error}{again}"], 1)


def _say(sentences: Sequence[str], code: int) -> int:
    remarks = Remarks(sys.stderr)
    for sentence in sentences:
        print(printable(f"fasthop: {sentence}").replace("\n", " "), file=remarks, flush=True)
    return code


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("must be the path of a folder; got an empty text. The current one is a dot.")
    return Path(text)


def _shard(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    digits = slash and index.isdecimal() and count.isdecimal() and len(text) < 30
    if not (digits and 1 <= int(index) <= int(count) <= MOST_SHARDS):
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise argparse.ArgumentTypeError(f"must be I/N with 1 ≤ I ≤ N ≤ {MOST_SHARDS}, as 1/3; got {shown}.")
    return int(index), int(count)


def _run(arguments: argparse.Namespace) -> int:
    from fasthop.sweep.progress import json_lines
    from fasthop.sweep.run import outlook, run
    from fasthop.sweep.spec import load_spec

    if arguments.dry_run:
        plan = outlook(arguments.spec, arguments.out, shard=arguments.shard, timed=True)
        most = ", at most" if plan.at_most else ""
        say(f"tasks: {plan.tasks}, realisations: {plan.realisations}, chunks: {plan.chunks}{most}")
        say(f"still to be computed: {plan.left} chunks" + (f", about {plan.rows} rows{most}" if plan.timed else ""))
        if plan.seconds is not None:
            chunks = "1 chunk" if plan.timed == 1 else f"{plan.timed} chunks"
            say(f"time on this machine: about {_duration(plan.seconds)}{most}, from {chunks} timed")
        return 0
    if arguments.out is None:
        return _say(["run needs --out DIR, the folder for its tables."], 2)
    if arguments.threads is not None:
        import numba

        most = numba.config.NUMBA_NUM_THREADS
        if not 1 <= arguments.threads <= most:
            return _say([f"--threads must be a whole number from 1 to {most}; got {arguments.threads}."], 2)
        numba.set_num_threads(arguments.threads)
    progress = json_lines(sys.stderr) if arguments.log_json else True
    where = {"dask": arguments.dask, "dask_security": arguments.dask_security}
    spec = load_spec(arguments.spec)
    with signals.finishing():
        report = run(spec, arguments.out, progress, shard=arguments.shard, **where)
    done = f"{report.rows} rows in {report.chunks} chunks computed, {report.skipped} chunks were there already"
    say(f"{report.out}: {done}; {report.seconds:.1f} s.")
    _say(report.notes, 0)
    if not report.failed:
        return 0
    few = "1 realisation has" if len(report.failed) == 1 else f"{len(report.failed)} realisations have"
    told = f"{report.failed[0]}; fasthop status {shlex.quote(str(report.out))} lists them, a new run tries them again."
    return _say([f"{few} no rows: {told}"], 1)


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


#: Failed realisations that are named one by one.
_LISTED = 20


def _status(arguments: argparse.Namespace) -> int:
    from fasthop.sweep.status import status

    found = status(arguments.folder)
    say(found.tasks.to_string(index=False, max_rows=40, na_rep="", float_format="{:.4g}".format))
    for run in found.runs[-5:]:
        took = f"{run.get('seconds', 0):.1f} s, {run.get('chunks', 0)} chunks, {run.get('ended', 'running or killed')}"
        say(f"{run['command']} of {run['started']} on {run['host']}: {took}")
    for failure in found.failed[:_LISTED]:
        say(str(failure))
    if len(found.failed) > _LISTED:
        say(f"… and {len(found.failed) - _LISTED} more")
    done = found.chunks - found.left
    say(f"{found.folder}: {done} of {found.chunks} chunks, {found.rows} rows in {found.files} files")
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    from fasthop.sweep.merge import merge

    with signals.finishing():
        report = merge(arguments.folders, arguments.out)
    return _merged(report)


def _compact(arguments: argparse.Namespace) -> int:
    from fasthop.sweep.merge import compact

    with signals.finishing():
        report = compact(arguments.folder)
    return _merged(report)


def _merged(report: MergeReport) -> int:
    say(
        f"{report.out}: {report.rows} rows; {report.files_before} files became {report.files}; "
        f"{report.repeated} realisations were there more than once"
    )
    if len(report.instruction_sets) > 1:
        sets = ", ".join(report.instruction_sets)
        computed = f"the rows were computed with several instruction sets ({sets}): they agree in distribution"
        bits = f"one machine would not give these bits; {report.differing} repeated realisations differ in theirs"
        _say([f"{computed}, but {bits}"], 0)
    return _say(report.notes, 0)


def _verify(arguments: argparse.Namespace) -> int:
    from fasthop.sweep.verify import verify

    report = verify(arguments.folder, arguments.sample, arguments.seed)
    for note in report.notes:
        say(f"note: {note}")
    looked = f"{report.rows} rows in {report.files} files looked at, {report.recomputed} chunks computed again"
    say(f"{report.folder}: {looked}; {len(report.problems) or 'no'} problem{'s' * (len(report.problems) != 1)}")
    return _say(report.problems, 1) if report.problems else 0


def _demo(arguments: argparse.Namespace) -> int:
    from fasthop.demo import main as demo

    with signals.finishing():
        demo(arguments.out)
    return 0


def _read(arguments: argparse.Namespace) -> int:
    from fasthop.sweep.read import read

    frame = read(arguments.folder, arguments.summary)
    if arguments.csv:
        try:
            frame.to_csv(sys.stdout, index=False, lineterminator="\n")
            sys.stdout.flush()
        except BrokenPipeError:
            silence(sys.stdout)
    else:
        say(frame.to_string(index=False, max_rows=40))
        say(f"{len(frame)} rows, {len(frame.columns)} columns")
    return 0


def _plot(arguments: argparse.Namespace) -> int:
    from fasthop.sweep.summary import plot

    with signals.finishing():
        picture = plot(arguments.folder)
    say(str(picture))
    return 0


def _info(arguments: argparse.Namespace) -> int:
    import platform
    from importlib.metadata import version

    import numba

    from fasthop.sweep.machine import blas, instruction_set
    from fasthop_kernels.dynamics import ensemble

    statistics = getattr(ensemble.work, "stats", None)  # a plain function under NUMBA_DISABLE_JIT
    cache = getattr(statistics, "cache_path", None)
    lines = {
        "fasthop": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("numba", "numpy", "scipy", "pandas", "pyarrow")},
        "threads": numba.get_num_threads(),
        "instruction set": instruction_set(),
        "BLAS": ", ".join(" ".join(library.values()) for library in blas()),
        "kernel cache": cache or "none; every process compiles anew",
    }
    for name, value in lines.items():
        say(f"{name:16s} {value}")
    return 0
