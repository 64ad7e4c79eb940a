"""Random weights of the Gaussian orthogonal ensemble: matrices, their extreme eigenvalues, and dead neurons."""

from fasthop.lazy import lazy

_HOMES = {
    "fasthop.random_matrices.dead_directions": [
        *("goe_table", "projection_table", "random_directions", "remove_directions", "stabilisation_table"),
    ],
    "fasthop.random_matrices.goe": ["Extremes", "edge_scaling", "expected_lambda_max", "expected_norm"],
}
__getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
