"""Activations by name: g = ∇L with its derivative Λ, Lagrangian L and Legendre term φ = y·g − L.

Source: arXiv 2410.13866, section 2 and Example 7. All quantities are dimensionless.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from fasthop import checks
from fasthop_kernels import activations as kernels


@dataclasses.dataclass(frozen=True)
class Activation:
    """An elementwise activation.

    The methods take an array of any shape, float64 or float32, and return a new array of the same shape and dtype;
    other numbers are taken as float64. NaN stays NaN.
    """

    name: ClassVar[str]
    code: ClassVar[int]

    @property
    def parameter(self) -> float:
        """The number that the kernels are given: a gain, a slope, or 0 where there is none."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        return float(values[0]) if values else 0.0

    @property
    def max_slope(self) -> float:
        """The largest value of Λ, which bounds the stable step."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return the name and every parameter, as a spec file spells them."""
        return {"name": self.name, **dataclasses.asdict(self)}

    def g(self, y: Any) -> np.ndarray:
        """Return g(y)."""
        return self._apply(kernels.activate, y)

    def slope(self, y: Any) -> np.ndarray:
        """Return Λ(y) = g′(y), the diagonal of the Hessian of L; at the kink of a ReLU the lower slope."""
        return self._apply(kernels.differentiate, y)

    def lagrangian(self, y: Any) -> np.ndarray:
        """Return L(y) of every entry; the Lagrangian of a state is the sum."""
        return self._apply(kernels.integrate, y)

    def legendre(self, y: Any) -> np.ndarray:
        """Return φ(y) = y g(y) − L(y) of every entry, without the cancellation of that difference."""
        return self._apply(kernels.transform, y)

    def _apply(self, function: Callable[..., None], y: Any) -> np.ndarray:
        values = np.asarray(y)
        dtype = values.dtype if values.dtype == np.float32 else np.dtype(np.float64)
        state = np.array(values, dtype, order="C").reshape(-1)
        out = np.empty_like(state)
        layers = np.array([[0, state.size, self.code]], np.int64)
        function(layers, np.array([self.parameter], dtype), state, out, 1)
        return out.reshape(values.shape)


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
    def max_slope(self) -> float:
        """β/4, at 0."""
        return self.beta / 4


@dataclasses.dataclass(frozen=True)
class ReLU(Activation):
    """g(y) = max(y, 0), L = max(y, 0)²/2; a neuron at y ≤ 0 is dead."""

    name: ClassVar[str] = "relu"
    code: ClassVar[int] = kernels.RELU

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


ACTIVATIONS: dict[str, type[Activation]] = {
    kind.name: kind for kind in (Tanh, Sigmoid, ReLU, LeakyReLU, SmoothLeakyReLU)
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
