"""R(y) in ẏ = R(y) · residual(y): what turns system (1) into systems (5) and (9) of arXiv 2410.13866."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from fasthop import checks
from fasthop.model.energy_family import Energy, as_energy
from fasthop.model.weights import Dense, Weights
from fasthop.runtime import one_blas_thread
from fasthop_kernels.dynamics.flows import AS_PRINTED, GRADIENT, HESSIAN, MATRIX, NONE, ORTHOGONAL

#: Most neurons of a memory whose R is an orthogonal factor: at this size a step of one lane takes seconds.
MOST_ORTHOGONAL = 512

#: R by name: the code of the kernels.
CODES = {
    "identity": NONE,
    "weights": MATRIX,
    "polar": MATRIX,
    "gradient": GRADIENT,
    "gradient-as-printed": AS_PRINTED,
    "hessian": HESSIAN,
}


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
        object.__setattr__(self, "energy", as_energy(self.energy, "u"))


class Drive(NamedTuple):
    """R as the kernels take it.

    Attributes
    ----------
    name : str
        As given, or "matrix".
    code : int
        Of `fasthop_kernels.dynamics.flows`.
    matrix : Weights or None
        R where it is a matrix.
    energy : Energy or None
        What R was made for, where it is an orthogonal factor.
    """

    name: str
    code: int
    matrix: Weights | None = None
    energy: Energy | None = None


def as_drive(R: Any, weights: Weights, variable: str, dtype: np.dtype[Any]) -> Drive:
    """Return R given by name or as a matrix, for a memory of a dtype.

    Raises
    ------
    TypeError, ValueError
        Where the name is unknown, or the matrix does not fit the weights.
    """
    if isinstance(R, OrthogonalFactor):
        if variable != "u":
            raise ValueError(f"R = OrthogonalFactor(…) belongs to system (5), variable = 'u'; got {variable!r}.")
        if weights.neurons > MOST_ORTHOGONAL:
            raise ValueError(
                f"R = OrthogonalFactor(…) costs N³ a step and is for N ≤ {MOST_ORTHOGONAL}; got {weights.neurons}."
            )
        return Drive("orthogonal factor", ORTHOGONAL, energy=as_energy(R.energy, "u"))
    if R is None or isinstance(R, str):
        name = "identity" if R is None else checks.one_of("R", R, CODES)
        if name == "gradient-as-printed" and variable == "u":
            raise ValueError("R = 'gradient-as-printed' is system (9), which has variable = 'y'; got variable = 'u'.")
        if name != "identity" and variable == "v":
            raise ValueError(f"R must not be given with variable = 'v', the simplest model; got {name!r}.")
        if name == "polar":
            return Drive(name, MATRIX, Dense(_polar(weights.to_dense(), dtype)))
        return Drive(name, CODES[name], weights if name == "weights" else None)
    if variable == "v":
        raise ValueError("R must not be given with variable = 'v', the simplest model; got a matrix.")
    matrix = R if isinstance(R, Weights) else Dense(checks.real_array("R", R, np.float64))
    if (matrix.neurons, matrix.count) != (weights.neurons, weights.count):
        raise ValueError(f"R must be of the size of W, {weights!r}; got {matrix!r}.")
    return Drive("matrix", MATRIX, matrix)


def polar(W: Any) -> np.ndarray:
    """Return the orthogonal polar factor of symmetric W with +1 on its null space: sign(W), where sign(0) = 1.

    On the null space the factor is not unique, and other choices let the flow diverge or orbit forever.

    Parameters
    ----------
    W : array_like, shape (N, N) or (K, N, N)
        Symmetric.

    Returns
    -------
    float64 array of the same shape

    Raises
    ------
    ValueError
        Where W is not symmetric.
    """
    return _polar(W, np.dtype(np.float64))


def _polar(W: Any, dtype: np.dtype[Any]) -> np.ndarray:
    matrix = _symmetric(W)
    parts, floors = factor_parts(Energy(beta=1.0), matrix, dtype)
    return polar_factor(parts[..., 1, :, :], floors[..., 1])


def rounding(neurons: int, dtype: np.dtype[Any]) -> float:
    """Return below which share of the sizes of its factors, ‖A‖‖B‖ for A B, an eigenvalue is not told from 0.

    The one tolerance for what is singular, definite or descends, as a multiple of the rounding of sums of N terms.
    """
    return 8 * neurons * float(np.finfo(dtype).eps)


def factor_parts(form: Energy, W: np.ndarray, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return what F(u) = WᵀΛ(αW − γS) + βW + γS is made of, over its largest entry, and how small a zero of F is.

    F is known up to the rounding of what it is summed from, which can be far larger than F itself: W Λ W is small where
    W is about 1 1ᵀ and Λ that of a softmax.

    Parameters
    ----------
    form : Energy
    W : float64 array, shape (…, N, N)
    dtype : float64 or float32
        In which F is computed.

    Returns
    -------
    parts : float64 array, shape (…, 2, N, N)
        αW − γS and βW + γS, over the largest entry of both.
    floors : float64 array, shape (…, 2)
        A singular value of F, over the same number, is 0 up to max Λ times the first plus the second, where what is
        below the least normal number of the dtype counts as that.
    """
    n = W.shape[-1]
    S = form.weighting(n)
    parts = np.stack([form.alpha * W - form.gamma * S, form.beta * W + form.gamma * S], axis=-3)
    largest = np.abs(parts).max(axis=(-3, -2, -1), keepdims=True)
    parts /= np.where(largest > 0, largest, 1.0)
    with one_blas_thread():
        floors = rounding(n, dtype) * np.linalg.norm(parts, ord=2, axis=(-2, -1))
        floors[..., 0] *= np.linalg.norm(W, ord=2, axis=(-2, -1))
        floors[..., 1] += n * float(np.finfo(dtype).tiny)
    return parts, floors


def polar_factor(F: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Return Σ u vᵀ of F = Σ σ u vᵀ, shape (…, N, N), and between the null spaces, σ ≤ `floor`, what is nearest to I.

    With projectors P onto the null space of F and P′ onto that of Fᵀ this is the orthogonal factor of P′P, and I itself
    on the null space of a symmetric F. As `fasthop_kernels.dynamics.polar` has it.
    """
    with one_blas_thread():
        left, sizes, right = np.linalg.svd(F)
        null = (sizes <= floor[..., None])[..., None]
        if not null.any():
            return np.asarray(np.matmul(left, right))
        turned = np.swapaxes(left, -1, -2)
        both = np.matmul(np.matmul(turned, np.swapaxes(right, -1, -2)) * (null & np.swapaxes(null, -1, -2)), right)
        left, _, right = np.linalg.svd(np.matmul(left, np.where(null, both, right)))
        return np.asarray(np.matmul(left, right))


def lyapunov(W: Any, Q: Any = None) -> np.ndarray:
    """Return R with R W + W R = Q for symmetric positive definite W, which makes E2 a Lyapunov function of (5).

    Parameters
    ----------
    W : array_like, shape (N, N)
    Q : array_like, shape (N, N), optional
        Symmetric; the identity by default.

    Returns
    -------
    float64 array, shape (N, N)

    Raises
    ------
    ValueError
        Where W is not symmetric and positive definite, or Q not symmetric.
    """
    values, vectors = definite("W", W)
    goal = np.eye(len(values)) if Q is None else _symmetric(Q, "Q")
    if goal.shape != vectors.shape:
        raise ValueError(f"Q must have the shape of W, {vectors.shape}; got {goal.shape}.")
    with one_blas_thread():
        turned = vectors.T @ goal @ vectors / (values[:, None] + values)
        R = vectors @ turned @ vectors.T
    return np.asarray((R + R.T) / 2)


def definite(name: str, matrix: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues, ascending, and eigenvectors of one symmetric positive definite matrix.

    Raises
    ------
    ValueError
        Where it is none, or rounding cannot tell it from a singular one.
    """
    array = _symmetric(matrix, name)
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape (N, N); got {array.shape}.")
    with one_blas_thread():
        values, vectors = np.linalg.eigh(array)
    if values[0] <= rounding(len(values), array.dtype) * np.abs(values).max():
        raise ValueError(f"{name} must be positive definite; its smallest eigenvalue is {values[0]:.3g}.")
    return values, vectors


def _symmetric(matrix: Any, name: str = "W") -> np.ndarray:
    array = checks.real_array(name, matrix, np.float64)
    if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2]:
        raise ValueError(f"{name} must be square; got shape {array.shape}.")
    if not np.array_equal(array, np.swapaxes(array, -1, -2)):
        raise ValueError(f"{name} must be symmetric.")
    return array
