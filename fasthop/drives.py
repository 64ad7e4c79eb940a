"""R(y) in ẏ = R(y) · residual(y): what turns system (1) into systems (5) and (9) of arXiv 2410.13866."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fasthop import checks
from fasthop.runtime import one_blas_thread
from fasthop.weights import Dense, Weights
from fasthop_kernels.flows import AS_PRINTED, GRADIENT, HESSIAN, MATRIX, NONE

#: R by name: the code of the kernels.
CODES = {
    "identity": NONE,
    "weights": MATRIX,
    "polar": MATRIX,
    "gradient": GRADIENT,
    "gradient-as-printed": AS_PRINTED,
    "hessian": HESSIAN,
}


class Drive(NamedTuple):
    """R as the kernels take it.

    Attributes
    ----------
    name : str
        As given, or "matrix".
    code : int
        Of `fasthop_kernels.flows`.
    matrix : Weights or None
        R where it is a matrix.
    """

    name: str
    code: int
    matrix: Weights | None


def as_drive(R: Any, weights: Weights, variable: str) -> Drive:
    """Return R given by name or as a matrix.

    Raises
    ------
    TypeError, ValueError
        Where the name is unknown, or the matrix does not fit the weights.
    """
    if R is None or isinstance(R, str):
        name = "identity" if R is None else checks.one_of("R", R, CODES)
        if name == "gradient-as-printed" and variable == "u":
            raise ValueError("R = 'gradient-as-printed' is system (9), which has variable = 'y'; got variable = 'u'.")
        if name == "polar":
            return Drive(name, MATRIX, Dense(polar(weights.to_dense())))
        return Drive(name, CODES[name], weights if name == "weights" else None)
    matrix = R if isinstance(R, Weights) else Dense(checks.real_array("R", R, np.float64))
    if (matrix.neurons, matrix.count) != (weights.neurons, weights.count):
        raise ValueError(f"R must be of the size of W, {weights!r}; got {matrix!r}.")
    return Drive("matrix", MATRIX, matrix)


def polar(W: Any) -> np.ndarray:
    """Return the orthogonal polar factor of symmetric W with +1 on its null space: sign(W), where sign(0) = 1.

    On the null space the factor is not unique, and other choices let the flow diverge or orbit for ever.

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
    matrix = _symmetric(W)
    with one_blas_thread():
        values, vectors = np.linalg.eigh(matrix)
        # Rounding leaves the null space with eigenvalues of either sign.
        null = np.abs(values) <= 1e-12 * np.abs(values).max(axis=-1, keepdims=True)
        sign = np.where(null | (values > 0), 1.0, -1.0)
        return np.asarray(np.matmul(vectors * sign[..., None, :], np.swapaxes(vectors, -1, -2)))


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
    matrix = _symmetric(W)
    goal = np.eye(len(matrix)) if Q is None else _symmetric(Q, "Q")
    if goal.shape != matrix.shape or matrix.ndim != 2:
        raise ValueError(f"Q must have the shape of W, (N, N); got {goal.shape} and {matrix.shape}.")
    with one_blas_thread():
        values, vectors = np.linalg.eigh(matrix)
        if values[0] <= 0:
            raise ValueError(f"W must be positive definite; its smallest eigenvalue is {values[0]:.3g}.")
        turned = vectors.T @ goal @ vectors / (values[:, None] + values)
        R = vectors @ turned @ vectors.T
    return np.asarray((R + R.T) / 2)


def _symmetric(matrix: Any, name: str = "W") -> np.ndarray:
    array = checks.real_array(name, matrix, np.float64)
    if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2]:
        raise ValueError(f"{name} must be square; got shape {array.shape}.")
    if not np.array_equal(array, np.swapaxes(array, -1, -2)):
        raise ValueError(f"{name} must be symmetric.")
    return array
