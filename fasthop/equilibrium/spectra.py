"""The outer end of the spectrum of J at steady states, with a bound that no eigenvalue is beyond."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from fasthop.runtime import on_threads, one_blas_thread, workers_for
from fasthop_kernels.linear import hessenberg as kernels

#: Numbers, cubed: of matrices that LAPACK takes before a thread looks whether to stop.
_AT_ONCE = 2**22


class Spectrum(NamedTuple):
    """What is known of the spectrum of J of every state, shape (B,) each; NaN where J is not finite.

    Attributes
    ----------
    lambda_max, rho : float64 arrays
        max Re λ and max |λ|, or what a Krylov space knows of them.
    error : float64 array
        No eigenvalue has a real part above `lambda_max` + `error`, up to rounding: 0 where all eigenvalues of J were
        computed, infinite where nothing is known.
    """

    lambda_max: np.ndarray
    rho: np.ndarray
    error: np.ndarray

    @classmethod
    def unknown(cls, count: int) -> Spectrum:
        """Return NaN for so many states."""
        return cls(*np.full((3, count), np.nan))

    def below(self, upper: np.ndarray) -> Spectrum:
        """Return what is left where no eigenvalue has a real part above `upper`."""
        largest = np.minimum(self.lambda_max, upper)
        return Spectrum(largest, self.rho, upper - largest)

    def some(self, rows: np.ndarray) -> Spectrum:
        """Return those of a mask."""
        return Spectrum(*(values[rows] for values in self))

    def fill(self, rows: np.ndarray, part: Spectrum) -> None:
        """Write those of a mask."""
        for whole, values in zip(self, part, strict=True):
            whole[rows] = values


def _eigenvalues(matrices: np.ndarray, symmetric: bool) -> np.ndarray:
    """Return the eigenvalues of matrices, shape (B, m, m), on all threads: LAPACK runs without Python's lock."""
    find, workers = np.linalg.eigvalsh if symmetric else np.linalg.eigvals, workers_for(len(matrices))
    kind = np.float64 if symmetric else np.complex128  # whatever the batch, which may be all real
    values = np.empty(matrices.shape[:2], kind)
    some = max(1, _AT_ONCE // max(1, matrices.shape[1]) ** 3)

    def work(worker: int, stop: np.ndarray) -> None:
        for at in range(worker * some, len(matrices), workers * some):
            if stop[0]:
                return
            values[at : at + some] = find(matrices[at : at + some])

    with one_blas_thread():
        on_threads(workers, work)
    return values


def exact(matrices: np.ndarray, symmetric: bool) -> Spectrum:
    """Return the spectrum of matrices, shape (B, M, M), by LAPACK."""
    values = _eigenvalues(matrices, symmetric)
    largest, rho = values.real.max(axis=1, initial=-np.inf), np.abs(values).max(axis=1, initial=0)
    return Spectrum(largest, rho, np.zeros(len(values)))


def abscissae(matrices: np.ndarray) -> np.ndarray:
    """Return the largest eigenvalues of (X + Xᵀ)/2, which no eigenvalue of X exceeds in its real part, shape (B,)."""
    return np.asarray(_eigenvalues((matrices + np.swapaxes(matrices, 1, 2)) / 2, True).max(axis=1, initial=-np.inf))


def are_below(matrices: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Say of symmetric matrices whether all eigenvalues are below `upper`, shape (B,): Cholesky proves it."""
    workers, one = workers_for(len(matrices)), np.eye(matrices.shape[1])

    def work(worker: int, stop: np.ndarray) -> list[bool]:
        rows = itertools.takewhile(lambda _: not stop[0], range(worker, len(matrices), workers))
        return [bool(lapack.dpotrf(upper[row] * one - matrices[row], lower=1)[1] == 0) for row in rows]

    with one_blas_thread():
        shares = on_threads(workers, work)
    return np.array([shares[row % workers][row // workers] for row in range(len(matrices))], bool)


def ritz(hessenberg: np.ndarray, columns: np.ndarray, symmetric: bool) -> Spectrum:
    """Return the outermost Ritz values of J from the matrices of I − J in Krylov spaces.

    `error` is the residual of the Ritz pair: a matrix that is no farther from J has the value, and others too, which
    may be larger.

    Parameters
    ----------
    hessenberg : float array, shape (B, m + 1, m)
    columns : int64 array, shape (B,)
        Dimensions of each space, at most m; 0: NaN.
    symmetric : bool
        Whether the matrices are tridiagonal and symmetric.
    """
    found = Spectrum.unknown(len(hessenberg))
    for size in np.unique(columns[columns > 0]).tolist():
        rows = np.flatnonzero(columns == size)
        projected = np.eye(size) - hessenberg[rows, :size, :size].astype(np.float64)
        below = hessenberg[rows, size, size - 1].astype(np.float64)
        values = _eigenvalues(projected, True) if symmetric else _of_hessenberg(projected)
        outermost = np.take_along_axis(values, values.real.argmax(axis=1)[:, None], axis=1)[:, 0]
        error = below * _last_entries(projected, outermost)
        found.fill(rows, Spectrum(outermost.real, np.abs(values).max(axis=1), error))
    return found


def _of_hessenberg(matrices: np.ndarray) -> np.ndarray:
    """Return the eigenvalues of Hessenberg matrices, complex128, shape (B, m), in lanes on all threads."""
    count, size = matrices.shape[:2]
    workers = workers_for(-(-count // 8))
    # A batch that fills no tile is shared by all threads.
    lanes = min(kernels.LANES, -(-count // (8 * workers)) * 8)
    floats = np.empty((workers, kernels.room_size(size), lanes))
    whole, queue = np.zeros((workers, 3, lanes), np.int64), np.zeros(1, np.int64)
    parts = np.empty((count, size, 2))
    on_threads(workers, lambda worker, stop: kernels.eigenvalues(matrices, queue, worker, floats, whole, parts, stop))
    values = parts.view(np.complex128)[..., 0]
    lost = np.isnan(parts).any(axis=(1, 2))
    if lost.any():
        values[lost] = _eigenvalues(matrices[lost], False)
    return values


def _last_entries(matrices: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return |last entry| of the unit eigenvectors of Hessenberg matrices, (B, m, m), for an eigenvalue of each."""
    count, size = matrices.shape[:2]
    workers, theta, last = workers_for(count), values.astype(np.complex128), np.empty(count)
    room = np.empty((workers, size + 3, size), np.complex128)
    on_threads(workers, lambda worker, stop: kernels.last_entries(matrices, theta, worker, workers, room, last, stop))
    return last
