"""The machine: vector registers, lanes, and the register-tiled product, written in LLVM.

A tile holds many trajectories side by side: row i is neuron i, and the `lanes` numbers of a row are its values in
`lanes` trajectories. One weight then multiplies a whole row, and every lane does the same operations in the same
order, so that a lane's bits do not depend on its neighbours, its place or the number of lanes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload

from fasthop_kernels.machine.jit import kernel

#: Lanes come in whole cache lines of this many bytes, whatever the instruction set, so that the shape of a tile (and
#: with it the memory it takes) is the same on every machine.
LINE = 64

#: Widest tile in cache lines: 48 lanes in float64, 96 in float32. Six 512-bit accumulators a row hide the latency of
#: the multiply-add and leave registers for the loads.
MAX_LINES = 6


class RegisterTile(NamedTuple):
    """Accumulators that one instruction set can hold: `rows` × `vectors` registers of `bits` bits."""

    rows: int
    vectors: int
    bits: int
    fma: bool


# AVX2 has 16 registers: 4×3 accumulators, 3 loads, 1 broadcast. Measured: 4×6 there spills and is 3.4 times slower.
_TILES = {
    "avx512": RegisterTile(4, 6, 512, True),
    "avx2": RegisterTile(4, 3, 256, True),
    "neon": RegisterTile(4, 4, 128, True),
    "generic": RegisterTile(4, 2, 128, False),
}


_PROBE = """
declare <8 x double> @llvm.fma.v8f64(<8 x double>, <8 x double>, <8 x double>)
define <8 x double> @probe(<8 x double> %x, <8 x double> %y, <8 x double> %z) "prefer-vector-width"="512" {
  %r = call <8 x double> @llvm.fma.v8f64(<8 x double> %x, <8 x double> %y, <8 x double> %z)
  ret <8 x double> %r
}
"""


def instruction_set() -> str:
    """Name the instruction set that numba compiles for in this process: avx512, avx2, neon or generic.

    Read from the code that numba's own target machine emits for one multiply-add, because neither the name of a CPU
    nor a list of features says alone what LLVM will use.
    """
    machine = cpu_target.target_context.codegen()._tm
    assembly = machine.emit_assembly(llvmlite.binding.parse_assembly(_PROBE))
    if "vfmadd" in assembly:
        return "avx512" if "zmm" in assembly else "avx2"
    return "neon" if "fmla" in assembly else "generic"


TILE = _TILES[instruction_set()]
ROWS = TILE.rows


def lane_line(dtype: Any) -> int:
    """Lanes in one cache line: 8 in float64, 16 in float32."""
    return LINE // np.dtype(dtype).itemsize


# --- the width of vectors -------------------------------------------------------------------------------------------


@intrinsic
def _wide_vectors(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if TILE.bits == 512:
            # llvmlite checks names against a list that lacks this one; its set itself takes it.
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), codegen


def wide_vectors() -> None:
    """Ask LLVM for the machine's widest vectors in the calling function; AVX-512 servers get 256 bits otherwise."""


@overload(wide_vectors, inline="always")
def _wide_vectors_overload() -> Any:
    return lambda: _wide_vectors()


# --- arrays without a reference count --------------------------------------------------------------------------------


@intrinsic
def _borrow(typingctx: Any, array: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), codegen


def borrow(array: Any) -> Any:
    """Return the array without its reference count, and so do all views of it; the caller keeps it alive.

    Numba counts a reference whenever it takes an array out of a tuple or passes it on. The count is one atomic number
    for all threads: with it, two threads ran small steps slower than one.
    """
    return array


@overload(borrow, inline="always")
def _borrow_overload(array):  # type: ignore[no-untyped-def]
    return lambda array: _borrow(array)


# --- an atomic queue ------------------------------------------------------------------------------------------------


@intrinsic
def _take(typingctx: Any, counters: Any, index: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.gep(array.data, [args[1]])
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counters, types.int64), codegen


def take(counters: Any, index: int) -> int:
    """Return `counters[index]` and add one to it, atomically: the next item of a queue that threads share."""
    value = counters[index]
    counters[index] += 1
    return int(value)


@overload(take, inline="always")
def _take_overload(counters, index):  # type: ignore[no-untyped-def]
    return lambda counters, index: _take(counters, index)


# --- a mark that stops threads --------------------------------------------------------------------------------------


@intrinsic
def _stopped(typingctx: Any, stop: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        value = builder.load_atomic(array.data, "monotonic", 8)  # a plain load may be taken out of a loop
        return builder.icmp_signed("!=", value, _integer(0))

    return types.boolean(stop), codegen


def stopped(stop: Any) -> bool:
    """Whether `stop`, an int64 array of one number, is not 0 any more: another thread asks to return soon.

    What is returned then, and what is in arrays that are written to, is of no use to anyone.
    """
    return bool(stop[0] != 0)


@overload(stopped, inline="always")
def _stopped_overload(stop):  # type: ignore[no-untyped-def]
    return lambda stop: _stopped(stop)


# --- the product ----------------------------------------------------------------------------------------------------


class _TileBuilder:
    """Writes the LLVM of out[rows, lanes] += W[rows, inner] @ G[inner, lanes] with accumulators in registers.

    Every accumulator starts from `out` and adds j ascending, one multiply-add per term, so that neither the number of
    lanes nor the shape of the tile can be seen in the bits.
    """

    def __init__(self, builder: Any, bits: int, w: Any, g: Any, out: Any, strides: tuple[Any, Any, Any], inner: Any):
        self.builder, self.w, self.g, self.out, self.inner = builder, w, g, out, inner
        self.row_step, self.column_step, self.lanes = strides
        self.align, self.width = bits // 8, TILE.bits // bits
        self.vector = ir.VectorType(ir.DoubleType() if bits == 64 else ir.FloatType(), self.width)
        name = f"llvm.fma.v{self.width}f{bits}"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        self.fma = cgutils.get_or_insert_function(builder.module, kind, name) if TILE.fma else None

    def multiply_add(self, x: Any, y: Any, z: Any) -> Any:
        if self.fma is not None:
            return self.builder.call(self.fma, [x, y, z])
        return self.builder.fadd(self.builder.fmul(x, y), z)  # llvm.fma would be a library call

    def place(self, base: Any, row: Any, lane: Any, vector: int) -> Any:
        """Address of the `vector`-th register after `lane` in `row`."""
        at = self.builder.add(self.builder.add(row, lane), _integer(vector * self.width))
        return self.builder.bitcast(self.builder.gep(base, [at]), self.vector.as_pointer())

    def splat(self, weight: Any) -> Any:
        undefined = ir.Constant(self.vector, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        first = self.builder.insert_element(undefined, weight, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(first, undefined, zeros)

    def tile(self, rows: int, vectors: int, lane: Any) -> None:
        """Emit one register tile at `lane`; `inner` is at least one."""
        b = self.builder
        places = [
            self.place(self.out, b.mul(self.lanes, _integer(r)), lane, v) for r in range(rows) for v in range(vectors)
        ]
        first = [b.load(place, align=self.align) for place in places]
        before, loop, after = b.block, b.append_basic_block("inner"), b.append_basic_block("stored")
        b.branch(loop)

        b.position_at_end(loop)
        j = b.phi(ir.IntType(64))
        totals = [b.phi(self.vector) for _ in places]
        g_row, w_column = b.mul(j, self.lanes), b.mul(j, self.column_step)
        loads = [b.load(self.place(self.g, g_row, lane, v), align=self.align) for v in range(vectors)]
        sums = []
        for r in range(rows):
            weight = b.load(b.gep(self.w, [b.add(w_column, b.mul(self.row_step, _integer(r)))]))
            splat = self.splat(weight)
            sums += [self.multiply_add(splat, loads[v], totals[r * vectors + v]) for v in range(vectors)]
        following = b.add(j, _integer(1))
        b.cbranch(b.icmp_signed("<", following, self.inner), loop, after)
        for phi, start, step in [(j, _integer(0), following), *zip(totals, first, sums, strict=True)]:
            phi.add_incoming(start, before)
            phi.add_incoming(step, loop)

        b.position_at_end(after)
        for total, place in zip(sums, places, strict=True):
            b.store(total, place, align=self.align)

    def rows(self, rows: int) -> None:
        """Emit the loop over all lanes: the widest tile as often as it fits, then the one that takes the rest."""
        b = self.builder
        before, head, choose = b.block, b.append_basic_block("lanes"), b.append_basic_block("choose")
        done = b.append_basic_block("done")
        b.cbranch(b.icmp_signed(">", self.inner, _integer(0)), head, done)

        b.position_at_end(head)
        lane = b.phi(ir.IntType(64))
        lane.add_incoming(_integer(0), before)
        left = b.sdiv(b.sub(self.lanes, lane), _integer(self.width))
        b.cbranch(b.icmp_signed(">", left, _integer(0)), choose, done)

        b.position_at_end(choose)
        widest = b.append_basic_block("widest")
        switch = b.switch(left, widest)
        for vectors in range(1, TILE.vectors + 1):
            block = widest
            if vectors < TILE.vectors:
                block = b.append_basic_block(f"vectors{vectors}")
                switch.add_case(_integer(vectors), block)
            b.position_at_end(block)
            self.tile(rows, vectors, lane)
            lane.add_incoming(b.add(lane, _integer(vectors * self.width)), b.block)
            b.branch(head)
        b.position_at_end(done)


def _integer(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)


def _product_intrinsic(rows: int) -> Any:
    @intrinsic
    def product(
        typingctx: Any,
        w: Any,
        w_at: Any,
        row_step: Any,
        column_step: Any,
        inner: Any,
        g: Any,
        g_at: Any,
        out: Any,
        out_at: Any,
        lanes: Any,
    ) -> Any:
        i8 = types.int64

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def pointer(k: int) -> Any:
                array = context.make_array(signature.args[k])(context, builder, args[k])
                return builder.gep(array.data, [args[k + 1]])

            strides = (args[2], args[3], args[9])
            bits = signature.args[0].dtype.bitwidth
            _TileBuilder(builder, bits, pointer(0), pointer(5), pointer(7), strides, args[4]).rows(rows)
            return context.get_dummy_value()

        return types.void(w, i8, i8, i8, i8, g, i8, out, i8, i8), codegen

    return product


_four_rows = _product_intrinsic(ROWS)
_one_row = _product_intrinsic(1)

#: Columns of W taken in one pass: INNER rows of the widest tile are 24 KiB, half of a small L1 cache, so that G is
#: read from L1 by every panel of rows. Measured on AVX-512 at N = 128…1024: 64 within 3 % of the best of 32…2000.
INNER = 64


@kernel
def _add_product_compiled(
    w: Any,
    w_at: int,
    row_step: int,
    column_step: int,
    rows: int,
    inner: int,
    g: Any,
    g_at: int,
    out: Any,
    out_at: int,
    lanes: int,
) -> None:
    for j in range(0, inner, INNER):
        columns = min(INNER, inner - j)
        w_row, out_row, g_row = w_at + j * column_step, out_at, g_at + j * lanes
        i = 0
        while i + ROWS <= rows:
            _four_rows(w, w_row, row_step, column_step, columns, g, g_row, out, out_row, lanes)
            w_row += ROWS * row_step
            out_row += ROWS * lanes
            i += ROWS
        while i < rows:
            _one_row(w, w_row, row_step, column_step, columns, g, g_row, out, out_row, lanes)
            w_row += row_step
            out_row += lanes
            i += 1


def add_product(
    w: Any,
    w_at: int,
    row_step: int,
    column_step: int,
    rows: int,
    inner: int,
    g: Any,
    g_at: int,
    out: Any,
    out_at: int,
    lanes: int,
) -> None:
    """Add W G onto `out`, all flat: W[i, j] = w[w_at + i row_step + j column_step], G and `out` with `lanes` a row.

    `lanes` is a multiple of `lane_line`. Swapping the two steps of `w` multiplies by the transpose.
    """
    for i in range(rows):
        for j in range(inner):
            weight = w[w_at + i * row_step + j * column_step]
            for lane in range(lanes):
                out[out_at + i * lanes + lane] += weight * g[g_at + j * lanes + lane]


@overload(add_product, inline="always")
def _add_product_overload(w, w_at, row_step, column_step, rows, inner, g, g_at, out, out_at, lanes):  # type: ignore[no-untyped-def]
    return lambda w, w_at, row_step, column_step, rows, inner, g, g_at, out, out_at, lanes: _add_product_compiled(
        w, w_at, row_step, column_step, rows, inner, g, g_at, out, out_at, lanes
    )
