"""Right-hand sides of the dynamical systems, on a tile of lanes."""

from __future__ import annotations

from typing import Any

from fasthop_kernels.activations import activate
from fasthop_kernels.jit import kernel
from fasthop_kernels.lanes import wide_vectors
from fasthop_kernels.products import add_weights


@kernel
def _subtract(x: Any, y: Any, out: Any) -> None:
    wide_vectors()
    for e in range(out.size):
        out[e] = x[e] - y[e]


@kernel
def slope(tables: Any, weights: Any, bias: Any, state: Any, g: Any, out: Any, lanes: int) -> None:
    """Write ẏ = W g(y) − y + b, system (1) of arXiv 2410.13866.

    The product starts from b − y, so that the sum is the residual of the steady-state equation without a pass of its
    own. `bias` is spread over the lanes; `g` is overwritten with g(y).
    """
    activate(tables.layers, tables.parameters, state, g, lanes)
    _subtract(bias, state, out)
    add_weights(tables.blocks, weights, g, out, lanes)
