"""The systems of arXiv 2410.13866, ẏ = R(y) · residual(y): one record of each residual and one of each R.

Whatever else depends on which system a memory follows asks these records: a new residual or R is a class here, which
cannot be made before it answers every question, and the branch of the kernels (`fasthop_kernels.dynamics.flows`).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from fasthop import checks
from fasthop.model.energy_family import SHARES, Energy
from fasthop.model.matrices import factor_parts, polar_factor, polar_in
from fasthop.model.weights import Dense, Weights
from fasthop_kernels.dynamics import flows as kernels
from fasthop_kernels.machine.lanes import lane_line

#: Most neurons of a memory whose R is an orthogonal factor: at this size a step of one lane takes seconds.
MOST_ORTHOGONAL = 512


# --- what the residual is --------------------------------------------------------------------------------------------


class Residual(abc.ABC):
    """What vanishes at steady states and nowhere else: A g(C x + b) less the state x, with A and C made of W.

    Λ is given as its diagonal, shape (B, N), or whole, (B, N, N), and W as (N, N), or that of each state, (B, N, N).

    Attributes
    ----------
    variable : str
        What a state is called.
    code : int
        Of the kernels.
    energies : dict
        The energies of this variable by name, the one made for R = I first.
    natural : tuple of str
        The energies made for R = I and for every other R.
    is_argument, is_value : bool
        Whether a state is the argument of g, and whether a steady state is a value of g.
    is_positive : bool
        Whether J has no negative eigenvalue where Λ has none.
    """

    variable: ClassVar[str]
    code: ClassVar[int]
    energies: ClassVar[dict[str, Energy]]
    natural: ClassVar[tuple[str, str]]
    is_argument: ClassVar[bool] = False
    is_value: ClassVar[bool] = False
    is_positive: ClassVar[bool] = False

    def energy(self, kind: str | Energy) -> Energy:
        """Return an energy given by name or as itself.

        Raises
        ------
        ValueError
            Where it is not an energy of the variable.
        """
        if not isinstance(kind, Energy):
            return self.energies[checks.one_of(f"kind (for variable {self.variable!r})", kind, self.energies)]
        none = [share for share in SHARES if not any(getattr(form, share) for form in self.energies.values())]
        if any(getattr(kind, share) for share in none):
            known = ", ".join(map(repr, self.energies))
            raise ValueError(
                f"kind must have {' = '.join(none)} = 0 for variable = {self.variable!r}, a sum of {known}; got {kind}."
            )
        return kind

    @abc.abstractmethod
    def jacobian(self, Lam: np.ndarray, W: np.ndarray) -> np.ndarray:
        """Return J = A Λ C of the map whose fixed points are the steady states, (B, N, N)."""

    @abc.abstractmethod
    def before(self, W: np.ndarray) -> np.ndarray:
        """Return A, what stands before g, of one memory."""

    @abc.abstractmethod
    def energy_factor(self, form: Energy, Lam: np.ndarray, W: np.ndarray) -> np.ndarray:
        """Return F of Proposition 5, minus which times the residual is the gradient of an energy, for whole Λ."""

    @abc.abstractmethod
    def length(self, norm: Any) -> Any:
        """Return ‖A‖‖C‖ for ‖W‖: times max Λ, it bounds J."""

    @abc.abstractmethod
    def term_sizes(
        self, slope: float, bias: np.ndarray, rows: np.ndarray, columns: Callable[[], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return how large the terms of the residual are beside |x_i|: fixed + shared · max(1, max|x|), each (K, N).

        `slope` bounds slopes and values of g, `bias` is |b|, `rows` and `columns` are the sums Σ|W_ij| of either.
        """


class Outside(Residual):
    """W g(y) − y + b: systems (1) and (9)."""

    variable, code = "y", kernels.OUTSIDE
    energies: ClassVar = {"2": Energy(alpha=1.0), "3": Energy(alpha=1.0), "10": Energy(gamma=1.0)}
    natural = ("2", "10")
    is_argument = True

    def jacobian(self, Lam: np.ndarray, W: np.ndarray) -> np.ndarray:
        """Return W Λ."""
        return np.asarray(W * Lam[:, None, :] if Lam.ndim == 2 else np.matmul(W, Lam))

    def before(self, W: np.ndarray) -> np.ndarray:
        """Return W."""
        return W

    def energy_factor(self, form: Energy, Lam: np.ndarray, W: np.ndarray) -> np.ndarray:
        """Return αΛ + γ(I − ΛWᵀ) S."""
        S = form.weighting(len(W))
        return np.asarray(form.alpha * Lam + form.gamma * (S - Lam @ W.T @ S))

    def length(self, norm: Any) -> Any:
        """Return ‖W‖."""
        return norm

    def term_sizes(
        self, slope: float, bias: np.ndarray, rows: np.ndarray, columns: Callable[[], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return those of b and of W g."""
        return bias, rows * max(1.0, slope)


class Inside(Residual):
    """g(W u + b) − u: system (5)."""

    variable, code = "u", kernels.INSIDE
    energies: ClassVar = {"E1": Energy(alpha=1.0), "E2": Energy(beta=1.0), "E3": Energy(gamma=1.0)}
    natural = ("E3", "E3")
    is_value = True

    def jacobian(self, Lam: np.ndarray, W: np.ndarray) -> np.ndarray:
        """Return Λ W."""
        return np.asarray(Lam[:, :, None] * W if Lam.ndim == 2 else np.matmul(Lam, W))

    def before(self, W: np.ndarray) -> np.ndarray:
        """Return I."""
        return np.eye(len(W))

    def energy_factor(self, form: Energy, Lam: np.ndarray, W: np.ndarray) -> np.ndarray:
        """Return WᵀΛ(αW − γS) + βW + γS."""
        S = form.weighting(len(W))
        return np.asarray(W.T @ Lam @ (form.alpha * W - form.gamma * S) + form.beta * W + form.gamma * S)

    def length(self, norm: Any) -> Any:
        """Return ‖W‖."""
        return norm

    def term_sizes(
        self, slope: float, bias: np.ndarray, rows: np.ndarray, columns: Callable[[], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return those of g."""
        return slope * bias, slope * rows


class Around(Residual):
    """Wᵀ g(W v + b) − v: the simplest model of section 4."""

    variable, code = "v", kernels.AROUND
    energies: ClassVar = {"simplest": Energy(beta=1.0)}
    natural = ("simplest", "simplest")
    is_positive = True

    def jacobian(self, Lam: np.ndarray, W: np.ndarray) -> np.ndarray:
        """Return WᵀΛ W."""
        return np.asarray(np.matmul(np.swapaxes(W, -1, -2), np.matmul(whole(Lam), W)))

    def before(self, W: np.ndarray) -> np.ndarray:
        """Return Wᵀ."""
        return W.T

    def energy_factor(self, form: Energy, Lam: np.ndarray, W: np.ndarray) -> np.ndarray:
        """Return βI."""
        return np.broadcast_to(form.beta * np.eye(len(W)), (len(Lam), *W.shape))

    def length(self, norm: Any) -> Any:
        """Return ‖W‖²."""
        return norm * norm

    def term_sizes(
        self, slope: float, bias: np.ndarray, rows: np.ndarray, columns: Callable[[], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return those of Wᵀg, by the largest g."""
        across = columns()
        fixed = slope * bias.max(axis=1, keepdims=True) * across
        return fixed, slope * rows.max(axis=1, keepdims=True) * across + across


#: What the residual is, by the variable of the state.
RESIDUALS: dict[str, Residual] = {kind.variable: kind() for kind in (Outside, Inside, Around)}


# --- what R is -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class OrthogonalFactor:
    """R(u) = O(u) of Proposition 5.2: the orthogonal factor of F(u) = O P that makes an energy decrease on system (5).

    It costs O(N³) for every lane and stage, far more than the other R, and is meant for small N. O(u) jumps where
    det F(u) changes its sign, so the flow is not continuous there and may chatter. Where F is singular, or rounding
    cannot tell it from a singular one, the factor is not unique, and the one nearest to I is taken: +1 on the null
    space of a symmetric F. R is orthogonal everywhere, and dE/dt ≤ 0 up to that rounding.

    Parameters
    ----------
    energy : {"E1", "E2", "E3"} or Energy
        The energy that is to decrease. For E2 alone O is constant, and R = "polar" is the same and fast.
    """

    energy: str | Energy

    def __post_init__(self) -> None:
        object.__setattr__(self, "energy", RESIDUALS["u"].energy(self.energy))


@dataclasses.dataclass(frozen=True, eq=False)
class Factor(abc.ABC):
    """R, the factor of the residual.

    Attributes
    ----------
    name : str
        As a user gives it; "matrix" and "orthogonal factor" for what has no name.
    given : str, Weights or OrthogonalFactor
        What a user gives.
    code : int
        Of the kernels.
    variables : str
        Of the residuals that it goes with.
    is_identity, is_constant : bool
        Whether it is I, and whether it is the same at all states.
    is_descent : bool
        Whether the flow is that of steepest descent on ½|residual|²: R = (I − J)ᵀ, so that R (J − I) is symmetric and
        nowhere positive, and every steady state stable.
    compiled : None or bool
        True where kernels need code of their own (`Tables.orthogonal`).
    """

    name: str
    given: Any
    code: ClassVar[int]
    variables: ClassVar[str] = "yu"
    is_identity: ClassVar[bool] = False
    is_constant: ClassVar[bool] = False
    is_descent: ClassVar[bool] = False
    compiled: ClassVar[bool | None] = None

    @abc.abstractmethod
    def matrices(
        self, residual: Residual, Lam: np.ndarray, W: np.ndarray, owners: np.ndarray | None = None
    ) -> np.ndarray:
        """Return R at states, float64, shape (B, N, N); `owners` says which of K memories is that of a state."""

    @abc.abstractmethod
    def bound(self, full: np.ndarray, steepest: float, norm: Callable[[Weights], np.ndarray]) -> np.ndarray | float:
        """Return a bound on ‖R‖ from 1 + ‖J‖, max Λ and the way to find the norm of weights."""

    def jumps(self, kinked: bool) -> bool:
        """Whether R jumps somewhere, where Λ does if `kinked`."""
        return kinked and not self.is_constant

    def parts(self, weights: Weights, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return what the kernels take beside the code: `drive_blocks` and `drive_weights` of `Tables`."""
        return np.empty((0, 7), np.int64), np.empty((weights.count or 1, 0))


class Identity(Factor):
    """I: system (1), and system (5) in its simplest form."""

    code, variables = kernels.NONE, "yuv"
    is_identity = is_constant = True

    def matrices(
        self, residual: Residual, Lam: np.ndarray, W: np.ndarray, owners: np.ndarray | None = None
    ) -> np.ndarray:
        """Return I."""
        n = W.shape[-1]
        return np.broadcast_to(np.eye(n), (len(Lam), n, n))

    def bound(self, full: np.ndarray, steepest: float, norm: Callable[[Weights], np.ndarray]) -> float:
        """Return 1."""
        return 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Constant(Factor):
    """A matrix: W, its polar factor, or one that was given."""

    matrix: Weights
    code = kernels.MATRIX
    is_constant = True

    def matrices(
        self, residual: Residual, Lam: np.ndarray, W: np.ndarray, owners: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the matrix."""
        R = self.matrix.to_dense()
        n = R.shape[-1]
        return np.broadcast_to(R if owners is None else R[owners], (len(Lam), n, n))

    def bound(self, full: np.ndarray, steepest: float, norm: Callable[[Weights], np.ndarray]) -> np.ndarray:
        """Return ‖R‖."""
        return norm(self.matrix)

    def parts(self, weights: Weights, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return those of the matrix."""
        return self.matrix.blocks, self.matrix.stored


class Gradient(Factor):
    """(I − J)ᵀ: steepest descent on ½|residual|², which is E3 for variable u and energy (10) for y."""

    code = kernels.GRADIENT
    is_descent = True

    def matrices(
        self, residual: Residual, Lam: np.ndarray, W: np.ndarray, owners: np.ndarray | None = None
    ) -> np.ndarray:
        """Return (I − J)ᵀ."""
        return np.swapaxes(np.eye(W.shape[-1]) - residual.jacobian(Lam, W), 1, 2)

    def bound(self, full: np.ndarray, steepest: float, norm: Callable[[Weights], np.ndarray]) -> np.ndarray:
        """Return 1 + ‖J‖."""
        return full


class GradientAsPrinted(Factor):
    """I − J, which is I − W Λ: system (9) as the paper prints it."""

    code, variables = kernels.AS_PRINTED, "y"

    def matrices(
        self, residual: Residual, Lam: np.ndarray, W: np.ndarray, owners: np.ndarray | None = None
    ) -> np.ndarray:
        """Return I − J."""
        return np.asarray(np.eye(W.shape[-1]) - residual.jacobian(Lam, W))

    def bound(self, full: np.ndarray, steepest: float, norm: Callable[[Weights], np.ndarray]) -> np.ndarray:
        """Return 1 + ‖J‖."""
        return full


class Hessian(Factor):
    """Λ."""

    code = kernels.HESSIAN

    def matrices(
        self, residual: Residual, Lam: np.ndarray, W: np.ndarray, owners: np.ndarray | None = None
    ) -> np.ndarray:
        """Return Λ."""
        return whole(Lam)

    def bound(self, full: np.ndarray, steepest: float, norm: Callable[[Weights], np.ndarray]) -> float:
        """Return max Λ."""
        return steepest


@dataclasses.dataclass(frozen=True, eq=False)
class Orthogonal(Factor):
    """The orthogonal factor of Proposition 5.2, as `OrthogonalFactor` says."""

    energy: Energy
    dtype: np.dtype[Any]
    code, variables = kernels.ORTHOGONAL, "u"
    compiled = True

    def matrices(
        self, residual: Residual, Lam: np.ndarray, W: np.ndarray, owners: np.ndarray | None = None
    ) -> np.ndarray:
        """Return O of F = O P."""
        parts, floors = factor_parts(self.energy, W, self.dtype)
        Lam = whole(Lam)
        F = np.swapaxes(W, -1, -2) @ Lam @ parts[..., 0, :, :] + parts[..., 1, :, :]
        steepest = np.abs(np.diagonal(Lam, axis1=1, axis2=2)).max(axis=1, initial=np.finfo(self.dtype).tiny)
        return polar_factor(F, steepest * floors[..., 0] + floors[..., 1])

    def bound(self, full: np.ndarray, steepest: float, norm: Callable[[Weights], np.ndarray]) -> float:
        """Return 1."""
        return 1.0

    def jumps(self, kinked: bool) -> bool:
        """Whatever Λ does: where det F changes its sign."""
        return True

    def parts(self, weights: Weights, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return what `polar.turn` takes, rows of whole lines."""
        n, k, line = weights.neurons, weights.count or 1, lane_line(dtype)
        rows = np.zeros((k, 2 * n + 1, -(-n // line) * line))
        parts, floors = factor_parts(self.energy, weights.to_dense().reshape(k, n, n), dtype)
        rows[:, :-1, :n], rows[:, -1, :2] = parts.reshape(k, 2 * n, n), floors
        return np.empty((0, 7), np.int64), rows.reshape(k, -1)


#: What R is, by name.
FACTORS: dict[str, type[Factor]] = {
    "identity": Identity,
    "weights": Constant,
    "polar": Constant,
    "gradient": Gradient,
    "gradient-as-printed": GradientAsPrinted,
    "hessian": Hessian,
    "matrix": Constant,
    "orthogonal factor": Orthogonal,
}

#: Those that a user gives by name.
NAMED = tuple(name for name in FACTORS if name not in ("matrix", "orthogonal factor"))


def whole(Lam: np.ndarray) -> np.ndarray:
    """Return Λ as matrices, (B, N, N), where only its diagonal is given."""
    return Lam if Lam.ndim == 3 else Lam[:, :, None] * np.eye(Lam.shape[1])


# --- the pair --------------------------------------------------------------------------------------------------------

#: Systems with names, as a spec has them: the variable and R. All have the same steady states; "5" is system (1) in
#: other coordinates.
SYSTEMS: dict[str, tuple[str, str]] = {
    "1": ("y", "identity"),
    "5": ("u", "identity"),
    "5-E2": ("u", "weights"),
    "5-E2-polar": ("u", "polar"),
    "5-E3": ("u", "gradient"),
    "9": ("y", "gradient"),
    "9-as-printed": ("y", "gradient-as-printed"),
}

#: Every system there is: variable and name of R.
ALL = tuple((variable, name) for variable in RESIDUALS for name, kind in FACTORS.items() if variable in kind.variables)


@dataclasses.dataclass(frozen=True, eq=False)
class System:
    """The system that a memory follows.

    Attributes
    ----------
    residual : Residual
    factor : Factor
        R.
    """

    residual: Residual
    factor: Factor

    @property
    def is_first(self) -> bool:
        """Whether it is system (1), the one that can have time constants."""
        return self.residual.is_argument and self.factor.is_identity

    @property
    def natural_energy(self) -> str:
        """The energy that was made for it: (2) for system (1), E3 for (5), (10) for (9), or "simplest"."""
        return self.residual.natural[not self.factor.is_identity]

    def is_real(self, symmetric: bool) -> bool:
        """Whether R ≠ I makes the spectrum of R (J − I) real for every g.

        So do steepest descent, −(I − J)ᵀ(I − J), and for system (5) R = W where W is `symmetric`: W Λ W − W.
        """
        return self.factor.is_descent or (symmetric and self.residual.is_value and self.factor.name == "weights")


def as_system(variable: str, R: Any, weights: Weights, dtype: np.dtype[Any]) -> System:
    """Return the system of a variable and an R given by name, as a matrix or as an `OrthogonalFactor`.

    Raises
    ------
    TypeError, ValueError
        Where a name is unknown, R does not go with the variable, or the matrix does not fit the weights.
    """
    residual = RESIDUALS[checks.one_of("variable", variable, RESIDUALS)]
    if R is None or isinstance(R, str):
        name = "identity" if R is None else checks.one_of("R", R, NAMED)
    else:
        name = "orthogonal factor" if isinstance(R, OrthogonalFactor) else "matrix"
    kind = FACTORS[name]
    if variable not in kind.variables:
        allowed = " or ".join(map(repr, kind.variables))
        raise ValueError(f"R = {name!r} must go with variable = {allowed}; got variable = {variable!r}.")
    return System(residual, _factor(name, R, weights, dtype))


def _factor(name: str, R: Any, weights: Weights, dtype: np.dtype[Any]) -> Factor:
    if name == "orthogonal factor":
        if weights.neurons > MOST_ORTHOGONAL:
            raise ValueError(
                f"R = OrthogonalFactor(…) costs N³ a step and is for N ≤ {MOST_ORTHOGONAL}; got {weights.neurons}."
            )
        return Orthogonal(name, R, R.energy, dtype)
    if name == "matrix":
        matrix = R if isinstance(R, Weights) else Dense(checks.real_array("R", R, np.float64))
        if (matrix.neurons, matrix.count) != (weights.neurons, weights.count):
            raise ValueError(f"R must be of the size of W, {weights!r}; got {matrix!r}.")
        return Constant(name, matrix, matrix)
    if name == "weights":
        return Constant(name, name, weights)
    if name == "polar":
        return Constant(name, name, Dense(polar_in(weights.to_dense(), dtype)))
    return FACTORS[name](name, name)
