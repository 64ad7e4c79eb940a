"""Compute chunks on the workers of a dask scheduler: other machines, the same bits."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import fasthop
from fasthop.sweep.attempt import Attempt, Columns, as_result, attempt
from fasthop.sweep.errors import ClusterError
from fasthop.sweep.machine import kernel_digest, machine
from fasthop.sweep.pending import Result
from fasthop.sweep.plan import Chunk
from fasthop.sweep.spec import Spec

try:
    from distributed import CancelledError, Client, KilledWorker, as_completed
    from distributed.comm.core import CommClosedError
except ImportError:
    raise ClusterError("--dask needs dask.distributed: install fasthop[dask].") from None

#: Chunks on their way for each worker: one that is computed and one that waits.
_AHEAD = 2

#: Seconds to wait for a scheduler, and for the first worker.
PATIENCE = 60.0


def on_cluster(address: str) -> Callable[[Spec, Iterable[Chunk]], Iterator[Result]]:
    """Return what computes chunks on the workers of a scheduler.

    A worker that dies costs the chunk it was computing, which another one computes again. Results come in any order;
    the bits of each are those that this machine would compute, as far as the instruction sets agree.

    Parameters
    ----------
    address : str
        Of the scheduler, or the path of a scheduler file, which ends in .json. Workers have one task thread
        (`--nthreads 1`) and `NUMBA_NUM_THREADS` in their environment before they start.

    Raises
    ------
    ClusterError
        When chunks are asked for: where the scheduler or its workers cannot be reached, or have another fasthop or
        several task threads.
    """

    def compute(spec: Spec, chunks: Iterable[Chunk]) -> Iterator[Result]:
        with _connected(address) as client:
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

    return compute


def _connected(address: str) -> Client:
    place = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        client = Client(**place, timeout=PATIENCE, set_as_default=False)
        client.wait_for_workers(1, timeout=PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(f"no workers at {address}: {error}.") from None
    for name, threads in client.nthreads().items():
        if threads != 1:
            client.close()
            raise ClusterError(
                f"the worker {name} has {threads} task threads: start it with --nthreads 1 and "
                "NUMBA_NUM_THREADS in its environment, so that one chunk has all its cores."
            )
    return client


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
