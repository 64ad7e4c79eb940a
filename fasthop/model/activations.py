"""Activations by name: g = ∇L with its derivative Λ, Lagrangian L and Legendre term φ = y·g − L.

Source: arXiv 2410.13866, section 2 and Example 7. All quantities are dimensionless.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from fasthop import checks
from fasthop_kernels.dynamics import activations as kernels

#: Where the slope of SiLU is largest: the root of y tanh(y/2) = 2.
SILU_STEEPEST = 2.399357280515468


@dataclasses.dataclass(frozen=True)
class Activation:
    """An activation, elementwise or, where `blockwise` is set, of all neurons of a layer together.

    The methods take an array of any shape, float64 or float32, and return a new array of the same shape and dtype;
    other numbers are taken as float64. NaN stays NaN. For a block-wise activation the last axis holds the neurons;
    its L and φ belong to the block and stand on the first neuron with zeros after it, so that for every activation
    the sum over the last axis is that of the state.

    Attributes
    ----------
    blockwise : bool
        Whether the neurons of a layer depend on each other, so that Λ is not diagonal.
    """

    name: ClassVar[str]
    code: ClassVar[int]
    blockwise: ClassVar[bool] = False

    @property
    def monotone(self) -> bool:
        """Whether Λ is nowhere negative (positive semidefinite), which the energies ask for."""
        return True

    @property
    def invertible(self) -> bool:
        """Whether `inverse` exists: g takes no value twice but on its flat parts."""
        return self.monotone

    @property
    def strictly_monotone(self) -> bool:
        """Whether g is elementwise and rises everywhere, so that energy (3) exists."""
        return self.monotone and self.invertible and not self.blockwise

    @property
    def parameter(self) -> float:
        """The first parameter, a gain, slope, power or threshold, or 0 where there is none."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        return float(values[0]) if values else 0.0

    @property
    def parameters(self) -> tuple[float, float]:
        """The two numbers that the kernels are given: `parameter`, and ε where there is one."""
        return self.parameter, 0.0

    @property
    def max_slope(self) -> float:
        """The largest value of Λ (block-wise: its largest eigenvalue), which bounds the stable step, or infinity.

        No value of Λ is larger in size, also where g is not monotone.
        """
        raise NotImplementedError

    @property
    def bounds(self) -> tuple[float, float]:
        """The least interval with all values of g, which may be infinite."""
        return -math.inf, math.inf

    def steepest_within(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return a bound on |Λ| where low ≤ y ≤ high, two arrays of one shape; by default `max_slope`."""
        return np.full(np.shape(high), self.max_slope)

    def flat(self, dtype: Any = np.float64) -> tuple[tuple[float, float], ...]:
        """Return the intervals of y on which g is constant to the last bit: a neuron in one of them is dead.

        Those that reach to infinity are the saturated tails, exactly flat (ReLU) or flat by rounding (tanh beyond 19);
        their ends are found by bisection on the g that the trajectories use. Empty for a block-wise activation, whose
        dead directions are `block_directions`.

        Parameters
        ----------
        dtype : float64 or float32
        """
        return () if self.blockwise else _tails(self, np.dtype(dtype))

    @property
    def kinks(self) -> tuple[float, ...]:
        """The y at which Λ jumps."""
        return ()

    @property
    def block_directions(self) -> tuple[str, ...]:
        """The directions in which g of a block stays constant: "shift", (1, …, 1), and "scale", that of y itself."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """Return the name and every parameter, as a spec file spells them."""
        return {"name": self.name, **dataclasses.asdict(self)}

    def g(self, y: Any) -> np.ndarray:
        """Return g(y)."""
        return self._apply(kernels.activate, y)

    def slope(self, y: Any) -> np.ndarray:
        """Return the diagonal of Λ(y) = ∂g/∂y, the Hessian of L; at a kink the slope of the side towards −∞ or 0."""
        return self._apply(kernels.slope, y)

    def apply_slope(self, y: Any, x: Any) -> np.ndarray:
        """Return Λ(y) x for `x` of the shape of `y`; Λ is never formed."""
        return self._apply(kernels.apply_slope, y, x)

    def lagrangian(self, y: Any) -> np.ndarray:
        """Return L(y) of every entry; the Lagrangian of a state is the sum."""
        return self._apply(kernels.lagrangian, y)

    def legendre(self, y: Any) -> np.ndarray:
        """Return φ(y) = y g(y) − L(y) of every entry, without the cancellation of that difference."""
        return self._apply(kernels.legendre, y)

    def inverse(self, v: Any) -> np.ndarray:
        """Return the y with g(y) = v; NaN where there is none or, on a flat part of g, more than one.

        Raises
        ------
        ValueError
            Where g takes its values twice: GELU, SiLU and the Gaussian.
        """
        if not self.invertible:
            raise ValueError(f"{self.name} has no inverse: it takes the same value at more than one y.")
        return self._apply(kernels.invert, v)

    def _apply(self, function: Callable[..., None], *arrays: Any) -> np.ndarray:
        values = [np.asarray(array) for array in arrays]
        dtype = values[0].dtype if values[0].dtype == np.float32 else np.dtype(np.float64)
        shape = values[0].shape
        for other in values[1:]:
            if other.shape != shape:
                raise ValueError(f"x must have the shape of y, {shape}; got {other.shape}.")
        neurons, lanes = int(values[0].size), 1
        if self.blockwise:
            if not shape or not shape[-1]:
                raise ValueError(f"{self.name} needs neurons on the last axis of an array; got shape {shape}.")
            neurons, lanes = shape[-1], neurons // shape[-1]
        flat = [np.array(array.reshape(lanes, neurons).T, dtype, order="C").reshape(-1) for array in values]
        out = np.empty_like(flat[0])
        layers = np.array([[0, neurons, self.code]], np.int64)
        function(layers, np.array([self.parameters], dtype), *flat, out, lanes)
        return np.ascontiguousarray(out.reshape(neurons, lanes).T).reshape(shape)


#: A place far out in every tail, in both dtypes.
_FAR = 2.0**100

#: Places beyond the end of a tail at which it is looked whether g is constant indeed.
_PROBES = 4096


@functools.cache
def _tails(kind: Activation, dtype: np.dtype[Any]) -> tuple[tuple[float, float], ...]:
    found = []
    for sign in (-1.0, 1.0):
        far = dtype.type(sign * _FAR)
        with np.errstate(over="ignore"):
            ends = kind.g(np.array([far, far / 2, 0.0, -far], dtype))
        if not np.isfinite(ends[0]) or ends[0] != ends[1]:
            continue
        # A bell has the same value in both tails and another one between them.
        varied = dtype.type(0) if ends[2] != ends[0] else -far
        end = _first_constant(kind, varied, far, ends[0])
        found.append((-math.inf, end) if sign < 0 else (end, math.inf))
    return tuple(found)


def _first_constant(kind: Activation, varied: Any, constant: Any, value: Any) -> float:
    """Return the place next to `varied` from which on, towards `constant`, g has one value."""
    while True:
        low, high = varied, constant
        while (middle := low + (high - low) / 2) not in (low, high):
            low, high = (low, middle) if kind.g(np.array([middle]))[0] == value else (middle, high)
        # Rounding may take g off its value again a little further on.
        probes = high + np.sign(constant) * np.linspace(0, abs(high) + 1, _PROBES, dtype=high.dtype)
        others = np.flatnonzero(kind.g(probes) != value)
        if not others.size:
            return float(high)
        varied = probes[others[-1]]


@dataclasses.dataclass(frozen=True)
class Tanh(Activation):
    """g(y) = tanh(βy), L = ln cosh(βy)/β.

    Parameters
    ----------
    beta : float
        Gain, positive.
    """

    beta: float = 1.0
    name: ClassVar[str] = "tanh"
    code: ClassVar[int] = kernels.TANH

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", checks.real("activation.beta", self.beta, above=0))

    @property
    def bounds(self) -> tuple[float, float]:
        """±1."""
        return -1.0, 1.0

    @property
    def max_slope(self) -> float:
        """β, at 0."""
        return self.beta


@dataclasses.dataclass(frozen=True)
class Sigmoid(Activation):
    """g(y) = 1/(1 + e^{−βy}), L = ln(1 + e^{βy})/β.

    Parameters
    ----------
    beta : float
        Gain, positive.
    """

    beta: float = 1.0
    name: ClassVar[str] = "sigmoid"
    code: ClassVar[int] = kernels.SIGMOID

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", checks.real("activation.beta", self.beta, above=0))

    @property
    def bounds(self) -> tuple[float, float]:
        """0 and 1."""
        return 0.0, 1.0

    @property
    def max_slope(self) -> float:
        """β/4, at 0."""
        return self.beta / 4


@dataclasses.dataclass(frozen=True)
class ReLU(Activation):
    """g(y) = max(y, 0), L = max(y, 0)²/2; a neuron at y ≤ 0 is dead."""

    name: ClassVar[str] = "relu"
    code: ClassVar[int] = kernels.RELU

    @property
    def kinks(self) -> tuple[float, ...]:
        """0."""
        return (0.0,)

    @property
    def strictly_monotone(self) -> bool:
        """No: flat at and below 0."""
        return False

    @property
    def max_slope(self) -> float:
        """1."""
        return 1.0


@dataclasses.dataclass(frozen=True)
class LeakyReLU(Activation):
    """g(y) = y above 0 and a y at or below it, L = y g(y)/2.

    Parameters
    ----------
    slope_below : float
        The slope a, at least 0.
    """

    slope_below: float = 0.01
    name: ClassVar[str] = "leaky_relu"
    code: ClassVar[int] = kernels.LEAKY_RELU

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope_below", checks.real("activation.slope_below", self.slope_below, least=0))

    @property
    def kinks(self) -> tuple[float, ...]:
        """0, unless a = 1."""
        return () if self.slope_below == 1 else (0.0,)

    @property
    def strictly_monotone(self) -> bool:
        """Unless the slope below 0 is 0."""
        return self.slope_below > 0

    @property
    def max_slope(self) -> float:
        """The larger of 1 and a."""
        return max(1.0, self.slope_below)


@dataclasses.dataclass(frozen=True)
class SmoothLeakyReLU(Activation):
    """g(y) = y (5 + 3 erf(3y/8))/8, Example 7: .1533 ≤ Λ ≤ 1.0967, so that no neuron is ever dead."""

    name: ClassVar[str] = "smooth_leaky_relu"
    code: ClassVar[int] = kernels.SMOOTH_LEAKY_RELU

    @property
    def max_slope(self) -> float:
        """5/8 + (3/8) erf 1 + 3/(4 e √π), at y = 8/3."""
        return 0.625 + 0.375 * math.erf(1.0) + 0.75 / (math.e * math.sqrt(math.pi))


@dataclasses.dataclass(frozen=True)
class Identity(Activation):
    """g(y) = y, L = y²/2: the linear system."""

    name: ClassVar[str] = "identity"
    code: ClassVar[int] = kernels.LEAKY_RELU

    @property
    def parameters(self) -> tuple[float, float]:
        """A leaky ReLU of slope 1 is the identity."""
        return 1.0, 0.0

    @property
    def max_slope(self) -> float:
        """1."""
        return 1.0


@dataclasses.dataclass(frozen=True)
class Softplus(Activation):
    """g(y) = ln(1 + e^{βy})/β, L = −Li₂(−e^{βy})/β² with the dilogarithm Li₂; flat far below 0.

    Parameters
    ----------
    beta : float
        Gain, positive; a ReLU as it grows.
    """

    beta: float = 1.0
    name: ClassVar[str] = "softplus"
    code: ClassVar[int] = kernels.SOFTPLUS

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", checks.real("activation.beta", self.beta, above=0))

    @property
    def max_slope(self) -> float:
        """1, far above 0."""
        return 1.0


@dataclasses.dataclass(frozen=True)
class Exp(Activation):
    """g(y) = L = e^y; flat far below 0. Its slope has no bound: trajectories can blow up in finite time."""

    name: ClassVar[str] = "exp"
    code: ClassVar[int] = kernels.EXP

    @property
    def max_slope(self) -> float:
        """Infinite."""
        return math.inf

    def steepest_within(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """At the upper end."""
        return np.asarray(np.exp(high))


@dataclasses.dataclass(frozen=True)
class GELU(Activation):
    """g(y) = y Φ(y) with the normal distribution Φ (the exact form with erf), L = ((y² − 1) Φ + y Φ′)/2.

    Not monotone: Λ < 0 below y = −0.7518, down to −0.1289. Flat far below 0.
    """

    name: ClassVar[str] = "gelu"
    code: ClassVar[int] = kernels.GELU

    @property
    def monotone(self) -> bool:
        """No."""
        return False

    @property
    def max_slope(self) -> float:
        """Φ(√2) + √2 Φ′(√2), at y = √2."""
        return 0.5 + 0.5 * math.erf(1.0) + 1.0 / (math.e * math.sqrt(math.pi))


@dataclasses.dataclass(frozen=True)
class SiLU(Activation):
    """g(y) = y σ(y) with the logistic sigmoid σ; L is the Legendre term of the softplus.

    Not monotone: Λ < 0 below y = −1.2785, down to −0.0998. Flat far below 0.
    """

    name: ClassVar[str] = "silu"
    code: ClassVar[int] = kernels.SILU

    @property
    def monotone(self) -> bool:
        """No."""
        return False

    @property
    def max_slope(self) -> float:
        """1.0998 = 1/2 + y/4, at the y = 2.3994 where y tanh(y/2) = 2."""
        return 0.5 + SILU_STEEPEST / 4


@dataclasses.dataclass(frozen=True)
class SELU(Activation):
    """g(y) = λ y above 0 and λα(e^y − 1) at or below it, L = λ y²/2 and λα(e^y − 1 − y); flat far below 0.

    λ = 1.0507 and α = 1.6733 are those of Klambauer et al., arXiv 1706.02515. Λ jumps at 0 from λα to λ.
    """

    name: ClassVar[str] = "selu"
    code: ClassVar[int] = kernels.SELU

    @property
    def kinks(self) -> tuple[float, ...]:
        """0."""
        return (0.0,)

    @property
    def max_slope(self) -> float:
        """λα, at 0."""
        return kernels.SELU_BELOW


@dataclasses.dataclass(frozen=True)
class Gaussian(Activation):
    """g(y) = e^{−y²}, L = (√π/2) erf y. Not monotone: Λ < 0 above 0. Flat far from 0."""

    name: ClassVar[str] = "gaussian"
    code: ClassVar[int] = kernels.GAUSSIAN

    @property
    def monotone(self) -> bool:
        """No."""
        return False

    @property
    def bounds(self) -> tuple[float, float]:
        """0 and 1."""
        return 0.0, 1.0

    @property
    def max_slope(self) -> float:
        """√(2/e), at y = −1/√2."""
        return math.sqrt(2.0 / math.e)


@dataclasses.dataclass(frozen=True)
class _WholePower(Activation):
    """What powers have in common: n, a whole number from 2, and a slope without bound for n > 2."""

    n: int = 3

    def __post_init__(self) -> None:
        n: Any = self.n
        if isinstance(n, float) and n.is_integer():  # as spec files spell it
            n = int(n)
        object.__setattr__(self, "n", checks.whole("activation.n", n, least=2, most=64))

    @property
    def max_slope(self) -> float:
        """1 for n = 2, otherwise infinite."""
        return 1.0 if self.n == 2 else math.inf


@dataclasses.dataclass(frozen=True)
class RectifiedPower(_WholePower):
    """g(y) = r^{n−1} with r = max(y, 0), L = r^n/n: the dense associative memory of Krotov and Hopfield.

    A neuron at y ≤ 0 is dead. For n > 2 the slope has no bound: trajectories can blow up in finite time.

    Parameters
    ----------
    n : int
        The power, a whole number from 2 (the ReLU) to 64.
    """

    name: ClassVar[str] = "rectified_power"
    code: ClassVar[int] = kernels.RECTIFIED_POWER

    @property
    def kinks(self) -> tuple[float, ...]:
        """0 for n = 2."""
        return (0.0,) if self.n == 2 else ()

    @property
    def strictly_monotone(self) -> bool:
        """No: flat at and below 0."""
        return False

    def steepest_within(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """At the upper end."""
        return np.asarray((self.n - 1) * np.maximum(high, 0.0) ** (self.n - 2))


@dataclasses.dataclass(frozen=True)
class Power(_WholePower):
    """g(y) = y^{n−1}, L = y^n/n: the dense associative memory of Krotov and Hopfield, not rectified.

    Monotone, with an inverse, for even n; for odd n, Λ < 0 below 0. No neuron is dead. For n > 2 the slope has no
    bound: trajectories can blow up in finite time.

    Parameters
    ----------
    n : int
        The power, a whole number from 2 (the identity) to 64.
    """

    name: ClassVar[str] = "power"
    code: ClassVar[int] = kernels.POWER

    @property
    def monotone(self) -> bool:
        """Whether n is even."""
        return self.n % 2 == 0

    def steepest_within(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """At the end that is further from 0."""
        return np.asarray((self.n - 1) * np.maximum(np.abs(low), np.abs(high)) ** (self.n - 2))


@dataclasses.dataclass(frozen=True)
class HardTanh(Activation):
    """g(y) = y within ±1 and ±1 beyond, L = y²/2 and |y| − 1/2; a neuron at |y| ≥ 1 is dead."""

    name: ClassVar[str] = "hard_tanh"
    code: ClassVar[int] = kernels.HARD_TANH

    @property
    def kinks(self) -> tuple[float, ...]:
        """±1."""
        return (-1.0, 1.0)

    @property
    def strictly_monotone(self) -> bool:
        """No: flat outside ±1."""
        return False

    @property
    def bounds(self) -> tuple[float, float]:
        """±1."""
        return -1.0, 1.0

    @property
    def max_slope(self) -> float:
        """1."""
        return 1.0


@dataclasses.dataclass(frozen=True)
class SoftThreshold(Activation):
    """g(y) = 0 within ±t and y ∓ t beyond, L = max(|y| − t, 0)²/2; a neuron at |y| ≤ t is dead.

    Parameters
    ----------
    threshold : float
        t, positive.
    """

    threshold: float = 1.0
    name: ClassVar[str] = "soft_threshold"
    code: ClassVar[int] = kernels.SOFT_THRESHOLD

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", checks.real("activation.threshold", self.threshold, above=0))

    def flat(self, dtype: Any = np.float64) -> tuple[tuple[float, float], ...]:
        """Return the interval ±t, the one flat part that is bounded."""
        threshold = float(np.dtype(dtype).type(self.threshold))
        return ((-threshold, threshold),)

    @property
    def kinks(self) -> tuple[float, ...]:
        """±t."""
        return (-self.threshold, self.threshold)

    @property
    def strictly_monotone(self) -> bool:
        """No: flat around 0."""
        return False

    @property
    def max_slope(self) -> float:
        """1."""
        return 1.0


@dataclasses.dataclass(frozen=True)
class Softmax(Activation):
    """g(y) = e^{βy}/Σ e^{βy}, L = ln(Σ e^{βy})/β, Λ = β(diag g − g gᵀ), block-wise.

    Λ maps (1, …, 1) to 0: a shift of the whole block is dead. Flat, too, where one neuron leads by far. The inverse
    is ln(v)/β, one of the preimages y + c.

    Parameters
    ----------
    beta : float
        Gain, positive.
    """

    beta: float = 1.0
    name: ClassVar[str] = "softmax"
    code: ClassVar[int] = kernels.SOFTMAX
    blockwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", checks.real("activation.beta", self.beta, above=0))

    @property
    def block_directions(self) -> tuple[str, ...]:
        """A shift."""
        return ("shift",)

    @property
    def bounds(self) -> tuple[float, float]:
        """0 and 1."""
        return 0.0, 1.0

    @property
    def max_slope(self) -> float:
        """β/2, for two equal neurons that lead."""
        return self.beta / 2


@dataclasses.dataclass(frozen=True)
class LayerNorm(Activation):
    """g(y) = γ z, z = (y − m)/s, with mean m and s² = var + ε over the D neurons, L = D γ s, block-wise.

    Λ = (γ/s)(1 − 1 1ᵀ/D − z zᵀ/D) maps (1, …, 1) to 0, and for ε = 0 also y − m. The inverse is the preimage of mean
    0; for ε = 0 it has variance 1. A shift δ after the normalisation is a bias W δ.

    Parameters
    ----------
    gamma : float
        Gain, positive. One number: with a gain for each neuron Λ is not symmetric, and there is no Lagrangian.
    epsilon : float
        ε, at least 0. For ε = 0, a block of equal neurons gives NaN.
    """

    gamma: float = 1.0
    epsilon: float = 1e-5
    name: ClassVar[str] = "layer_norm"
    code: ClassVar[int] = kernels.LAYER_NORM
    blockwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if np.ndim(self.gamma) > 0:
            raise ValueError(
                "activation.gamma must be one number: with a gain for each neuron Λ is not symmetric, "
                f"so that no Lagrangian exists; got {np.size(self.gamma)} numbers."
            )
        object.__setattr__(self, "gamma", checks.real("activation.gamma", self.gamma, above=0))
        object.__setattr__(self, "epsilon", checks.real("activation.epsilon", self.epsilon, least=0))

    @property
    def parameters(self) -> tuple[float, float]:
        """γ and ε."""
        return self.gamma, self.epsilon

    @property
    def block_directions(self) -> tuple[str, ...]:
        """A shift; for ε = 0, the spread y − m too."""
        return ("shift",) if self.epsilon > 0 else ("shift", "scale")

    @property
    def max_slope(self) -> float:
        """γ/√ε, at equal neurons; infinite for ε = 0."""
        return self.gamma / math.sqrt(self.epsilon) if self.epsilon > 0 else math.inf


@dataclasses.dataclass(frozen=True)
class Sphere(Activation):
    """g(y) = y/r, L = r = √(y·y + ε), Λ = (1 − y yᵀ/r²)/r, block-wise.

    For ε = 0, Λ maps y to 0: the length is dead, y = 0 gives NaN, and the inverse is that of length 1, v itself.

    Parameters
    ----------
    epsilon : float
        ε, at least 0.
    """

    epsilon: float = 0.0
    name: ClassVar[str] = "sphere"
    code: ClassVar[int] = kernels.SPHERE
    blockwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", checks.real("activation.epsilon", self.epsilon, least=0))

    @property
    def parameters(self) -> tuple[float, float]:
        """1 and ε."""
        return 1.0, self.epsilon

    @property
    def block_directions(self) -> tuple[str, ...]:
        """The length, for ε = 0."""
        return () if self.epsilon > 0 else ("scale",)

    @property
    def bounds(self) -> tuple[float, float]:
        """±1."""
        return -1.0, 1.0

    @property
    def max_slope(self) -> float:
        """1/√ε, at y = 0; infinite for ε = 0."""
        return 1.0 / math.sqrt(self.epsilon) if self.epsilon > 0 else math.inf


ACTIVATIONS: dict[str, type[Activation]] = {
    kind.name: kind
    for kind in (
        *(Identity, Tanh, Sigmoid, ReLU, LeakyReLU, SmoothLeakyReLU, Softplus, Exp, GELU, SiLU, SELU, Gaussian),
        *(RectifiedPower, Power, HardTanh, SoftThreshold, Softmax, LayerNorm, Sphere),
    )
}


def as_activation(value: Activation | str | Mapping[str, Any]) -> Activation:
    """Return an activation given by itself, by name, or by name and parameters.

    Raises
    ------
    TypeError, ValueError
        Where the name or a parameter is unknown; the sentence lists what is allowed.
    """
    if isinstance(value, Activation):
        return value
    given: dict[str, Any] = {"name": value} if isinstance(value, str) else {}
    if isinstance(value, Mapping):
        given = dict(value)
    if "name" not in given:
        raise TypeError(f"activation must be a name, an Activation or a table with a name; got {value!r}.")
    kind = ACTIVATIONS[checks.one_of("activation", given.pop("name"), ACTIVATIONS)]
    allowed = [field.name for field in dataclasses.fields(kind)]
    for key in given:
        if key not in allowed:
            takes = f"takes {', '.join(allowed)}" if allowed else "takes no parameter"
            raise ValueError(f"activation.{key} is unknown; {kind.name} {takes}.")
    return kind(**given)


def spelled_out(value: Activation | str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the one spelling of an activation, with its defaults; errors as in `as_activation`."""
    return as_activation(value).to_dict()
