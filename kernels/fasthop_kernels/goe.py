"""Random matrices of the Gaussian orthogonal ensemble: dense, tridiagonal, and the two ends of their spectrum.

The convention is M = (A + Aᵀ)/2 with A of independent normal numbers: variance 1 on the diagonal and 1/2 off it, so
that the spectrum of N rows fills [-sqrt(2 N), sqrt(2 N)].

The tridiagonal matrix with normal numbers on its diagonal and chi variates of N - 1, N - 2, …, 1 degrees of freedom,
over sqrt(2), beside it has the eigenvalues of M in law (I. Dumitriu and A. Edelman, J. Math. Phys. 43, 5830 (2002),
doi:10.1063/1.1507823). The eigenvectors of both ends of its spectrum live on the first O(N^{1/3}) rows, where the
degrees are largest (A. Edelman and P.-O. Persson, arXiv:math-ph/0501068). Row i, from 0, is joined to the one before by
a variate of N - i degrees whatever the length of the block, so that a longer block extends a shorter one.

Tiles hold matrices side by side as lanes, scaled by sqrt(2 / N) so that the spectrum is about [-2, 2].
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import LINE, TILE, stopped, take
from fasthop_kernels.mathematics.random import DIAGONAL, OFFDIAGONAL, WEIGHT
from fasthop_kernels.mathematics.variates import Panel, blocks, gamma_slope, gammas_of, normals_of, stream

#: Rows of a block that holds both ends of the spectrum, in units of N^{1/3}.
EDGE = 14.0

#: About as many numbers are drawn together: enough to hide what a call costs.
_PANEL = 512

#: Lanes of a tile are as many as let it stay in half of a second-level cache of 2 MiB, and at most these.
_MOST_LANES = 32
_CACHE = 2**20

#: The bracket of an end reaches this many widths N^{-1/6} / sqrt(2) to both sides of the edge; about one draw in 10⁹ is
#: farther out, and has it widened.
_REACH = 8.0

#: Rows between two looks at the size of the Sturm sequence, which cannot overflow within as many, and the factor by
#: which it is then scaled.
_GLANCE = 32
_GIANT = 2.0**256

# --- the Sturm sequence of a tile -----------------------------------------------------------------------------------


class _SturmBuilder:
    """Writes the LLVM of `least_terms`: both sequences of some vectors of lanes in registers, over all rows."""

    def __init__(self, builder: Any, pointers: list[Any], rows: Any, lanes: Any):
        self.builder, self.rows, self.lanes = builder, rows, lanes
        self.diagonal, self.square, self.at, self.least = pointers
        self.width = TILE.bits // 64
        self.vector = ir.VectorType(ir.DoubleType(), self.width)
        self.fma = self.function("fma", 3) if TILE.fma else None
        self.fabs = self.function("fabs", 1)

    def function(self, name: str, arguments: int) -> Any:
        kind = ir.FunctionType(self.vector, [self.vector] * arguments)
        return cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}.v{self.width}f64")

    def constant(self, value: float) -> Any:
        return ir.Constant(self.vector, [value] * self.width)

    def place(self, base: Any, at: Any, vector: int) -> Any:
        at = self.builder.add(at, _integer(vector * self.width))
        return self.builder.bitcast(self.builder.gep(base, [at]), self.vector.as_pointer())

    def load(self, base: Any, at: Any, vector: int) -> Any:
        return self.builder.load(self.place(base, at, vector), align=8)

    def next_term(self, factor: Any, one: Any, square: Any, two: Any) -> Any:
        """Return factor * one - square * two."""
        b = self.builder
        product = b.fmul(square, two)
        if self.fma is None:
            return b.fsub(b.fmul(factor, one), product)
        return b.call(self.fma, [factor, one, b.fsub(self.constant(-0.0), product)])

    def scaled(self, one: Any, two: Any) -> tuple[Any, Any]:
        """Multiply two successive terms by a power of two that keeps them far from overflow and underflow."""
        b = self.builder
        size = b.fadd(b.call(self.fabs, [one]), b.call(self.fabs, [two]))
        large = b.fcmp_ordered(">", size, self.constant(_GIANT))
        small = b.fcmp_ordered("<", size, self.constant(1.0 / _GIANT))
        factor = b.select(small, self.constant(_GIANT), self.constant(1.0))
        factor = b.select(large, self.constant(1.0 / _GIANT), factor)
        return b.fmul(one, factor), b.fmul(two, factor)

    def sequences(self, lane: Any, vectors: int) -> None:
        """Emit the sequences of both ends of `vectors` registers of lanes: two terms and the least, for each."""
        b, i64 = self.builder, ir.IntType(64)
        ends = [lane, b.add(lane, self.lanes)]
        where = [self.load(self.at, end, v) for v in range(vectors) for end in ends]
        first = [self.constant(1.0), self.constant(0.0), self.constant(1.0)] * len(where)
        before, glance, row = b.block, b.append_basic_block("glance"), b.append_basic_block("row")
        glanced, done = b.append_basic_block("glanced"), b.append_basic_block("counted")
        b.branch(glance)

        b.position_at_end(glance)
        start = b.phi(i64)
        kept = [b.phi(self.vector) for _ in first]
        left = b.sub(self.rows, start)
        stop = b.add(start, b.select(b.icmp_signed("<", left, _integer(_GLANCE)), left, _integer(_GLANCE)))
        b.branch(row)

        b.position_at_end(row)
        i = b.phi(i64)
        terms = [b.phi(self.vector) for _ in first]
        at = b.add(b.mul(i, self.lanes), lane)
        following = []
        for v in range(vectors):
            a, square = self.load(self.diagonal, at, v), self.load(self.square, at, v)
            for end, factor in enumerate((b.fsub(where[2 * v], a), b.fadd(where[2 * v + 1], a))):
                one, two, least = terms[6 * v + 3 * end : 6 * v + 3 * end + 3]
                term = self.next_term(factor, one, square, two)
                following += [term, one, b.select(b.fcmp_ordered("<", term, least), term, least)]
        after = b.add(i, _integer(1))
        b.cbranch(b.icmp_signed("<", after, stop), row, glanced)

        b.position_at_end(glanced)
        scaled = []
        for one, two, least in zip(following[::3], following[1::3], following[2::3], strict=True):
            scaled += [*self.scaled(one, two), least]
        b.cbranch(b.icmp_signed("<", stop, self.rows), glance, done)

        b.position_at_end(done)
        for v in range(vectors):
            for end in range(2):
                b.store(following[6 * v + 3 * end + 2], self.place(self.least, ends[end], v), align=8)
        for phi, entry, again, block in [
            (start, _integer(0), stop, before),
            (i, start, after, glance),
            *((phi, value, again, before) for phi, value, again in zip(kept, first, scaled, strict=True)),
            *((phi, value, again, glance) for phi, value, again in zip(terms, kept, following, strict=True)),
        ]:
            phi.add_incoming(entry, block)
            phi.add_incoming(again, glanced if block is before else row)

    def all_lanes(self, vectors: int) -> None:
        """Emit the loop over the lanes: `vectors` registers at once as long as they fit, then one."""
        b = self.builder
        before, head, choose = b.block, b.append_basic_block("lanes"), b.append_basic_block("choose")
        many, one, done = b.append_basic_block("many"), b.append_basic_block("one"), b.append_basic_block("done")
        b.branch(head)
        b.position_at_end(head)
        lane = b.phi(ir.IntType(64))
        lane.add_incoming(_integer(0), before)
        left = b.sub(self.lanes, lane)
        b.cbranch(b.icmp_signed(">", left, _integer(0)), choose, done)
        b.position_at_end(choose)
        b.cbranch(b.icmp_signed(">=", left, _integer(vectors * self.width)), many, one)
        for block, count in ((many, vectors), (one, 1)):
            b.position_at_end(block)
            self.sequences(lane, count)
            lane.add_incoming(b.add(lane, _integer(count * self.width)), b.block)
            b.branch(head)
        b.position_at_end(done)


def _integer(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)


@intrinsic
def _least_terms(typingctx: Any, diagonal: Any, square: Any, rows: Any, lanes: Any, at: Any, least: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if TILE.bits == 512:
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        pointers = [context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 1, 4, 5)]
        # Two vectors hide the latency of the multiply-add, where there are registers for them.
        _SturmBuilder(builder, pointers, args[2], args[3]).all_lanes(2 if TILE.bits == 512 else 1)
        return context.get_dummy_value()

    return types.void(diagonal, square, types.int64, types.int64, at, least), codegen


def least_terms(diagonal, square, rows, lanes, at, least):  # type: ignore[no-untyped-def]
    """Fill `least` with the least terms of the Sturm sequences of both ends of the spectrum, in every lane.

    With p₋₁ = 0, p₀ = 1 and pᵢ = (x - aᵢ) pᵢ₋₁ - bᵢ² pᵢ₋₂ the number of eigenvalues from x on is the number of changes
    of sign: all lie below x if and only if every term is positive. With x + aᵢ, all lie above -x.

    Parameters
    ----------
    diagonal, square : float64 arrays, flat (rows, lanes)
        aᵢ, and bᵢ² of the entry that joins row i to the one before; square[0] is 0.
    rows, lanes : int
        `rows` at least 1, `lanes` a multiple of `lane_line`.
    at : float64 array (2 lanes,)
        x for the upper end of every lane, then for the lower.
    least : float64 array (2 lanes,)
        Overwritten; only its sign has a meaning, because terms are scaled on the way.
    """
    for end in range(2 * lanes):
        one, two, least[end] = 1.0, 0.0, 1.0
        for i in range(rows):
            a = diagonal[i * lanes + end % lanes]
            factor = at[end] + a if end >= lanes else at[end] - a
            one, two = factor * one - square[i * lanes + end % lanes] * two, one
            least[end] = min(least[end], one)
            size = abs(one) + abs(two)
            if i % _GLANCE == _GLANCE - 1 and not 1.0 / _GIANT <= size <= _GIANT:
                scale = _GIANT if size < 1.0 else 1.0 / _GIANT
                one, two = one * scale, two * scale


@overload(least_terms, inline="always")
def _least_terms_overload(diagonal, square, rows, lanes, at, least):  # type: ignore[no-untyped-def]
    return lambda diagonal, square, rows, lanes, at, least: _least_terms(diagonal, square, rows, lanes, at, least)


# --- tiles ----------------------------------------------------------------------------------------------------------


class Tile(NamedTuple):
    """Matrices side by side.

    Attributes
    ----------
    diagonal, square : float64 arrays, flat (padded rows, lanes)
        As in `least_terms`.
    panel : Panel
        Of `panel_rows`.
    inside, outside : float64 arrays (2 lanes,)
        Bracket of λ_max, and of -λ_min behind it: `inside` is not beyond all eigenvalues, `outside` is.
    at, least : float64 arrays (2 lanes,)
        Argument and result of `least_terms`.
    """

    diagonal: Any
    square: Any
    panel: Panel
    inside: Any
    outside: Any
    at: Any
    least: Any


class Bracket(NamedTuple):
    """First bracket of both ends, in the units of the tiles.

    Attributes
    ----------
    inside, outside : float
        Ends of the bracket of λ_max, outside = inside + 2**halvings * grain.
    grain : float
        Width at which the halving ends, one unit in the last place of `outside`.
    halvings : int
    scale : float
        sqrt(N / 2), the unit.
    """

    inside: Any
    outside: Any
    grain: Any
    halvings: Any
    scale: Any


def edge_rows(n: int) -> int:
    """Rows of the block of N rows that holds both ends of its spectrum."""
    return min(n, math.ceil(EDGE * n ** (1 / 3)))


def most_lanes(rows: int) -> int:
    """Lanes of a tile of so many rows."""
    line = LINE // 8
    return max(line, min(_MOST_LANES, _CACHE // (16 * rows) // line * line))


def bracket(n: int) -> Bracket:
    """Place the first bracket around sqrt(2 N), on whole multiples of its grain."""
    reach = 2.0 * _REACH * n ** (-2 / 3)
    grain = float(np.spacing(2.0 + 0.5 * reach))
    halvings = math.ceil(math.log2(reach / grain))
    inside = math.floor((2.0 - 0.5 * reach) / grain) * grain
    return Bracket(inside, inside + 2.0**halvings * grain, grain, halvings, math.sqrt(n / 2))


@kernel
def panel_rows(lanes: int) -> int:
    """Rows that are drawn together; even, because one block of Philox makes the diagonal of two."""
    return max(_PANEL // lanes // 2 * 2, 2)


def workspace(rows: int, workers: int, lanes: int) -> tuple[Any, Any]:
    """Allocate the buffers of `extremes`: floats aligned to cache lines, and words, one row per worker."""
    step = panel_rows(lanes)
    padded = -(-rows // step) * step
    count = 2 * padded * lanes + 4 * step * lanes + 8 * lanes
    raw = np.empty(workers * count * 8 + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    floats = raw[start : start + workers * count * 8].view(np.float64).reshape(workers, count)
    return floats, np.empty((workers, 4 * step * lanes), np.uint64)


@kernel
def tile_of(floats: Any, words: Any, rows: int, lanes: int) -> Tile:
    """Cut the buffers of one worker."""
    part = panel_rows(lanes) * lanes
    size = -(-rows * lanes // part) * part
    at = 2 * size
    end = at + 4 * part
    panel = Panel(
        words[:part],
        words[part : 2 * part],
        words[2 * part : 3 * part],
        words[3 * part : 4 * part],
        floats[at : at + part],
        floats[at + part : at + 2 * part],
        floats[at + 2 * part : at + 3 * part],
        floats[at + 3 * part : at + 4 * part],
    )
    return Tile(
        floats[:size],
        floats[size : 2 * size],
        panel,
        floats[end : end + 2 * lanes],
        floats[end + 2 * lanes : end + 4 * lanes],
        floats[end + 4 * lanes : end + 6 * lanes],
        floats[end + 6 * lanes : end + 8 * lanes],
    )


@kernel
def _count_up(index: Any, by: Any) -> None:
    for e in range(index.size):
        index[e] += by


@kernel
def _scale_into(numbers: Any, by: float, out: Any) -> None:
    for e in range(out.size):
        out[e] = by * numbers[e]


@kernel
def _draw_diagonal(seed: Any, first: Any, tile: Tile, unit: float, lanes: int) -> None:
    """Draw the diagonal of all padded rows; block j of a matrix holds the rows 2 j and 2 j + 1."""
    source = stream(seed, DIAGONAL, 0, 0)
    panel = tile.panel
    half = panel.index.size // 2
    pairs = half // lanes
    # Both halves of the panel's words and numbers at once: `half` blocks make 2 * half numbers.
    part = Panel(
        panel.index[:half],
        panel.item[:half],
        panel.high[:half],
        panel.low[:half],
        panel.shape,
        panel.slope,
        panel.normal,
        panel.room,
    )
    for pair in range(pairs):
        for lane in range(lanes):
            part.index[pair * lanes + lane] = np.uint64(pair)
            part.item[pair * lanes + lane] = np.uint64(first + lane)
    upper, lower = panel.normal[:half], panel.room[:half]
    for row in range(0, tile.diagonal.size // lanes, 2 * pairs):
        blocks(source, part)
        normals_of(part.high, upper)
        normals_of(part.low, lower)
        for pair in range(pairs):
            at = (row + 2 * pair) * lanes
            here = slice(pair * lanes, (pair + 1) * lanes)
            _scale_into(upper[here], unit, tile.diagonal[at : at + lanes])
            _scale_into(lower[here], unit, tile.diagonal[at + lanes : at + 2 * lanes])
        _count_up(part.index, np.uint64(pairs))


@kernel
def _draw_squares(seed: Any, first: Any, tile: Tile, n: int, unit: float, lanes: int) -> None:
    """Draw the squares beside the diagonal: row i has N - i degrees of freedom, half of which is the shape."""
    source = stream(seed, OFFDIAGONAL, 0, 0)
    panel = tile.panel
    rows = panel.index.size // lanes
    for r in range(rows):
        for lane in range(lanes):
            panel.index[r * lanes + lane] = np.uint64(r)
            panel.item[r * lanes + lane] = np.uint64(first + lane)
    for row in range(0, tile.square.size // lanes, rows):
        for r in range(rows):
            shape = 0.5 * max(n - row - r, 1)  # padding may reach past the last row
            panel.shape[r * lanes : (r + 1) * lanes] = shape
            panel.slope[r * lanes : (r + 1) * lanes] = gamma_slope(shape)
        out = tile.square[row * lanes : (row + rows) * lanes]
        gammas_of(source, panel, out)
        _scale_into(out, unit, out)
        _count_up(panel.index, np.uint64(rows))
    tile.square[:lanes] = 0.0


@kernel
def sample(seed: Any, first: Any, n: int, lanes: int, tile: Tile) -> None:
    """Fill a tile with the matrices first, first + 1, … of N rows, as many rows of each as the tile has."""
    _draw_diagonal(seed, first, tile, math.sqrt(2.0 / n), lanes)
    _draw_squares(seed, first, tile, n, 2.0 / n, lanes)


# --- bisection ------------------------------------------------------------------------------------------------------


@kernel
def _widen(tile: Tile, rows: int, lanes: int, start: Bracket) -> int:
    """Verify the bracket of every end by its Sturm sequence, widen it where it is wrong; return the most widenings."""
    inside, outside, least = tile.inside, tile.outside, tile.least
    inside[:] = start.inside
    outside[:] = start.outside
    most = 0
    for lower in range(2):
        step = start.outside - start.inside
        wrong = True
        while wrong:
            wrong = False
            least_terms(tile.diagonal, tile.square, rows, lanes, inside if lower else outside, least)  # type: ignore[no-untyped-call]
            for e in range(2 * lanes):
                if lower and least[e] > 0.0:
                    outside[e] = inside[e]
                    inside[e] -= step
                    wrong = True
                elif not lower and not least[e] > 0.0:
                    inside[e] = outside[e]
                    outside[e] += step
                    wrong = True
            if wrong:
                step *= 2.0
                most += 1
    return most


@kernel
def bisect(tile: Tile, rows: int, lanes: int, start: Bracket, stop: Any) -> None:
    """Halve the brackets of both ends of every lane to one grain.

    The number of halvings is that of the first bracket, and one more for every widening; a bracket that is one grain
    wide stays as it is, so that a lane does not depend on its neighbours.
    """
    inside, outside, at, least = tile.inside, tile.outside, tile.at, tile.least
    diagonal, square = tile.diagonal, tile.square
    for _ in range(start.halvings + _widen(tile, rows, lanes, start)):
        if stopped(stop):
            return
        for e in range(at.size):
            at[e] = inside[e] + 0.5 * (outside[e] - inside[e])
        least_terms(diagonal, square, rows, lanes, at, least)  # type: ignore[no-untyped-call]
        for e in range(at.size):
            narrow = outside[e] - inside[e] <= start.grain
            beyond = least[e] > 0.0
            outside[e] = at[e] if beyond and not narrow else outside[e]
            inside[e] = inside[e] if beyond or narrow else at[e]


@kernel
def extremes(
    worker: int,
    seed: Any,
    first: Any,
    n: int,
    rows: int,
    lanes: int,
    start: Bracket,
    floats: Any,
    words: Any,
    taken: Any,
    smallest: Any,
    largest: Any,
    stop: Any,
) -> None:
    """Fill `smallest` and `largest` with the extreme eigenvalues of tridiagonal matrices: one worker's share of them.

    Parameters
    ----------
    worker : int
    seed : uint64
    first : int
        Number of the first matrix; entry m of the results is matrix first + m.
    n : int
        N, from 1 to 10⁹.
    rows : int
        Rows of the block that is drawn, from 1 to N: `edge_rows` or all.
    lanes : int
        A multiple of `lane_line`; the results do not depend on it.
    start : Bracket
    floats, words
        From `workspace`; overwritten. Their first axis is the number of workers.
    taken : int64 array (1,)
        Zero on entry; the queue of tiles.
    smallest, largest : float64 arrays (draws,)
        Overwritten.
    stop : int64 array (1,)
        What makes every worker return after a halving (`lanes.stopped`).
    """
    draws = largest.size
    tiles = -(-draws // lanes)
    tile = tile_of(floats[worker], words[worker], rows, lanes)
    turn = take(taken, 0)
    while turn < tiles and not stopped(stop):
        sample(seed, first + turn * lanes, n, lanes, tile)
        bisect(tile, rows, lanes, start, stop)
        for lane in range(min(lanes, draws - turn * lanes)):
            half = 0.5 * start.scale
            largest[turn * lanes + lane] = half * (tile.inside[lane] + tile.outside[lane])
            smallest[turn * lanes + lane] = -half * (tile.inside[lanes + lane] + tile.outside[lanes + lane])
        turn = take(taken, 0)


# --- dense matrices -------------------------------------------------------------------------------------------------

#: Rows of a dense matrix that one thread fills, two cache lines wide where they are mirrored.
_DENSE_ROWS = 16


@kernel
def _dense_rows(seed: Any, item: int, first: int, last: int, scale: float, out: Any) -> None:
    """Fill the rows from `first` to `last` of one matrix up to the diagonal, and the columns above it."""
    source = stream(seed, WEIGHT, 0, 0)
    words = np.empty((4, _PANEL), np.uint64)
    numbers = np.empty((2, _PANEL))
    flat = np.empty(2 * _PANEL)
    # Entry (i, j ≤ i) is number i (i + 1) / 2 + j, and a block makes two numbers.
    start, end = first * (first + 1) // 2, last * (last + 1) // 2
    i, j = first, 0
    beside = scale * math.sqrt(0.5)
    for block in range(start // 2, (end + 1) // 2, _PANEL):
        count = min(_PANEL, (end + 1) // 2 - block)
        part = Panel(
            words[0, :count],
            words[1, :count],
            words[2, :count],
            words[3, :count],
            numbers[0],
            numbers[0],
            numbers[0],
            numbers[0],
        )
        for e in range(count):
            part.index[e] = np.uint64(block + e)
            part.item[e] = np.uint64(item)
        blocks(source, part)
        normals_of(part.high, numbers[0, :count])
        normals_of(part.low, numbers[1, :count])
        for e in range(count):
            flat[2 * e] = numbers[0, e]
            flat[2 * e + 1] = numbers[1, e]
        at = max(start - 2 * block, 0)
        while at < 2 * count and i < last:
            length = min(i + 1 - j, 2 * count - at)
            _scale_into(flat[at : at + length], beside, out[i, j : j + length])
            at += length
            j += length
            if j > i:
                out[i, i] = scale * flat[at - 1]
                i, j = i + 1, 0
    for j in range(last):
        for i in range(max(first, j + 1), last):
            out[j, i] = out[i, j]


@kernel
def dense(seed: Any, first: int, scale: float, out: Any, taken: Any, stop: Any) -> None:
    """Fill `out` with scale * (A + Aᵀ)/2, A of independent normal numbers; all workers call it alike.

    Parameters
    ----------
    seed : uint64
    first : int
        Number of the first matrix.
    scale : float
    out : float64 array (matrices, N, N)
        Overwritten; entry (i, j ≤ i) of matrix m does not depend on N.
    taken : int64 array (1,)
        Zero on entry; the queue of rows.
    stop : int64 array (1,)
        What makes every worker return after some rows (`lanes.stopped`).
    """
    n = out.shape[1]
    parts = -(-n // _DENSE_ROWS)
    task = take(taken, 0)
    while task < out.shape[0] * parts and not stopped(stop):
        # The last rows are the longest: begin with them, so that no thread is left with one at the end.
        matrix, row = task // parts, (parts - 1 - task % parts) * _DENSE_ROWS
        _dense_rows(seed, first + matrix, row, min(row + _DENSE_ROWS, n), scale, out[matrix])
        task = take(taken, 0)
