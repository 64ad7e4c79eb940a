"""Patterns to store and cues to recall them from; every number is a function of the seed and its indices."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from fasthop import checks
from fasthop.files import shipped
from fasthop.runtime import all_threads
from fasthop_kernels import random

#: Ink, of 0 … 16, from which on a pixel of a digit is +1.
INK = 8


def random_patterns(
    count: int, neurons: int, *, seed: int = 0, realisations: Sequence[int] | None = None
) -> np.ndarray:
    """Return independent patterns of ±1 with equal probability.

    Patterns are nested: `random_patterns(P + 1, N)` extends `random_patterns(P, N)` by a row, and more neurons extend
    every row.

    Parameters
    ----------
    count, neurons : int
        P and N, at least 1.
    seed : int
        0 … 2⁶⁴ − 1.
    realisations : sequence of int, optional
        One set of patterns for each; by default the one set of realisation 0.

    Returns
    -------
    float64 array, shape (P, N), or (R, P, N) where `realisations` is given
    """
    count, neurons = checks.whole("count", count, least=1), checks.whole("neurons", neurons, least=1)
    ids = _realisations(realisations)
    out = np.empty((ids.size, count, neurons))
    with all_threads():
        random.signs(np.uint64(checks.seed("seed", seed)), random.PATTERN, ids, out)
    return out[0] if realisations is None else out


def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """Return 1797 handwritten digits as patterns, +1 where the ink is 8 of 16 or more.

    Returns
    -------
    patterns : float64 array, shape (1797, 64)
    digits : int8 array, shape (1797,)

    Notes
    -----
    Alpaydin and Kaynak 1998, doi 10.24432/C50P49, CC BY 4.0; see `data/README.md`. Their rank is 55.
    """
    ink, digits = _digits()
    return np.where(ink >= INK, 1.0, -1.0), digits


def digit_means() -> np.ndarray:
    """Return the ten class means of the digits, each +1 where the mean ink is 8 of 16 or more, shape (10, 64)."""
    ink, digits = _digits()
    return np.where([ink[digits == digit].mean(axis=0) >= INK for digit in range(10)], 1.0, -1.0)


def digit_choice(count: int, *, seed: int = 0, realisations: Sequence[int]) -> np.ndarray:
    """Return `count` different digit images for each realisation, nested in `count`, shape (R, count, 64)."""
    images, _ = digit_images()
    ids = _realisations(realisations)
    keys = np.empty((ids.size, 1, len(images)))
    with all_threads():
        random.uniforms(np.uint64(seed), random.PATTERN, ids, keys)
    order = np.argsort(keys[:, 0], axis=1, kind="stable")
    return np.asarray(images[order[:, :count]])


def flip(
    patterns: Any,
    probability: float,
    *,
    cues: int | None = None,
    seed: int = 0,
    realisations: Sequence[int] | None = None,
) -> np.ndarray:
    """Return noisy cues: cue c is pattern c mod P with each entry negated independently.

    A larger probability flips what a smaller one flips, and more.

    Parameters
    ----------
    patterns : array_like, shape (P, N), or (R, P, N) with `realisations`
    probability : float
        0 … 1.
    cues : int, optional
        C; by default P.
    seed : int
    realisations : sequence of int, optional

    Returns
    -------
    float64 array, shape (C, N) or (R, C, N)
    """
    p = checks.real("probability", probability, least=0, most=1)
    ids = _realisations(realisations)
    due: tuple[int | str, ...] = ("P", "N") if realisations is None else (ids.size, "P", "N")
    xi = checks.real_array("patterns", patterns, np.float64, shape=due)
    xi = xi[None] if realisations is None else xi
    total = xi.shape[1] if cues is None else checks.whole("cues", cues, least=1)
    out = np.empty((ids.size, total, xi.shape[2]))
    which = np.arange(total) % xi.shape[1]
    with all_threads():
        random.flips(np.uint64(checks.seed("seed", seed)), random.CUE, ids, xi, which, p, out)
    return out[0] if realisations is None else out


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Starts drawn uniformly from the box [low, high]^N.

    Parameters
    ----------
    low, high : float
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        checks.real("low", self.low)
        checks.real("high", self.high, above=self.low)

    def draw(self, count: int, neurons: int, *, seed: int = 0, realisation: int = 0) -> np.ndarray:
        """Return `count` starts, shape (count, neurons); nested in both."""
        out = np.empty((1, checks.whole("count", count, least=1), neurons))
        with all_threads():
            random.uniforms(np.uint64(checks.seed("seed", seed)), random.START, _realisations([realisation]), out)
        return np.asarray(self.low + (self.high - self.low) * out[0])


def _digits() -> tuple[np.ndarray, np.ndarray]:
    table = pq.read_table(shipped("digits.parquet"))
    ink = np.stack([table[name].to_numpy() for name in table.column_names if name.startswith("pixel_")], axis=1)
    return ink, np.array(table["digit"].to_numpy())


def _realisations(realisations: Sequence[int] | None) -> np.ndarray:
    return np.array([0] if realisations is None else list(realisations), np.int64)
