"""Right-hand sides of the dynamical systems of arXiv 2410.13866, on a tile of lanes.

Every system is ẏ = R(y) · residual(y): the residual vanishes at steady states and nowhere else, and R turns and scales
it. So a flow has two parts, `residual` and `velocity`, and between them stands what decides whether a state is steady.
"""

from __future__ import annotations

from typing import Any

from fasthop_kernels.dynamics.activations import activate, apply_slope
from fasthop_kernels.dynamics.polar import turn
from fasthop_kernels.dynamics.products import add_weights
from fasthop_kernels.dynamics.tables import Tables
from fasthop_kernels.dynamics.tiles import Tile
from fasthop_kernels.machine.jit import inner_kernel, kernel
from fasthop_kernels.machine.lanes import wide_vectors

#: What the residual is. OUTSIDE: h = W g(y) − y + b, systems (1) and (9). INSIDE: f = g(W u + b) − u, system (5).
#: AROUND: Wᵀ g(W u + b) − u, the simplest model of section 4.
OUTSIDE, INSIDE, AROUND = range(3)

#: What R is. With x the argument of g: NONE, I; MATRIX, any constant; GRADIENT, minus the gradient of ½|residual|²
#: (I − WᵀΛ(x) for INSIDE, I − Λ(x)Wᵀ for OUTSIDE); AS_PRINTED, I − W Λ(x), system (9) as the paper prints it; HESSIAN,
#: Λ(x); ORTHOGONAL, the orthogonal factor of Proposition 5.2 (`polar`), for INSIDE alone.
NONE, MATRIX, GRADIENT, AS_PRINTED, HESSIAN, ORTHOGONAL = range(6)


@kernel
def _copy(x: Any, out: Any) -> None:
    # Not out[:] = x, whose error message about shapes takes numba seconds to compile.
    wide_vectors()
    for e in range(out.size):
        out[e] = x[e]


@kernel
def _subtract(x: Any, y: Any, out: Any) -> None:
    wide_vectors()
    for e in range(out.size):
        out[e] = x[e] - y[e]


@kernel
def _multiply(x: Any, out: Any) -> None:
    wide_vectors()
    for e in range(out.size):
        out[e] *= x[e]


@kernel
def _negate(x: Any) -> None:
    wide_vectors()
    for e in range(x.size):
        x[e] = -x[e]


@inner_kernel
def residual(tables: Tables, weights: Any, tile: Tile, state: Any, lanes: int) -> None:
    """Write the residual at `state` to `tile.k`; `tile.g` and, but for OUTSIDE, the argument `tile.x` of g are left.

    A product starts from what is added to it, so that the sum needs no pass of its own.
    """
    blocks = tables.blocks
    if tables.system == OUTSIDE:
        activate(tables.layers, tables.parameters, state, tile.g, lanes)
        _subtract(tile.bias, state, tile.k)
        add_weights(blocks, weights, tile.g, tile.middle, tile.k, lanes)
        return
    _copy(tile.bias, tile.x)
    add_weights(blocks, weights, state, tile.middle, tile.x, lanes)
    activate(tables.layers, tables.parameters, tile.x, tile.g, lanes)
    if tables.system == INSIDE:
        _subtract(tile.g, state, tile.k)
    else:
        _copy(state, tile.k)
        _negate(tile.k)
        add_weights(tables.mirror, weights, tile.g, tile.middle, tile.k, lanes)


@inner_kernel
def velocity(tables: Tables, weights: Any, drive_weights: Any, tile: Tile, state: Any, lanes: int) -> None:
    """Turn the residual at `state` in `tile.k` into ẏ, after `residual`; `tile.g` and `tile.x` are overwritten."""
    if tables.drive == MATRIX:
        _copy(tile.k, tile.g)
        tile.k[:] = 0
        add_weights(tables.drive_blocks, drive_weights, tile.g, tile.middle, tile.k, lanes)
    elif tables.drive == GRADIENT and tables.system == OUTSIDE:
        tile.x[:] = 0
        add_weights(tables.mirror, weights, tile.k, tile.middle, tile.x, lanes)
        apply_slope(tables.layers, tables.parameters, state, tile.x, tile.g, lanes)
        _subtract(tile.k, tile.g, tile.k)
    elif tables.drive == ORTHOGONAL:
        turn(tables.orthogonal, tables, weights, drive_weights, tile, lanes)
    elif tables.drive != NONE:
        argument = state if tables.system == OUTSIDE else tile.x
        apply_slope(tables.layers, tables.parameters, argument, tile.k, tile.g, lanes)
        if tables.drive == HESSIAN:
            _copy(tile.g, tile.k)
        else:
            _negate(tile.g)
            blocks = tables.mirror if tables.drive == GRADIENT else tables.blocks
            add_weights(blocks, weights, tile.g, tile.middle, tile.k, lanes)
    if tile.rate.size > 0:
        _multiply(tile.rate, tile.k)
