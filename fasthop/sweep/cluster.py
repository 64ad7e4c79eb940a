"""Compute chunks on the workers of a dask scheduler: other machines, the same bits."""

from __future__ import annotations

import functools
import itertools
import json
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import fasthop
from fasthop.files import read_file
from fasthop.sweep.attempt import Attempt, Columns, Compute, as_result, attempt
from fasthop.sweep.errors import ClusterError, SpecError
from fasthop.sweep.machine import kernel_digest, machine
from fasthop.sweep.pending import Result
from fasthop.sweep.plan import Chunk
from fasthop.sweep.spec import Spec
from fasthop.sweep.tls import security_fields

try:
    from distributed import CancelledError, Client, KilledWorker, Security, as_completed
    from distributed.comm import get_address_host_port
    from distributed.comm.core import CommClosedError
except ImportError:
    raise ClusterError("--dask needs dask.distributed: install fasthop[dask].") from None

#: Chunks on their way for each worker: one that is computed and one that waits.
_AHEAD = 2

#: Seconds to wait for a scheduler, and for the first worker.
PATIENCE = 60.0

#: Bytes of a scheduler file at most.
_MOST_FILE = 10**6

#: What addresses with TLS begin with.
_ENCRYPTED = ("tls://", "wss://")


class Loaded(NamedTuple):
    """What a scheduler or worker would compute with."""

    python: str
    fasthop: str
    kernels: str

    def __str__(self) -> str:
        return f"fasthop {self.fasthop} on Python {self.python}"


def loaded() -> Loaded:
    """Return what this process would compute with."""
    return Loaded(".".join(map(str, sys.version_info[:2])), fasthop.__version__, kernel_digest())


@contextmanager
def on_cluster(address: str, security: str | Path | None = None) -> Iterator[Compute]:
    """Connect to a scheduler and check it and its workers; give what computes chunks there.

    A worker that dies costs the chunk it was computing, which another one computes again. Results come in any order;
    the bits of each are those that this machine would compute, as far as the instruction sets agree.

    Parameters
    ----------
    address : str
        Of the scheduler, or the path of a scheduler file, which ends in .json. Workers have one task thread
        (`--nthreads 1`) and `NUMBA_NUM_THREADS` in their environment before they start.
    security : path, optional
        A file for `security_fields`, of a scheduler at tls://; what dask's own configuration says by default.

    Raises
    ------
    SpecError
        Where the file is wrong, or is not for this address.
    ClusterError
        Where the scheduler or its workers cannot be reached, or have another fasthop or several task threads; while
        chunks are computed, where they are gone.
    """
    fields = {} if security is None else security_fields(security)
    place = _from_file(address) if address.endswith(".json") else address
    if "://" not in place:
        place = f"{'tls' if fields.get('require_encryption') else 'tcp'}://{place}"
    try:
        get_address_host_port(place)
    except ValueError as error:
        raise SpecError([f"{place} is no address of a scheduler, as tcp://head:8786: {error}."]) from None
    with _connected(place, _security(place, security, fields)) as client:
        _check(client, place)
        yield functools.partial(_compute, client, place)


def _from_file(path: str) -> str:
    """Return the address in the file that a scheduler writes once it has one."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            found = json.loads(read_file(path, _MOST_FILE))
            address = found.get("address") if isinstance(found, dict) else None
            if isinstance(address, str) and address:
                return address
            reason, may_come = "it has no address", True
        except OSError as error:
            reason, may_come = f"{error.strerror}", isinstance(error, FileNotFoundError)
        except (RecursionError, ValueError):
            reason, may_come = "it is not JSON", True  # it may be half written
        if not may_come or time.monotonic() > until:
            raise ClusterError(f"the scheduler file {path} cannot be read: {reason}.")
        time.sleep(0.1)


def _security(address: str, file: str | Path | None, fields: Mapping[str, Any]) -> Security:
    encrypted = address.startswith(_ENCRYPTED)
    due = "tls_ca_file, tls_client_cert and tls_client_key"
    if fields.get("require_encryption") and not encrypted:
        raise SpecError([f"{file} is for a scheduler at tls://…, and requires encryption; got {address}."])
    try:
        security = Security(**fields)
        there = security.get_connection_args("client")["ssl_context"]
    except (OSError, TypeError, ValueError) as error:
        raise SpecError([f"dask's configuration has no certificates that can be read: {error}."]) from None
    if encrypted and there is None:
        raise SpecError([f"{address} needs certificates: give dask_security (--dask-security), a file with {due}."])
    return security


def _connected(address: str, security: Security) -> Client:
    try:
        return Client(address, security=security, timeout=PATIENCE, set_as_default=False)
    except (OSError, RuntimeError, ValueError) as error:
        reason = _innermost(error)
        raise ClusterError(f"there is no scheduler at {address} that lets this client in: {reason}.") from None


def _innermost(error: BaseException | None) -> str:
    """Return the reason nearest to the cause, which asyncio may have wrapped, or cut off, in words of its own."""
    reason = ""
    while error is not None:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = _OBJECT.sub("", text).rstrip(".") or reason
        error = error.__cause__
    return reason


#: Which object of dask's a reason was met in.
_OBJECT = re.compile(r"^in <.*>: (?:\w+: )?(?:\[Errno \d+\] )?")


def _check(client: Client, address: str) -> None:
    """Refuse a scheduler or workers that would compute something else, or nothing."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except (OSError, TimeoutError):
        raise ClusterError(f"the scheduler at {address} has no workers after {PATIENCE:g} seconds.") from None
    for name, threads in client.nthreads().items():
        if threads != 1:
            raise ClusterError(
                f"the worker {name} has {threads} task threads: start it with --nthreads 1 and "
                "NUMBA_NUM_THREADS in its environment, so that one chunk has all its cores."
            )
    try:
        there = {f"the scheduler at {address}": client.run_on_scheduler(loaded)}
    except Exception as error:  # whatever unpickling meets there
        there = {f"the scheduler at {address}": error}
    there |= {f"the worker {name}": found for name, found in client.run(loaded, on_error="return").items()}
    here = loaded()
    for name, found in there.items():
        if not isinstance(found, Loaded):
            raise ClusterError(f"{name} cannot load fasthop {fasthop.__version__}: install this version there.")
        if found[:2] != here[:2]:
            raise ClusterError(f"{name} has {found}, and this client {here}: install one version everywhere.")
        if found != here:
            raise ClusterError(f"{name} has other kernels ({found}): install one version everywhere.")


def _compute(client: Client, address: str, spec: Spec, chunks: Iterable[Chunk]) -> Iterator[Result]:
    sources = kernel_digest()
    running: dict[Any, Chunk] = {}
    ahead, done = iter(chunks), as_completed(loop=client.loop, with_results=True)
    while True:
        room = _AHEAD * max(1, len(client.nthreads())) - len(running)
        for chunk in itertools.islice(ahead, max(room, 0)):
            arguments = chunk.task.parameters, list(chunk.realisations), spec.seed, sources
            key = f"{chunk.id}-{uuid.uuid4().hex[:8]}"  # two runs on one scheduler must not share results
            future = client.submit(computed, spec.experiment.rows, *arguments, key=key, pure=False)
            running[future] = chunk
            done.add(future)
        if not running:
            return
        try:
            future, (found, where, seconds) = next(done)
        except KilledWorker as error:
            raise ClusterError(f"workers died again and again while they computed one chunk: {error}") from None
        except (ImportError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "deserialization" not in str(error):
                raise  # an experiment's own
            raise ClusterError(
                f"the scheduler at {address} or one of its workers cannot load fasthop {fasthop.__version__}: "
                "install this version on all of them"
            ) from None
        except (CancelledError, CommClosedError) as error:
            raise ClusterError(f"the scheduler at {address} is gone: {error}.") from None
        yield as_result(spec, running.pop(future), found, seconds, where)


def computed(
    rows: Callable[..., Columns],
    task: Mapping[str, Any],
    realisations: Sequence[int],
    seed: int,
    sources: str,
) -> tuple[Attempt, dict[str, Any], float]:
    """Compute a chunk on a worker; return what came of it, what the worker is, and the seconds it took.

    Raises
    ------
    ClusterError
        Where the worker's kernels are not those with the digest `sources`.
    """
    if kernel_digest() != sources:
        raise ClusterError(
            f"a worker has other kernels (fasthop {fasthop.__version__}): install one version everywhere."
        )
    began = time.perf_counter()
    found = attempt(rows, task, realisations, seed)
    return found, machine(), time.perf_counter() - began
