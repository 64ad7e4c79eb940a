"""Compute chunks on the workers of a dask scheduler: other machines, the same bits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import fasthop
from fasthop.sweep.agenda import Result
from fasthop.sweep.errors import ClusterError
from fasthop.sweep.machine import instruction_set, kernel_digest
from fasthop.sweep.plan import Chunk
from fasthop.sweep.spec import Spec

try:
    from distributed import Client, as_completed
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
            ahead, done = iter(chunks), as_completed(with_results=True, raise_errors=True)
            while True:
                room = _AHEAD * max(1, len(client.scheduler_info(n_workers=-1)["workers"])) - len(running)
                for chunk, _ in zip(ahead, range(room)):
                    arguments = chunk.task.parameters, list(chunk.realisations), spec.seed, sources
                    future = client.submit(
                        computed, spec.experiment.rows, *arguments, key=f"{chunk.id}-{spec.seed}", pure=False
                    )
                    running[future] = chunk
                    done.add(future)
                if not running:
                    return
                future, (columns, machine, seconds) = next(done)
                yield Result(running.pop(future), columns, machine, seconds)

    return compute


def _connected(address: str) -> Client:
    place = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        client = Client(**place, timeout=PATIENCE, set_as_default=False)
        client.wait_for_workers(1, timeout=PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(f"no workers at {address}: {error}.") from None
    for name, worker in client.scheduler_info(n_workers=-1)["workers"].items():
        if worker["nthreads"] != 1:
            client.close()
            raise ClusterError(
                f"the worker {name} has {worker['nthreads']} task threads: start it with --nthreads 1 and "
                "NUMBA_NUM_THREADS in its environment, so that one chunk has all its cores."
            )
    return client


def computed(
    rows: Callable[..., Mapping[str, Any]], task: Mapping[str, Any], realisations: Sequence[int], seed: int, sources: str
) -> tuple[Mapping[str, Any], str, float]:
    """Compute a chunk on a worker; return its columns, the worker's instruction set, and the seconds it took.

    Raises
    ------
    ClusterError
        Where the worker's kernels are not those with the digest `sources`.
    """
    if kernel_digest() != sources:
        raise ClusterError(f"a worker has other kernels (fasthop {fasthop.__version__}): install one version everywhere.")
    began = time.perf_counter()
    columns = rows(task, realisations, seed)
    return columns, instruction_set(), time.perf_counter() - began
