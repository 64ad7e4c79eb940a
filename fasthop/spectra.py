"""Extreme eigenvalues of weights, as far as the choice of a step needs them."""

from __future__ import annotations

import numpy as np

from fasthop.runtime import one_blas_thread

#: Lanczos steps. The error of an extreme Ritz value falls like exp(−4 · steps · √gap), and the step bound needs only
#: two digits; the residual is subtracted, so that what is missing makes the step smaller and never larger.
_STEPS = 24


def smallest_eigenvalue(matrices: np.ndarray) -> np.ndarray:
    """Return an estimate from below of λ_min of symmetric matrices.

    Exact (LAPACK) up to N = 32; Lanczos above, less the residual of its lowest Ritz pair.

    Parameters
    ----------
    matrices : float64 array, shape (K, N, N)

    Returns
    -------
    float64 array, shape (K,)
    """
    with one_blas_thread():
        if matrices.shape[-1] <= 32:
            return np.asarray(np.linalg.eigvalsh(matrices)[:, 0])
        return _lanczos(matrices)


def norm_bound(matrices: np.ndarray) -> np.ndarray:
    """Return √(‖W‖₁ ‖W‖_∞) ≥ ‖W‖₂ of matrices of shape (K, N, N), shape (K,)."""
    size = np.abs(matrices)
    return np.asarray(np.sqrt(size.sum(axis=-2).max(axis=-1) * size.sum(axis=-1).max(axis=-1)))


def _lanczos(matrices: np.ndarray) -> np.ndarray:
    count, n, _ = matrices.shape
    steps = min(_STEPS, n)
    basis = np.zeros((count, steps + 1, n))
    # Any fixed start will do that no structured W is orthogonal to; an irrational rotation fills the directions.
    start = np.modf((np.arange(n) + 1) * 0.6180339887498949)[0] - 0.5
    basis[:, 0] = start / np.linalg.norm(start)
    tridiagonal = np.zeros((count, steps, steps))
    beta, scale = np.zeros(count), norm_bound(matrices)
    for j in range(steps):
        image = np.matmul(matrices, basis[:, j, :, None])[..., 0]
        tridiagonal[:, j, j] = np.einsum("kn,kn->k", basis[:, j], image)
        for _ in range(2):  # twice is enough to keep the basis orthogonal to rounding
            overlap = np.matmul(basis[:, : j + 1], image[..., None])
            image = image - np.matmul(np.swapaxes(basis[:, : j + 1], 1, 2), overlap)[..., 0]
        beta = np.linalg.norm(image, axis=1)
        beta[beta < 1e-13 * scale] = 0.0  # an invariant subspace: the Ritz values are eigenvalues
        basis[:, j + 1] = image / np.where(beta > 0, beta, 1.0)[:, None]
        if j + 1 < steps:
            tridiagonal[:, j, j + 1] = tridiagonal[:, j + 1, j] = beta
    values, vectors = np.linalg.eigh(tridiagonal)
    return np.asarray(values[:, 0] - beta * np.abs(vectors[:, -1, 0]))
