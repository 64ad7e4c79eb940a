"""Random numbers on all threads: rows of arrays (R, C, N), each of one realisation and item, and matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fasthop.runtime import on_queue, on_threads, workers_for
from fasthop_kernels import goe
from fasthop_kernels.mathematics import random, variates

#: Numbers that a thread draws before it looks whether to stop: a fraction of a millisecond.
_AT_ONCE = 2**15


def signs(seed: int, tag: int, realisations: np.ndarray, first: int, probability: float, out: np.ndarray) -> None:
    """Fill `out` as `fasthop_kernels.mathematics.random.signs` does."""
    _fill(
        out, lambda r, c, part: random.signs(np.uint64(seed), tag, realisations[r], first + c.start, probability, part)
    )


def flips(
    seed: int,
    tag: int,
    realisations: np.ndarray,
    patterns: np.ndarray,
    first: int,
    which: np.ndarray,
    probability: float,
    out: np.ndarray,
) -> None:
    """Fill `out` as `fasthop_kernels.mathematics.random.flips` does."""
    _fill(
        out,
        lambda r, c, part: random.flips(
            np.uint64(seed), tag, realisations[r], patterns[r], first + c.start, which[c], probability, part
        ),
    )


def uniforms(seed: int, tag: int, realisations: np.ndarray, first: int, out: np.ndarray) -> None:
    """Fill `out` as `fasthop_kernels.mathematics.random.uniforms` does."""
    _fill(out, lambda r, c, part: random.uniforms(np.uint64(seed), tag, realisations[r], first + c.start, part))


def normals(seed: int, tag: int, realisations: np.ndarray, first: int, out: np.ndarray) -> None:
    """Fill `out` as `fasthop_kernels.mathematics.variates.normals` does."""
    _fill(out, lambda r, c, part: variates.normals(np.uint64(seed), tag, realisations[r], first + c.start, part))


def dense(seed: int, first: int, scale: float, out: np.ndarray) -> None:
    """Fill `out`, shape (matrices, N, N), as `fasthop_kernels.goe.dense` does."""
    on_queue(out.size // _AT_ONCE, goe.dense, np.uint64(seed), first, scale, out)


def _fill(out: np.ndarray, draw: Callable[[slice, slice, np.ndarray], None]) -> None:
    """Call draw(realisations, items, part of out) for parts that lie together in memory."""
    realisations, items, neurons = out.shape
    rows = max(1, _AT_ONCE // max(1, neurons))
    many = max(1, rows // max(1, items))  # whole realisations, or some items of one
    parts = [
        (slice(r, r + many), slice(c, min(c + rows, items)))
        for r in range(0, realisations, many)
        for c in range(0, items, rows)
    ]
    if len(parts) == 1:
        draw(*parts[0], out)
        return
    workers = workers_for(len(parts))

    def work(worker: int, stop: np.ndarray) -> None:
        for at in parts[worker::workers]:
            if stop[0]:
                return
            draw(*at, out[at])

    on_threads(workers, work)
