"""fasthop: batch simulation of associative memories, ẏ = W g(y) − y + b, on all cores.

What a user starts with is here; the rest has its place in a room: `fasthop.models` (memories of other papers),
`fasthop.storage`, `fasthop.states`, `fasthop.geometry` (of basins), `fasthop.training`, `fasthop.random_matrices`,
`fasthop.theory` (mean field, Tracy–Widom), `fasthop.statistics`, `fasthop.analysis` (of tables). Names are loaded when
they are first used, so that `import fasthop` costs nothing.
"""

from fasthop.lazy import lazy

__version__ = "0.1.0"

_HOMES = {
    "fasthop.dynamics.ensemble": ["default_step", "faithful_step", "settle", "simulate"],
    "fasthop.dynamics.jacobians": ["energy_gradient", "energy_hessian", "residual"],
    "fasthop.dynamics.starts": ["Ball", "Normal", "Uniform"],
    "fasthop.energies.energy": ["energy"],
    "fasthop.energies.lyapunov": ["lyapunov_condition", "why_not_lyapunov"],
    "fasthop.equilibrium.autodiff": ["jax_settle", "torch_settle"],
    "fasthop.equilibrium.clamping": ["clamp"],
    "fasthop.equilibrium.gradients": ["gradient"],
    "fasthop.model.activations": [
        *("Activation", "Exp", "GELU", "Gaussian", "HardTanh", "Identity", "LayerNorm", "LeakyReLU", "Power"),
        *("ReLU", "RectifiedPower", "SELU", "SiLU", "Sigmoid", "SmoothLeakyReLU", "SoftThreshold", "Softmax"),
        *("Softplus", "Sphere", "Tanh"),
    ],
    "fasthop.model.energy_family": ["Energy"],
    "fasthop.model.matrices": ["lyapunov"],
    "fasthop.model.memory": ["Layer", "Memory"],
    "fasthop.model.systems": ["OrthogonalFactor"],
    "fasthop.model.weights": ["Blocks", "LowRank"],
    "fasthop.random_matrices.goe": ["goe", "goe_extremes"],
    "fasthop.states.basins": ["basins"],
    "fasthop.states.census": ["census"],
    "fasthop.states.dead": ["dead_neurons"],
    "fasthop.states.stability": ["stability"],
    "fasthop.states.steady": ["steady_states"],
    "fasthop.storage.inputs": ["load_patterns", "load_weights"],
    "fasthop.storage.patterns": ["add_noise", "digit_images", "digit_means", "flip", "random_patterns"],
    "fasthop.storage.rules": ["covariance", "hebb", "maximal_stability", "pseudo_inverse", "storkey"],
    "fasthop.sweep.merge": ["compact", "merge"],
    "fasthop.sweep.read": ["read"],
    "fasthop.sweep.run": ["outlook", "run"],
    "fasthop.sweep.spec": ["load_spec"],
    "fasthop.sweep.status": ["status"],
    "fasthop.sweep.tables": ["capacity"],
    "fasthop.sweep.verify": ["verify"],
}
_ROOMS = (
    "analysis",
    "dynamics",
    "energies",
    "equilibrium",
    "geometry",
    "model",
    "models",
    "random_matrices",
    "states",
    "statistics",
    "storage",
    "theory",
    "training",
)
__getattr__, __dir__, __all__ = lazy(__name__, _HOMES, _ROOMS)
