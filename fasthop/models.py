"""Memories that other papers define, by the names their readers know; each is a `Memory` with particular weights."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from fasthop import checks
from fasthop.model.activations import (
    Activation,
    Power,
    RectifiedPower,
    Sigmoid,
    SmoothLeakyReLU,
    Softmax,
    Tanh,
    as_activation,
)
from fasthop.model.memory import Layer, Memory
from fasthop.model.scope import refuse
from fasthop.model.weights import Blocks, Dense, as_weights

__all__ = [
    "alive_and_dead",
    "contraction_bound",
    "dense_associative_memory",
    "exponential_memory",
    "hierarchical_memory",
    "hopfield_1984",
    "krotov_hopfield",
    "softmax_memory",
]


def krotov_hopfield(
    xi: Any,
    features: Activation | str | Mapping[str, Any] = "identity",
    memories: Activation | str | Mapping[str, Any] = "softmax",
    *,
    bias: Any = 0.0,
    memory_bias: Any = 0.0,
    tau_features: float = 1.0,
    tau_memories: float = 1.0,
    dtype: Any = np.float64,
) -> Memory:
    """Return feature neurons v and memory neurons h that see each other through ξ; dimensionless.

    τ_f v̇ = ξᵀ f(h) − v + I and τ_h ḣ = ξ g(v) − h + J: system (1) with W = [[0, ξᵀ], [ξ, 0]] and b = (I, J), so that a
    state is the N features followed by the P memories. The two energies are the same.

    Parameters
    ----------
    xi : array_like, shape (P, N) or (K, P, N)
        ξ, a memory a row.
    features, memories : Activation, str or mapping
        g and f.
    bias : array_like, shape (N,), or number
        I, of the feature neurons.
    memory_bias : array_like, shape (P,) or (K, P), or number
        J, of the memory neurons; 0 in the paper.
    tau_features, tau_memories : float
        τ_f and τ_h, positive.
    dtype : float64 or float32

    Returns
    -------
    Memory
        Of N + P neurons in two layers.

    References
    ----------
    Krotov, Hopfield, Large associative memory problem in neurobiology and machine learning, arXiv 2008.06996.
    """
    patterns = checks.real_array("xi", xi, np.float64)
    if patterns.ndim not in (2, 3) or 0 in patterns.shape:
        raise ValueError(f"xi must have shape (P, N) or (K, P, N) with P, N ≥ 1; got {patterns.shape}.")
    p, n = patterns.shape[-2:]
    given = checks.real_array("bias", bias, np.float64)
    if given.shape not in ((), (n,)):
        raise ValueError(f"bias must be a number or have shape ({n},), one for a feature; got {given.shape}.")
    inner = checks.real_array("memory_bias", memory_bias, np.float64)
    if inner.shape not in ((), (p,), (*patterns.shape[:-2], p)):
        raise ValueError(f"memory_bias must be a number or have shape ({p},), one for a memory; got {inner.shape}.")
    inner = np.broadcast_to(inner, (*inner.shape[:-1], p))
    b = np.concatenate([np.broadcast_to(given, (*inner.shape[:-1], n)), inner], axis=-1)
    paces = [checks.real("tau_features", tau_features, above=0), checks.real("tau_memories", tau_memories, above=0)]
    return Memory(
        Blocks([n, p], {(1, 0): patterns}),
        b,
        layers=[Layer(n, as_activation(features)), Layer(p, as_activation(memories))],
        tau=None if paces == [1.0, 1.0] else np.repeat(paces, [n, p]),
        dtype=dtype,
    )


def dense_associative_memory(
    patterns: Any,
    power: int = 3,
    features: Activation | str | Mapping[str, Any] | None = None,
    *,
    rectified: bool = True,
    **options: Any,
) -> Memory:
    """Return the dense associative memory of power n as features and memories: f(h) = h^{n−1}, or max(h, 0)^{n−1}.

    With ξ scaled by N^{−(n−1)/n}, a feature at a stored pattern of ±1 is driven by that pattern's memory to exactly its
    own value. For n = 2 and ±1 patterns, not rectified, this is Hebb's rule with its diagonal: the features see
    themselves through the memories, which the discrete rule of the paper leaves out.

    Parameters
    ----------
    patterns : array_like, shape (P, N) or (K, P, N)
    power : int
        n, from 2.
    features : Activation, str or mapping, optional
        g; tanh of gain 8 by default. It must be bounded where n > 2, or trajectories can blow up in finite time.
    rectified : bool
        Whether h below 0 counts as 0. For odd n the power itself is even: patterns and their negatives help each other.
    **options
        `bias`, `tau_features`, `tau_memories`, `dtype` of `krotov_hopfield`.

    Returns
    -------
    Memory
        With unbounded features it has no default step for n > 2, as the slope of f has no bound: give `dt`.

    References
    ----------
    Krotov, Hopfield, Dense associative memory for pattern recognition, arXiv 1606.01164.
    """
    xi = checks.real_array("patterns", patterns, np.float64)
    kind = (RectifiedPower if rectified else Power)(checks.whole("power", power, least=2))
    scale = float(xi.shape[-1]) ** (1 / kind.n - 1) if xi.ndim else 1.0
    return krotov_hopfield(scale * xi, Tanh(8.0) if features is None else features, kind, **options)


def exponential_memory(
    patterns: Any, features: Activation | str | Mapping[str, Any] | None = None, **options: Any
) -> Memory:
    """Return the exponential memory as features and memories: f(h) = e^h with h = ξ g(v) − ξ·ξ.

    The bias −ξ·ξ of a memory neuron scales its output to 1 where the features are its pattern, so that they are driven
    to exactly their own value, and bounds it: with bounded features nothing overflows and a default step exists.

    Parameters
    ----------
    patterns : array_like, shape (P, N) or (K, P, N)
    features : Activation, str or mapping, optional
        g; tanh of gain 8 by default.
    **options
        `bias`, `tau_features`, `tau_memories`, `dtype` of `krotov_hopfield`.

    Returns
    -------
    Memory

    References
    ----------
    Demircigil, Heusel, Löwe, Upgang, Vermet, On a model of associative memory with huge storage capacity,
    arXiv 1702.01929.
    """
    xi = checks.real_array("patterns", patterns, np.float64)
    own = -(xi**2).sum(axis=-1) if xi.ndim in (2, 3) else 0.0
    return krotov_hopfield(xi, Tanh(8.0) if features is None else features, "exp", memory_bias=own, **options)


def softmax_memory(
    patterns: Any,
    beta: float = 1.0,
    features: Activation | str | Mapping[str, Any] = "identity",
    **options: Any,
) -> Memory:
    """Return the continuous memory of log-sum-exp energy: linear features, memories that a softmax(β) makes compete.

    With linear features and fast memories, τ_h → 0, its flow is v̇ = ξᵀ softmax(β ξ v) − v, whose full Euler step is the
    attention update.

    Parameters
    ----------
    patterns : array_like, shape (P, N) or (K, P, N)
    beta : float
        Inverse temperature β, positive.
    features : Activation, str or mapping
        g, the identity in the paper.
    **options
        `bias`, `tau_features`, `tau_memories`, `dtype` of `krotov_hopfield`.

    Returns
    -------
    Memory

    References
    ----------
    Ramsauer et al., Hopfield networks is all you need, arXiv 2008.02217.
    """
    return krotov_hopfield(patterns, features, Softmax(beta), **options)


def hopfield_1984(
    T: Any,
    current: Any = 0.0,
    capacitance: Any = 1.0,
    resistance: Any = 1.0,
    gain: Tanh | Sigmoid | None = None,
    *,
    dtype: Any = np.float64,
) -> Memory:
    """Return Hopfield's network of amplifiers, C_i u̇_i = Σ_j T_ij V_j − u_i/R_i + I_i with V = g(u).

    A state of the memory is x_i = u_i/R_i, in which this is system (1) with W = T, b = I, τ_i = R_i C_i and the gains
    multiplied by R_i. (Multiplying T by R_i instead, as is often done, gives the same flow and loses the energy:
    R_i T_ij is not symmetric.) Energy "3" of the memory is Hopfield's, −½ΣT_ij V_i V_j + Σ(1/R_i)∫g⁻¹ − ΣI_i V_i.

    Parameters
    ----------
    T : array_like, shape (N, N), or Weights
        Conductances.
    current, capacitance, resistance : array_like, shape (N,), or number
        I, C and R; C and R positive. In any one system of units: the numbers are used as they are.
    gain : Tanh or Sigmoid, optional
        g, tanh of gain 1 by default.
    dtype : float64 or float32

    Returns
    -------
    Memory
        Start it at x = u/R; its ends are x, and u = R x.

    References
    ----------
    Hopfield, Neurons with graded response have collective computational properties like those of two-state neurons,
    PNAS 81:3088, 1984; in Appendix D of arXiv 2410.13866 the sign of ΣI_i V_i is misprinted.
    """
    weights = as_weights(T)
    amplifier = Tanh() if gain is None else as_activation(gain)
    if not isinstance(amplifier, (Tanh, Sigmoid)):
        raise ValueError(f"gain must be tanh or sigmoid, whose argument R_i scales; got {amplifier.name}.")
    C = _positive("capacitance", capacitance, weights.neurons)
    R = _positive("resistance", resistance, weights.neurons)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(R)) + 1, [len(R)]])
    layers = [
        Layer(int(stop - start), dataclasses.replace(amplifier, beta=amplifier.beta * float(R[start])))
        for start, stop in itertools.pairwise(edges)
    ]
    return Memory(weights, current, layers=layers, tau=R * C, dtype=dtype)


def hierarchical_memory(
    weights: Blocks,
    b: Any = None,
    *,
    normalisation: str = "safe",
    variable: str = "u",
    dtype: Any = np.float64,
) -> Memory:
    """Return the hierarchical memory of Example 7: smooth leaky ReLUs, blocks of bounded norm, R = I − WᵀΛ.

    It is a gradient flow of E3 with S = I (the paper's text says E2), so its energy never rises, whatever the weights.
    What else is certain depends on the norm of the blocks. With ‖W_ij‖ ≤ c between neighbours of a chain of L layers,
    ‖W‖ ≤ 2c cos(π/(L + 1)); where ‖W‖ max Λ < 1, u ↦ g(W u + b) contracts: R is regular everywhere, every trajectory
    settles, and there is exactly one steady state, whatever b. `contraction_bound` tells it of a memory.

    Parameters
    ----------
    weights : Blocks
        W̃, between neighbouring layers; `Blocks.chain(sizes, tied=False, seed=…)` draws one.
    b : array_like, shape (N,) or (K, N), or number, optional
    normalisation : {"safe", "paper"}
        "safe": every block is divided by 2 · 1.0967 times its norm, with 1.0967 = max Λ; one memory and no false one
        at any depth. "paper": by 2 times its norm, as printed; that is enough up to L = 6 layers, and from 7 layers on
        R can be singular and false memories can attract.
    variable : {"u", "y"}
        System (5), or (9) with R = I − ΛWᵀ.
    dtype : float64 or float32

    Returns
    -------
    Memory
    """
    if not isinstance(weights, Blocks):
        raise TypeError(f"weights must be Blocks between layers; got {type(weights).__name__}.")
    kind = SmoothLeakyReLU()
    checks.one_of("normalisation", normalisation, ("safe", "paper"))
    norm = 0.5 / (kind.max_slope if normalisation == "safe" else 1.0)
    checks.one_of("variable", variable, ("u", "y"))
    return Memory(weights.with_norm(norm), b, kind, variable=variable, R="gradient", dtype=dtype)


def contraction_bound(memory: Memory) -> float:
    """Return ‖W‖ max Λ, the Lipschitz constant of u ↦ g(W u + b) as far as the weights bound it.

    Below 1 there is exactly one steady state, I − WᵀΛ and I − ΛWᵀ are regular, and systems (1), (5) and (9) with
    these R settle there from everywhere. For K memories it is the largest; infinite where Λ has no bound. Where layers
    are held it is that of the others, which have one steady state for each input; for variable v, v ↦ Wᵀ g(W v + b),
    it is ‖W‖² max Λ.

    Parameters
    ----------
    memory : Memory

    Returns
    -------
    float
    """
    free = ~memory.weights.held
    if not free.any():
        return 0.0
    steepest = max(kind.max_slope for span, kind in memory.spans if free[span].any())
    W = memory.weights.to_dense()[..., free, :][..., free]
    size = np.linalg.norm(W, ord=2, axis=(-2, -1)).max()
    return float(memory.system.residual.length(size) * steepest)


def alive_and_dead(memory: Memory, dead: Any, reference: Any) -> Memory:
    """Return system (4), in which the dead neurons stay dead: (1) with g(y_a + y_d0) in place of g(y).

    ẏ_a = P_a W g(y_a + y_d0) − y_a + P_a b and ẏ_d likewise: the dead coordinates y_d relax and are not seen. It equals
    system (1) as long as these neurons are dead there, and goes on as if they were when they come alive. The output of
    the dead at the reference becomes part of the bias.

    Parameters
    ----------
    memory : Memory
        One memory of system (1), elementwise in the layers of the dead neurons. A softmax or a layer norm is dead along
        a direction for all states, where (4) is (1) itself.
    dead : array_like of bool, shape (N,)
        Which neurons are dead.
    reference : array_like, shape (N,)
        A state at which they are: y_d0 is read from it.

    Returns
    -------
    Memory
        Of the same neurons and activations, with W's columns of the dead neurons empty.

    Raises
    ------
    ValueError
        Where the memory is another system, or a neuron is not dead at the reference.
    """
    refuse(memory, "alive_and_dead")
    mask = np.asarray(dead)
    if mask.dtype != bool or mask.shape != (memory.neurons,):
        raise ValueError(f"dead must be {memory.neurons} booleans; got {mask.dtype} of shape {mask.shape}.")
    y = checks.real_array("reference", reference, memory.dtype, shape=(memory.neurons,))
    at, output = 0, np.zeros(memory.neurons)
    for index, layer in enumerate(memory.layers):
        kind, span = as_activation(layer.activation), slice(at, at + layer.neurons)
        if mask[span].any():
            if kind.blockwise:
                raise ValueError(f"dead must not name neurons of layers[{index}], a block of {kind.name}.")
            alive = mask[span] & (np.abs(kind.slope(y[span])) > np.sqrt(np.finfo(memory.dtype).eps))
            if alive.any():
                place = at + int(np.flatnonzero(alive)[0])
                raise ValueError(f"reference[{place}] = {y[place]:g} is not dead: Λ = {kind.slope(y[[place]])[0]:.3g}.")
            output[span] = np.where(mask[span], kind.g(y[span]), 0.0)
        at += layer.neurons
    W = memory.W.astype(np.float64)
    return Memory(
        Dense(np.where(mask, 0.0, W)),
        memory.b + W @ output,
        layers=memory.layers,
        tau=memory.tau,
        dtype=memory.dtype,
    )


def _positive(name: str, value: Any, neurons: int) -> np.ndarray:
    array = checks.real_array(name, value, np.float64)
    if array.shape not in ((), (neurons,)):
        raise ValueError(f"{name} must be a number or have shape ({neurons},); got {array.shape}.")
    if not (array > 0).all():
        raise ValueError(f"{name} must be positive; got {array.min():g}.")
    return np.broadcast_to(array, neurons)
