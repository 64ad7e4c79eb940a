"""Patterns to store and cues to recall them from; every number is a function of the seed and its indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fasthop import checks, fill
from fasthop.files import read_file, shipped
from fasthop_kernels.mathematics import random

#: Cues and starts of a realisation at most: their number is one word of the random generator's counter.
MOST_ITEMS = 2**32

#: Ink, of 0 … 16, from which on a pixel of a digit is +1.
INK = 8


def random_patterns(
    count: int, neurons: int, *, bias: float = 0.0, seed: int = 0, realisations: Sequence[int] | None = None
) -> np.ndarray:
    """Return independent patterns of ±1, by default with equal probability.

    Patterns are nested: `random_patterns(P + 1, N)` extends `random_patterns(P, N)` by a row, more neurons extend every
    row, and what is +1 stays so at every larger bias.

    Parameters
    ----------
    count, neurons : int
        P and N, at least 1.
    bias : float
        The mean of an entry, −1 … 1.
    seed : int
        0 … 2⁶⁴ − 1.
    realisations : sequence of int, optional
        One set of patterns for each; by default the one set of realisation 0.

    Returns
    -------
    float64 array, shape (P, N), or (R, P, N) where `realisations` is given
    """
    count, neurons = checks.whole("count", count, least=1), checks.whole("neurons", neurons, least=1)
    up = (1.0 + checks.real("bias", bias, least=-1, most=1)) / 2
    ids = _realisations(realisations)
    out = np.empty((ids.size, count, neurons))
    fill.signs(checks.seed("seed", seed), random.PATTERN, ids, 0, up, out)
    return out[0] if realisations is None else out


def correlated_patterns(
    count: int, neurons: int, correlation: float, *, seed: int = 0, realisations: Sequence[int] | None = None
) -> np.ndarray:
    """Return patterns of ±1 that share a random parent: the mean overlap of any two of them is `correlation`.

    Every entry is the parent's, negated with probability (1 − √c)/2. Nested in `count` and `neurons`.

    Parameters
    ----------
    count, neurons : int
        P and N, at least 1.
    correlation : float
        c, 0 … 1.
    seed : int
    realisations : sequence of int, optional
        One parent and its patterns for each; by default those of realisation 0.

    Returns
    -------
    float64 array, shape (P, N), or (R, P, N) where `realisations` is given
    """
    c = checks.real("correlation", correlation, least=0, most=1)
    ids = _ids(realisations)
    # The parent is item 0 and the patterns are made of the items after it.
    parent = random_patterns(1, neurons, seed=seed, realisations=ids)
    likeness = random_patterns(count + 1, neurons, bias=np.sqrt(c), seed=seed, realisations=ids)
    out = np.asarray(parent * likeness[:, 1:])
    return out[0] if realisations is None else out


def spherical_patterns(
    count: int, neurons: int, *, seed: int = 0, realisations: Sequence[int] | None = None
) -> np.ndarray:
    """Return patterns drawn uniformly from the sphere |ξ|² = N; nested in `count`.

    Parameters
    ----------
    count, neurons : int
        P and N, at least 1.
    seed : int
    realisations : sequence of int, optional

    Returns
    -------
    float64 array, shape (P, N), or (R, P, N) where `realisations` is given
    """
    count, neurons = checks.whole("count", count, least=1), checks.whole("neurons", neurons, least=1)
    out = _normals(random.PATTERN, range(count), neurons, seed, realisations)
    out *= np.sqrt(neurons / (out * out).sum(axis=-1, keepdims=True))
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
    ink, digits = digit_ink()
    return np.where(ink >= INK, 1.0, -1.0), digits


def digit_means() -> np.ndarray:
    """Return the ten class means of the digits, each +1 where the mean ink is 8 of 16 or more, shape (10, 64)."""
    ink, digits = digit_ink()
    return np.where([ink[digits == digit].mean(axis=0) >= INK for digit in range(10)], 1.0, -1.0)


def choose(patterns: Any, count: int, *, seed: int = 0, realisations: Sequence[int] | None = None) -> np.ndarray:
    """Return `count` different ones of some patterns, drawn at random; nested in `count`.

    Parameters
    ----------
    patterns : array_like, shape (P, N)
    count : int
        1 … P.
    seed : int
    realisations : sequence of int, optional
        A choice for each; by default that of realisation 0.

    Returns
    -------
    float64 array, shape (count, N), or (R, count, N) where `realisations` is given
    """
    there = checks.real_array("patterns", patterns, np.float64, shape=("P", "N"))
    most = checks.whole("count", count, least=1, most=len(there))
    ids = _realisations(realisations)
    keys = np.empty((ids.size, 1, len(there)))
    fill.uniforms(checks.seed("seed", seed), random.PATTERN, ids, 0, keys)
    order = np.argsort(keys[:, 0], axis=1, kind="stable")
    out = np.asarray(there[order[:, :most]])
    return out[0] if realisations is None else out


def flip(
    patterns: Any,
    probability: float,
    *,
    cues: int | range | None = None,
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
    cues : int or range, optional
        C, for the cues 0 … C − 1, or the numbers of the cues; by default P of them.
    seed : int
    realisations : sequence of int, optional

    Returns
    -------
    float64 array, shape (C, N) or (R, C, N)
    """
    p = checks.real("probability", probability, least=0, most=1)
    xi, ids, numbers = _cue_patterns(patterns, cues, realisations)
    out = np.empty((ids.size, len(numbers), xi.shape[2]))
    which = np.array(numbers) % xi.shape[1]
    fill.flips(checks.seed("seed", seed), random.CUE, ids, xi, numbers.start, which, p, out)
    return out[0] if realisations is None else out


def flip_exactly(
    patterns: Any,
    entries: int,
    *,
    cues: int | range | None = None,
    seed: int = 0,
    realisations: Sequence[int] | None = None,
) -> np.ndarray:
    """Return noisy cues: cue c is pattern c mod P with exactly `entries` of its entries negated, drawn at random.

    What a smaller number flips, a larger one flips, too.

    Parameters
    ----------
    patterns : array_like, shape (P, N), or (R, P, N) with `realisations`
    entries : int
        0 … N.
    cues, seed, realisations
        As in `flip`.

    Returns
    -------
    float64 array, shape (C, N) or (R, C, N)
    """
    return _scaled_entries(patterns, entries, -1.0, cues, seed, realisations)


def add_noise(
    patterns: Any,
    sigma: float,
    *,
    cues: int | range | None = None,
    seed: int = 0,
    realisations: Sequence[int] | None = None,
) -> np.ndarray:
    """Return noisy cues: cue c is pattern c mod P plus σ times normal numbers, the same ones for every σ.

    Parameters
    ----------
    patterns : array_like, shape (P, N), or (R, P, N) with `realisations`
    sigma : float
        σ, at least 0.
    cues, seed, realisations
        As in `flip`.

    Returns
    -------
    float64 array, shape (C, N) or (R, C, N)
    """
    xi, ids, numbers = _cue_patterns(patterns, cues, realisations)
    size = checks.real("sigma", sigma, least=0)
    out = _normals(random.CUE, numbers, xi.shape[2], seed, ids.tolist())
    out *= size
    out += xi[:, np.array(numbers) % xi.shape[1]]
    return out[0] if realisations is None else out


def hide_last(patterns: Any, entries: int) -> np.ndarray:
    """Return the patterns with their last entries set to 0, as half an image is hidden.

    Parameters
    ----------
    patterns : array_like, shape (…, N)
    entries : int
        0 … N.

    Returns
    -------
    float64 array of the shape of `patterns`
    """
    out = checks.real_array("patterns", patterns, np.float64)
    if out.ndim == 0:
        raise ValueError("patterns must have neurons on their last axis; got a number.")
    hidden = checks.whole("entries", entries, least=0, most=out.shape[-1])
    out[..., out.shape[-1] - hidden :] = 0.0
    return out


def hide(
    patterns: Any,
    entries: int,
    *,
    cues: int | range | None = None,
    seed: int = 0,
    realisations: Sequence[int] | None = None,
) -> np.ndarray:
    """Return incomplete cues: cue c is pattern c mod P with exactly `entries` of its entries set to 0, at random.

    What a smaller number hides, a larger one hides, too; the entries are those that `flip_exactly` negates.

    Parameters
    ----------
    patterns : array_like, shape (P, N), or (R, P, N) with `realisations`
    entries : int
        0 … N.
    cues, seed, realisations
        As in `flip`.

    Returns
    -------
    float64 array, shape (C, N) or (R, C, N)
    """
    return _scaled_entries(patterns, entries, 0.0, cues, seed, realisations)


def digit_ink() -> tuple[np.ndarray, np.ndarray]:
    """Return the ink of the digits, 0 … 16, uint8 of shape (1797, 64), and which digits they are."""
    table = pq.read_table(pa.BufferReader(read_file(shipped("digits.parquet"))))
    ink = np.stack([table[name].to_numpy() for name in table.column_names if name.startswith("pixel_")], axis=1)
    return ink, np.array(table["digit"].to_numpy())


def _cue_patterns(
    patterns: Any, cues: int | range | None, realisations: Sequence[int] | None
) -> tuple[np.ndarray, np.ndarray, range]:
    """Return the patterns with an axis of realisations, the realisations, and the numbers of the cues."""
    ids = _realisations(realisations)
    due: tuple[int | str, ...] = ("P", "N") if realisations is None else (ids.size, "P", "N")
    xi = checks.real_array("patterns", patterns, np.float64, shape=due)
    xi = xi[None] if realisations is None else xi
    if 0 in xi.shape:
        raise ValueError(f"patterns must hold at least one pattern of one neuron; got shape {xi.shape[-2:]}.")
    if not isinstance(cues, range):
        return xi, ids, range(xi.shape[1] if cues is None else checks.whole("cues", cues, least=1, most=MOST_ITEMS))
    if cues.step != 1 or not 0 <= cues.start < cues.stop <= MOST_ITEMS:
        raise ValueError(f"cues must be a number or a range within 0 … 2³² with step 1, not empty; got {cues}.")
    return xi, ids, cues


def _scaled_entries(
    patterns: Any,
    entries: int,
    factor: float,
    cues: int | range | None,
    seed: int,
    realisations: Sequence[int] | None,
) -> np.ndarray:
    """Return cues with this many of their entries, the first in a random order, times `factor`."""
    xi, ids, numbers = _cue_patterns(patterns, cues, realisations)
    k = checks.whole("entries", entries, least=0, most=xi.shape[2])
    keys = np.empty((ids.size, len(numbers), xi.shape[2]))
    fill.uniforms(checks.seed("seed", seed), random.CUE, ids, numbers.start, keys)
    rank = np.argsort(np.argsort(keys, axis=-1, kind="stable"), axis=-1, kind="stable")
    out = np.asarray(np.where(rank < k, factor, 1.0) * xi[:, np.array(numbers) % xi.shape[1]])
    out += 0.0  # what is hidden is 0, not −0
    return out[0] if realisations is None else out


def _normals(tag: int, items: range, neurons: int, seed: int, realisations: Sequence[int] | None) -> np.ndarray:
    out = np.empty((len(_ids(realisations)), len(items), neurons))
    fill.normals(checks.seed("seed", seed), tag, _realisations(realisations), items.start, out)
    return out


def _ids(realisations: Sequence[int] | None) -> list[int]:
    return [0] if realisations is None else list(realisations)


def _realisations(realisations: Sequence[int] | None) -> np.ndarray:
    return np.array(_ids(realisations), np.int64)
