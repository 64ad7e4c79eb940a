"""Random numbers that are pure functions of where they are used: Philox4x32-10.

Philox turns a 128-bit counter and a 64-bit key into four 32-bit words (J. K. Salmon, M. A. Moraes, R. O. Dror and
D. E. Shaw, *Parallel random numbers: as easy as 1, 2, 3*, SC 2011, doi:10.1145/2063384.2063405). There is no state:
any thread can make any number, in any order.

==========  =============================================================================
word        holds
==========  =============================================================================
key 0       seed, low 32 bits
key 1       seed, high 32 bits
counter 0   index >> 2; the draw `index` is word index & 3 of the block
counter 1   item: the number of a pattern, cue or start within its realisation
counter 2   realisation
counter 3   tag << 24 | attempt; the tag is one of the constants below, the attempt is 0 but where
            a method rejects (see `variates`)
==========  =============================================================================

`index` is the neuron i for signs and flips; a uniform or normal number takes the two draws 2 i and 2 i + 1, a gamma
variate the block of draws 4 i … 4 i + 3. The number of patterns, the number of neurons and the noise level are in none
of the words: P + 1 patterns are the P patterns and one more, 2 N neurons are the N neurons and N more, and a higher
noise level flips the same neurons and some more.

Items and realisations are below 2**32, indices below 2**34, tags below 2**8.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop_kernels.machine.bits import like
from fasthop_kernels.machine.jit import formula, kernel
from fasthop_kernels.machine.lanes import wide_vectors

#: What the numbers are for; part of the counter, so that no two uses share a number.
PATTERN = 1
CUE = 2
START = 3
#: Entries (i, j ≤ i) of dense random weights at i = i (i + 1) / 2 + j; the item is the matrix.
WEIGHT = 4
#: Diagonal and squared off-diagonal of tridiagonal random matrices; the item is the matrix.
DIAGONAL = 5
OFFDIAGONAL = 6
#: Random directions that span what is removed of a weight matrix; the item is its column.
DIRECTION = 7
BIAS = 8
BLOCK = 16
#: The order in which samples are trained on; the realisation is the epoch.
SHUFFLE = 17
#: Which couplings are cut; the item is the row, from 2**31 on for those that are cut in one direction.
SYNAPSE = 18
#: Pairs (i, j < i) of a random graph at i (i − 1) / 2 + j; the realisation is the graph.
PAIR = 32
#: Directions of rays from an attractor; the item is 2**16 times the number of the attractor, and the ray.
RAY = 33

# Words travel in uint64: their products have 64 bits, and beside a plain integer numba would make them signed.
_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_TAG_SHIFT = np.uint64(24)
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)

_UNIFORM_HIGH = np.uint64(5)
_UNIFORM_LOW = np.uint64(6)
_UNIFORM_SHIFT = np.uint64(26)


@formula
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Return the four uint32 words of counter (c0, c1, c2, c3) and key (k0, k1), each a uint64 below 2**32."""
    for _ in range(10):
        # Only the low halves count; masked here and nowhere else, because the vector product ignores the others.
        first = (c0 & _LOW) * _MULTIPLIER_0
        second = (c2 & _LOW) * _MULTIPLIER_1
        c0 = (second >> _WORD) ^ c1 ^ k0
        c1 = second
        c2 = (first >> _WORD) ^ c3 ^ k1
        c3 = first
        k0 = (k0 + _WEYL_0) & _LOW
        k1 = (k1 + _WEYL_1) & _LOW
    return np.uint32(c0), np.uint32(c1), np.uint32(c2), np.uint32(c3)


@formula
def stamp(tag: Any, attempt: Any) -> Any:
    """Return counter 3, as uint64."""
    return np.uint64(tag) << _TAG_SHIFT | np.uint64(attempt)


@kernel
def draw(seed: Any, tag: Any, realisation: Any, item: Any, count: int) -> Any:
    """Return at least `count` words, the draws 0, 1, … of one item, as uint32; whole blocks, so up to three more."""
    wide_vectors()
    blocks = (count + 3) // 4
    words = np.empty(4 * blocks, np.uint32)
    k0 = np.uint64(seed) & _LOW
    k1 = np.uint64(seed) >> _WORD
    c1 = np.uint64(item)
    c2 = np.uint64(realisation)
    c3 = stamp(tag, 0)
    for block in range(blocks):
        w0, w1, w2, w3 = philox(np.uint64(block), c1, c2, c3, k0, k1)
        words[4 * block] = w0
        words[4 * block + 1] = w1
        words[4 * block + 2] = w2
        words[4 * block + 3] = w3
    return words


@kernel
def _sign_row(words: Any, threshold: Any, out: Any) -> None:
    wide_vectors()
    for i in range(out.size):
        out[i] = like(-1.0, out[i]) if np.uint64(words[i]) >= threshold else like(1.0, out[i])


@kernel
def _flip_row(words: Any, threshold: Any, pattern: Any, out: Any) -> None:
    wide_vectors()
    for i in range(out.size):
        out[i] = -pattern[i] if np.uint64(words[i]) < threshold else pattern[i]


@kernel
def _uniform_row(words: Any, out: Any) -> None:
    wide_vectors()
    for i in range(out.size):
        high = np.uint64(words[2 * i]) >> _UNIFORM_HIGH
        low = np.uint64(words[2 * i + 1]) >> _UNIFORM_LOW
        out[i] = np.float64(high << _UNIFORM_SHIFT | low) * 2.0**-53


@kernel
def signs(seed: Any, tag: Any, realisations: Any, first: int, probability: float, out: Any) -> None:
    """Fill `out` with signs: +1 where the draw is below floor(probability * 2**32), else -1.

    What is +1 at one probability is +1 at every higher one.

    Parameters
    ----------
    seed : uint64
    tag : int
        What the numbers are for, as PATTERN.
    realisations : int64 array (R,)
    first : int
        Item of the first row.
    probability : float
        Of +1, in [0, 1].
    out : float64 or float32 array (R, P, N)
        Overwritten; out[r, p, i] is draw i of item first + p of realisation realisations[r].
    """
    items = out.shape[1]
    threshold = np.uint64(probability * 2.0**32)
    for row in range(out.shape[0] * items):
        r, item = row // items, row % items
        _sign_row(draw(seed, tag, realisations[r], first + item, out.shape[2]), threshold, out[r, item])


@kernel
def flips(
    seed: Any, tag: Any, realisations: Any, patterns: Any, first: int, which: Any, probability: float, out: Any
) -> None:
    """Fill `out` with noisy copies of patterns, each entry negated with the given probability.

    Entry i of cue c is negated where draw i of item first + c is below floor(probability * 2**32), so that the entries
    negated at one probability are negated at every higher one; 0 negates none and 1 all.

    Parameters
    ----------
    seed : uint64
    tag : int
        What the numbers are for, as CUE.
    realisations : int64 array (R,)
    patterns : float64 or float32 array (R, P, N)
    first : int
        Item of the first cue.
    which : int64 array (C,)
        Index of the pattern that cue c is a copy of.
    probability : float
        In [0, 1].
    out : array (R, C, N)
        Overwritten; of the dtype of `patterns`.
    """
    items = out.shape[1]
    threshold = np.uint64(probability * 2.0**32)
    for row in range(out.shape[0] * items):
        r, item = row // items, row % items
        words = draw(seed, tag, realisations[r], first + item, out.shape[2])
        _flip_row(words, threshold, patterns[r, which[item]], out[r, item])


@kernel
def uniforms(seed: Any, tag: Any, realisations: Any, first: int, out: Any) -> None:
    """Fill `out` with uniform numbers in [0, 1), multiples of 2**-53.

    Parameters
    ----------
    seed : uint64
    tag : int
        What the numbers are for, as START.
    realisations : int64 array (R,)
    first : int
        Item of the first row.
    out : float64 array (R, C, N)
        Overwritten; out[r, c, i] takes 27 and 26 bits from the draws 2 i and 2 i + 1 of item first + c.
    """
    items = out.shape[1]
    for row in range(out.shape[0] * items):
        r, item = row // items, row % items
        _uniform_row(draw(seed, tag, realisations[r], first + item, 2 * out.shape[2]), out[r, item])
