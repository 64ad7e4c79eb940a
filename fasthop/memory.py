"""What a memory is: weights, bias, activations and time constants, alone or many of one structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from fasthop_kernels.tables import Tables

from fasthop import checks
from fasthop.activations import Activation, as_activation
from fasthop.spectra import smallest_eigenvalue
from fasthop.weights import Weights, as_weights


class Layer(NamedTuple):
    """Neighbouring neurons with one activation.

    Attributes
    ----------
    neurons : int
    activation : Activation, str or mapping
    """

    neurons: int
    activation: Activation | str | Mapping[str, Any]


class Memory:
    """The dynamical system τ ẏ = W g(y) − y + b, system (1) of arXiv 2410.13866; dimensionless.

    Parameters
    ----------
    W : array_like, shape (N, N) or (K, N, N), or Weights
        Weights: of one memory, or of K memories that are simulated together; `Blocks` and `LowRank` store and compute
        only what they have.
    b : array_like, shape (N,) or (K, N), or number, optional
        Bias; 0 by default.
    activation : Activation, str or mapping, optional
        g of all neurons, by name (`"tanh"`, `"relu"`, …) or with its parameters; tanh by default.
    layers : sequence of Layer or (neurons, activation), optional
        g layer by layer, instead of `activation`.
    tau : array_like, shape (N,) or (K, N), or number, optional
        Time constants, positive; 1 by default. They change the way and not the steady states.
    dtype : float64 or float32
        In which the states are computed.

    Attributes
    ----------
    weights : Weights
    W : array of dtype `dtype`, shape (N, N) or (K, N, N), read-only
        Formed when it is first asked for.
    b : array of dtype `dtype`, shape (N,) or (K, N), read-only
    tau : float64 array, shape (N,) or (K, N), or None, read-only
    layers : tuple of Layer
    neurons : int
        N.
    count : int or None
        K, or None for one memory.
    symmetric : bool
        Whether every W equals its transpose to the last bit.

    Raises
    ------
    TypeError, ValueError
        Where W is not square or not finite, or b, layers or tau do not fit.
    """

    def __init__(
        self,
        W: Any,
        b: Any = None,
        activation: Activation | str | Mapping[str, Any] | None = None,
        *,
        layers: Sequence[Layer | tuple[int, Any]] | None = None,
        tau: Any = None,
        dtype: Any = np.float64,
    ) -> None:
        self.dtype = checks.float_dtype("dtype", dtype)
        self.weights = as_weights(W)
        self.neurons, self.count = self.weights.neurons, self.weights.count
        self.symmetric = self.weights.symmetric
        self.layers = self._layers(activation, layers)
        self.b = self._per_neuron("b", 0.0 if b is None else b, self.dtype)
        self.tau = None if tau is None else self._per_neuron("tau", tau, np.dtype(np.float64))
        if self.tau is not None and not (self.tau > 0).all():
            raise ValueError(f"tau must be positive; got {self.tau.min():g}.")

    def _layers(self, activation: Any, layers: Any) -> tuple[Layer, ...]:
        if layers is None:
            return (Layer(self.neurons, as_activation("tanh" if activation is None else activation)),)
        if activation is not None:
            raise ValueError("activation must not be given beside layers.")
        found = tuple(
            Layer(checks.whole(f"layers[{i}].neurons", size, least=1), as_activation(kind))
            for i, (size, kind) in enumerate(layers)
        )
        total = sum(layer.neurons for layer in found)
        if total != self.neurons:
            raise ValueError(f"layers must have {self.neurons} neurons together, as W has; got {total}.")
        return found

    def _per_neuron(self, name: str, value: Any, dtype: np.dtype[Any]) -> np.ndarray:
        given = checks.real_array(name, value, dtype)
        due = (self.neurons,) if self.count is None else (self.count, self.neurons)
        if given.shape not in ((), (self.neurons,), due):
            raise ValueError(f"{name} must be a number or have shape {due}, to fit W; got {given.shape}.")
        array = np.array(np.broadcast_to(given, due), dtype)
        array.flags.writeable = False
        return array

    def __repr__(self) -> str:
        many = "" if self.count is None else f"{self.count} × "
        kinds = ", ".join(f"{layer.neurons} {layer.activation}" for layer in self.layers)
        return f"Memory({many}N={self.neurons}: {kinds}; {self.dtype.name})"

    @cached_property
    def W(self) -> np.ndarray:
        """The matrix, or the K matrices."""
        dense = self.weights.to_dense().astype(self.dtype)
        dense.flags.writeable = False
        return dense

    @property
    def activation(self) -> Activation:
        """g, where all neurons have one."""
        kinds = {layer.activation for layer in self.layers}
        if len(kinds) > 1:
            raise ValueError(f"activation is not one: this memory has {len(self.layers)} layers of different kinds.")
        return as_activation(self.layers[0].activation)

    @cached_property
    def tables(self) -> Tables:
        """The memory as the kernels see it."""
        n, k = self.neurons, self.count or 1
        ends = np.cumsum([layer.neurons for layer in self.layers])
        kinds = [as_activation(layer.activation) for layer in self.layers]
        spans = zip(self.layers, ends.tolist(), kinds, strict=True)
        rate = np.empty((k, 0)) if self.tau is None else 1.0 / self.tau.reshape(k, n)
        return Tables(
            layers=np.array([[end - layer.neurons, end, kind.code] for layer, end, kind in spans], np.int64),
            parameters=np.array([kind.parameter for kind in kinds], self.dtype),
            blocks=self.weights.blocks,
            weights=np.ascontiguousarray(self.weights.stored, self.dtype),
            bias=np.array(self.b.reshape(k, n)),  # a copy: numba types read-only arrays apart
            rate=rate.astype(self.dtype),
        )

    @cached_property
    def fastest_rate(self) -> np.ndarray:
        """An upper bound on the decay rates 1 − λ of the linearised flow, over all states, shape (K,).

        For symmetric W and Λ ≥ 0 the eigenvalues λ of W Λ are real and at least λ_min(W) max Λ; otherwise their size is
        at most ‖W‖ max Λ. Time constants divide by the smallest τ. Infinite where Λ is not bounded.
        """
        steepest = max(as_activation(layer.activation).max_slope for layer in self.layers)
        lowest = smallest_eigenvalue(self.weights) if self.symmetric else -self.weights.norm_bound()
        rate = 1.0 - np.minimum(lowest, 0.0) * steepest
        return np.asarray(rate if self.tau is None else rate / self.tau.reshape(len(rate), -1).min(axis=1))
