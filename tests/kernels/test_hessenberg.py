"""Eigenvalues of Hessenberg matrices in lanes, beside LAPACK."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from fasthop.equilibrium.spectra import ritz
from fasthop_kernels.linear import hessenberg


def hessenberg_matrices(count, rows, seed=0):
    return np.triu(np.random.default_rng(seed).normal(size=(count, rows, rows)), -1) / np.sqrt(rows)


def eigenvalues(matrices, lanes=8):
    count, rows = matrices.shape[:2]
    floats, whole = np.empty((1, hessenberg.room_size(rows), lanes)), np.empty((1, 3, lanes), np.int64)
    values = np.empty((count, rows, 2))
    hessenberg.eigenvalues(matrices, np.zeros(1, np.int64), 0, floats, whole, values, np.zeros(1, np.int64))
    return values.view(complex)[..., 0]


def last_entries(matrices, values):
    count, rows = matrices.shape[:2]
    last = np.empty(count)
    room, stop = np.empty((1, rows + 3, rows), complex), np.zeros(1, np.int64)
    hessenberg.last_entries(matrices, values.astype(complex), 0, 1, room, last, stop)
    return last


def distance(found, due):
    """The largest distance of two sets of eigenvalues, each with its partner."""
    gaps = np.abs(found[:, None] - due)
    return gaps[linear_sum_assignment(gaps)].max()


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (1, 2), (9, 3), (17, 5), (40, 24), (3, 48)])
def test_eigenvalues_are_those_of_lapack(count, rows):
    matrices = hessenberg_matrices(count, rows)
    found = eigenvalues(matrices)
    for own, matrix in zip(found, matrices, strict=True):
        assert distance(own, np.linalg.eigvals(matrix)) <= 1e-13 * rows


def test_matrices_that_stall_without_another_shift():
    cycle = np.roll(np.eye(8), 1, axis=0)  # every shift of the last two rows is 0 there
    nothing = np.diag(np.ones(7), -1)
    found = eigenvalues(np.array([cycle, nothing, np.zeros((8, 8))]))
    assert distance(found[0], np.exp(2j * np.pi * np.arange(8) / 8)) <= 1e-14
    assert not found[1:].any()


def test_a_matrix_does_not_depend_on_its_neighbours():
    matrices = hessenberg_matrices(40, 16)
    found, order = eigenvalues(matrices), np.random.default_rng(1).permutation(40)
    np.testing.assert_array_equal(eigenvalues(matrices[order]), found[order])
    np.testing.assert_array_equal(eigenvalues(matrices, 32), found)
    np.testing.assert_array_equal(eigenvalues(matrices[7:8]), found[7:8])


def test_a_lost_matrix_loses_no_other():
    matrices = hessenberg_matrices(9, 6)
    lost = matrices.copy()
    lost[4] = np.nan
    found = eigenvalues(lost)
    assert np.isnan(found[4]).any()
    rest = np.arange(9) != 4
    np.testing.assert_array_equal(found[rest], eigenvalues(matrices)[rest])


@pytest.mark.parametrize("symmetric", [False, True])
def test_last_entries_are_those_of_lapacks_eigenvectors(symmetric):
    """Where rows are solved one after another from the last, they are wrong by factors here."""
    matrices = hessenberg_matrices(200, 24)
    if symmetric:
        matrices = np.tril(matrices + np.swapaxes(matrices, 1, 2), 1)
        matrices = np.triu(matrices, -1)
    values, vectors = (np.linalg.eigh if symmetric else np.linalg.eig)(matrices)
    largest = values.real.argmax(axis=1)
    row = np.arange(200)
    due = np.abs(vectors[row, -1, largest])
    np.testing.assert_allclose(last_entries(matrices, values[row, largest]), due, rtol=1e-4, atol=1e-9)


def test_the_error_of_a_ritz_value_is_the_residual_of_its_pair():
    rng, n, m = np.random.default_rng(2), 60, 12
    hessenbergs, dues = np.zeros((8, m + 1, m)), []
    for H in hessenbergs:
        J = 0.8 * rng.normal(size=(n, n)) / np.sqrt(n)
        Q = np.zeros((n, m + 1))
        start = rng.normal(size=n)
        Q[:, 0] = start / np.linalg.norm(start)
        for j in range(m):
            w = Q[:, j] - J @ Q[:, j]
            for _ in range(2):
                share = Q[:, : j + 1].T @ w
                H[: j + 1, j] += share
                w -= Q[:, : j + 1] @ share
            H[j + 1, j] = np.linalg.norm(w)
            Q[:, j + 1] = w / H[j + 1, j]
        values, vectors = np.linalg.eig(np.eye(m) - H[:m])
        k = values.real.argmax()
        x = Q[:, :m] @ vectors[:, k]
        dues.append((values[k].real, np.abs(values).max(), np.linalg.norm(J @ x - values[k] * x)))
    found = ritz(hessenbergs, np.full(8, m), False)
    np.testing.assert_allclose(np.transpose(found), dues, rtol=1e-8)
