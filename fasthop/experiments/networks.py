"""Random networks of rectified linear units: of the Gaussian orthogonal ensemble, and of graphs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fasthop import fill
from fasthop.runtime import one_blas_thread
from fasthop_kernels.mathematics import random


def goe_networks(
    neurons: int, radius: float, mean: float, bias: float, *, seed: int, realisations: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights of a given spectral radius and normal biases.

    W is radius · (M + mean)/ρ(M + mean) with M of `goe`; the b_i are independent, of standard deviation 1 around
    `bias`. For ReLU the size of b sets only a scale: c b has the steady states c y. A network has the same M and b at
    every radius, mean and bias, and those of N neurons are within those of N + 1, up to the scale.

    Parameters
    ----------
    neurons : int
    radius : float
        Largest |eigenvalue| of each W.
    mean, bias : float
        Of the entries of W, where those on the diagonal have standard deviation 1, before they are scaled; of those of
        b.
    seed : int
    realisations : sequence of int, length R

    Returns
    -------
    W : float64 array, shape (R, N, N)
        Symmetric to the last bit.
    b : float64 array, shape (R, N)
    """
    W, b = np.empty((len(realisations), neurons, neurons)), np.empty((len(realisations), 1, neurons))
    for place, realisation in enumerate(realisations):
        fill.dense(seed, realisation, 1.0, W[place : place + 1])
    fill.normals(seed, random.BIAS, np.array(realisations, np.int64), 0, b)
    W += mean
    with one_blas_thread():
        W *= (radius / np.abs(np.linalg.eigvalsh(W)).max(axis=1))[:, None, None]
    return W, bias + b[:, 0]


def random_graphs(vertices: int, probability: float, *, seed: int, realisations: Sequence[int]) -> np.ndarray:
    """Return random graphs G(n, p) as adjacency matrices, bool of shape (R, N, N).

    A graph of higher probability has the edges of one of lower probability and some more, and one of more vertices
    holds that of fewer.
    """
    rows, columns = np.tril_indices(vertices, -1)  # row by row: the pairs in their order
    drawn = np.empty((len(realisations), 1, rows.size))
    fill.uniforms(seed, random.PAIR, np.array(realisations, np.int64), 0, drawn)
    graphs = np.zeros((len(realisations), vertices, vertices), bool)
    graphs[:, rows, columns] = drawn[:, 0] < probability
    return graphs | np.swapaxes(graphs, 1, 2)


def multipartite_graph(vertices: int, part: int) -> np.ndarray:
    """Return the complete multipartite graph with parts of this size, the last one smaller where it must be."""
    of = np.arange(vertices) // part
    return np.asarray(of[:, None] != of)


def clique_weights(graphs: np.ndarray, inhibition: float) -> np.ndarray:
    """Return the weights whose memories are the maximal cliques of graphs: −inhibition where there is no edge, else 0.

    With b = 1 and an inhibition above 1 the stable states of a ReLU memory are the maximal cliques σ, y = 1 on σ. Two
    alive neurons without an edge between them make I − W_σσ indefinite, 1 − w² < 0, so that σ is a clique and y_σ = 1;
    a dead neuron t has 1 − w · (vertices of σ that t has no edge to) ≤ 0, so that it has at least one of them, and σ
    is maximal. Conversely I − W_σσ = I on a clique.

    Parameters
    ----------
    graphs : bool array, shape (…, N, N)
    inhibition : float
        w, above 1.

    Returns
    -------
    float64 array, shape (…, N, N)
    """
    W = np.where(graphs, 0.0, -inhibition)
    neurons = np.arange(W.shape[-1])
    W[..., neurons, neurons] = 0.0
    return W


def positive_definite(W: np.ndarray, b: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Return positive definite weights, and biases, of ReLU networks with the same memories.

    I − ε (I − W) and ε b have the outputs relu(y) of W and b at their steady states: (I − W_σσ) y_σ = b_σ is multiplied
    by ε, and so are the dead y and the eigenvalues of I − W_σσ, which say what is stable. ε ≤ 1 makes the smallest
    eigenvalue `least`, where it is not above it anyway.

    Parameters
    ----------
    W : float64 array, shape (R, N, N)
        Symmetric.
    b : float64 array, shape (R, N)
    least : float
        Between 0 and 1.
    """
    with one_blas_thread():
        lowest = np.linalg.eigvalsh(W)[:, 0]
    epsilon = np.where(lowest < least, (1 - least) / np.where(lowest < least, 1 - lowest, 1), 1.0)
    one = np.eye(W.shape[1])
    return one - epsilon[:, None, None] * (one - W), epsilon[:, None] * b
