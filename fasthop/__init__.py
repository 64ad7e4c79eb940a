"""fasthop: batch simulation of associative memories, ẏ = W g(y) − y + b, on all cores.

Names are loaded when they are first used, so that `import fasthop` costs nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "fasthop.model.activations": [
        *("Activation", "Exp", "GELU", "Gaussian", "HardTanh", "Identity", "LayerNorm", "LeakyReLU", "Power", "ReLU"),
        *("RectifiedPower", "SELU", "SiLU", "Sigmoid", "SmoothLeakyReLU", "SoftThreshold", "Softmax", "Softplus"),
        *("Sphere", "Tanh"),
    ],
    "fasthop.dynamics.jacobians": ["energy_gradient", "energy_hessian", "residual"],
    "fasthop.energies.lyapunov": ["lyapunov_condition", "numerical_abscissa", "orientation_bound", "why_not_lyapunov"],
    "fasthop.model.systems": ["OrthogonalFactor", "lyapunov", "polar"],
    "fasthop.energies.energy": ["energy"],
    "fasthop.dynamics.ensemble": ["Ends", "Trajectories", "default_step", "faithful_step", "settle", "simulate"],
    "fasthop.equilibrium.autodiff": ["jax_settle", "torch_settle"],
    "fasthop.equilibrium.clamping": ["clamp"],
    "fasthop.equilibrium.convergence": ["contraction", "plot_contraction"],
    "fasthop.equilibrium.gradients": ["Gradient", "gradient"],
    "fasthop.experiments.basins": ["basins"],
    "fasthop.analysis.critical_noise": [
        *("attraction_radius", "critical_noise", "critical_overlap", "hamming_radius"),
    ],
    "fasthop.analysis.gains": ["capacity_by_gain", "plot_capacity_by_gain"],
    "fasthop.analysis.half_capacity": ["finite_size", "half_capacity"],
    "fasthop.model.energy_family": ["Energy"],
    "fasthop.geometry.entropy": ["BasinEntropy", "UncertaintyExponent", "basin_entropy", "uncertainty_exponent"],
    "fasthop.geometry.rays": ["radii"],
    "fasthop.geometry.saddles": ["BoundarySaddles", "boundary_saddles"],
    "fasthop.geometry.slices": ["Slice", "basin_slice"],
    "fasthop.storage.inputs": ["load_patterns", "load_weights"],
    "fasthop.storage.rules": ["covariance", "hebb", "maximal_stability", "pseudo_inverse", "storkey"],
    "fasthop.storage.mean_field": ["Retrieval", "Wear", "hebb_capacity", "hebb_retrieval", "wear"],
    "fasthop.model.memory": ["Layer", "Memory"],
    "fasthop.model.named_models": [
        *("alive_and_dead", "contraction_bound", "dense_associative_memory", "exponential_memory"),
        *("hierarchical_memory", "hopfield_1984", "krotov_hopfield", "softmax_memory"),
    ],
    "fasthop.storage.patterns": [
        *("add_noise", "choose", "correlated_patterns", "digit_images", "digit_means", "flip"),
        *("flip_exactly", "hide", "hide_last", "random_patterns", "spherical_patterns"),
    ],
    "fasthop.goe.random_matrices": [
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
    "fasthop.dynamics.starts": ["Ball", "Normal", "Uniform"],
    "fasthop.states.census": ["census"],
    "fasthop.states.certificate": ["Certificate"],
    "fasthop.states.dead": ["DeadNeurons", "Recovered", "dead_neurons", "recover"],
    "fasthop.states.enumeration": ["count_steady_states"],
    "fasthop.states.newton": ["Polished", "polish"],
    "fasthop.states.stability": ["Stability", "stability"],
    "fasthop.states.steady": ["steady_states"],
    "fasthop.statistics": [
        "bootstrap",
        "clopper_pearson",
        "over_realisations",
        "ratio_interval",
        "t_interval",
        "wilson",
        "with_undecided",
    ],
    "fasthop.sweep.merge": ["compact", "merge"],
    "fasthop.sweep.read": ["read"],
    "fasthop.sweep.run": ["outlook", "run"],
    "fasthop.sweep.spec": ["load_spec"],
    "fasthop.sweep.status": ["status"],
    "fasthop.sweep.tables": ["capacity"],
    "fasthop.sweep.verify": ["verify"],
    "fasthop.storage.wear": ["dilute", "dilute_one_way", "quantise"],
    "fasthop.goe.tracy_widom": ["larger_cdf", "larger_moments", "larger_pdf", "tw1_cdf", "tw1_moments", "tw1_pdf"],
    "fasthop.training.fit": ["Fit", "fit", "respond"],
    "fasthop.training.optimisers": ["Adam", "SGD"],
    "fasthop.model.weights": ["Blocks", "LowRank"],
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
