"""fasthop: batch simulation of associative memories, ẏ = W g(y) − y + b, on all cores.

Names are loaded when they are first used, so that `import fasthop` costs nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "fasthop.activations": [
        *("Activation", "Exp", "GELU", "Gaussian", "HardTanh", "Identity", "LayerNorm", "LeakyReLU", "ReLU"),
        *("RectifiedPower", "SELU", "SiLU", "Sigmoid", "SmoothLeakyReLU", "SoftThreshold", "Softmax", "Softplus"),
        *("Sphere", "Tanh"),
    ],
    "fasthop.clamping": ["clamp"],
    "fasthop.drives": ["lyapunov", "polar"],
    "fasthop.energies": [
        "Energy",
        "energy",
        "energy_gradient",
        "energy_hessian",
        "lyapunov_condition",
        "numerical_abscissa",
        "residual",
        "why_not_lyapunov",
    ],
    "fasthop.ensemble": ["Ends", "Trajectories", "default_step", "settle", "simulate"],
    "fasthop.experiments.basins": ["basins"],
    "fasthop.gradients": ["Gradient", "gradient"],
    "fasthop.learning": ["hebb", "pseudo_inverse"],
    "fasthop.memory": ["Layer", "Memory"],
    "fasthop.optimisers": ["Adam", "SGD"],
    "fasthop.patterns": ["Uniform", "digit_images", "digit_means", "flip", "random_patterns"],
    "fasthop.random_matrices": [
        "Extremes",
        "edge_scaling",
        "expected_lambda_max",
        "expected_norm",
        "goe",
        "goe_extremes",
        "goe_table",
        "projection_table",
        "random_directions",
        "remove_directions",
        "stabilisation_table",
    ],
    "fasthop.sweep.read": ["read"],
    "fasthop.sweep.run": ["run"],
    "fasthop.sweep.tables": ["capacity"],
    "fasthop.tracy_widom": ["larger_cdf", "larger_moments", "larger_pdf", "tw1_cdf", "tw1_moments", "tw1_pdf"],
    "fasthop.training": ["Fit", "fit", "respond"],
    "fasthop.weights": ["Blocks", "LowRank"],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = globals()[name] = getattr(import_module(_HOME[name]), name)
        return value
    raise AttributeError(f"module 'fasthop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
