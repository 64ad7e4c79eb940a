"""What a memory is: weights, bias, activations and time constants, alone or many of one structure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from fasthop import checks
from fasthop.model.activations import Activation, as_activation
from fasthop.model.norms import framed_norm, norm, smallest_eigenvalue
from fasthop.model.systems import as_system
from fasthop.model.weights import Weights, as_weights
from fasthop_kernels.dynamics.tables import Tables


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
    """A dynamical system with the steady states y = W g(y) + b of arXiv 2410.13866; dimensionless.

    Without more, system (1): τ ẏ = W g(y) − y + b. With `variable="u"`, system (5): u̇ = R(u) (g(W u + b) − u). With
    `variable="y"` and R, system (9): ẏ = R(y) (W g(y) − y + b). Equal steady states do not mean equal memories: R
    decides which of them are stable.

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
    variable : {"y", "u", "v"}
        What a state is: y, or u with y = W u + b; v for the simplest model of section 4, v̇ = Wᵀ g(W v + b) − v, whose
        y = W v + b are the steady states of W Wᵀ.
    R : {"identity", "weights", "polar", "gradient", "gradient-as-printed", "hessian"}, array_like, Weights, \
        or OrthogonalFactor, optional
        With Λ = g′ at the argument of g: I by default; W; sign(W), +1 on its null space; I − WᵀΛ for u and I − ΛWᵀ for
        y, which make the flow the gradient flow of ½|residual|²; I − WΛ, system (9) as the paper prints it, whose
        energy can rise; Λ; a matrix of shape (N, N) or (K, N, N); or the orthogonal factor made for an energy.
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
    system : System
        What the residual is, and R.
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
        variable: str = "y",
        R: Any = None,
        dtype: Any = np.float64,
    ) -> None:
        self.dtype = checks.float_dtype("dtype", dtype)
        self.weights = as_weights(W)
        self.neurons, self.count = self.weights.neurons, self.weights.count
        largest = np.finfo(self.dtype).max
        if np.abs(self.weights.stored).max() > largest:
            raise ValueError(f"W must be at most {largest:.2g} in {self.dtype.name}; got a larger number.")
        self.symmetric = self.weights.symmetric
        self.system = as_system(variable, R, self.weights, self.dtype)
        self.layers = self._layers(activation, layers)
        self.b = self._per_neuron("b", 0.0 if b is None else b, self.dtype)
        self.tau = None if tau is None else self._per_neuron("tau", tau, np.dtype(np.float64))
        if self.tau is not None and not (self.tau > 0).all():
            raise ValueError(f"tau must be positive; got {self.tau.min():g}.")
        if self.tau is not None and not self.system.is_first:
            raise ValueError(f"tau belongs to system (1); it must not be given with variable = {self.variable!r} or R.")
        self._refuse_tau_within_blocks()

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

    def _refuse_tau_within_blocks(self) -> None:
        """Where one activation couples neurons, unequal time constants would let the energy rise."""
        for index, (span, kind) in enumerate(self.spans):
            if self.tau is not None and kind.blockwise:
                part = self.tau[..., span]
                if (part != part[..., :1]).any():
                    raise ValueError(f"tau must be constant within layers[{index}], a block of {kind.name}.")

    def _per_neuron(self, name: str, value: Any, dtype: np.dtype[Any]) -> np.ndarray:
        given = checks.real_array(name, value, dtype)
        due = (self.neurons,) if self.count is None else (self.count, self.neurons)
        if given.shape not in ((), (self.neurons,), due):
            raise ValueError(f"{name} must be a number or have shape {due}, to fit W; got {given.shape}.")
        array = np.array(np.broadcast_to(given, due), dtype, order="C")  # numba types other orders apart
        array.flags.writeable = False
        return array

    def __repr__(self) -> str:
        many = "" if self.count is None else f"{self.count} × "
        kinds = ", ".join(f"{layer.neurons} {layer.activation}" for layer in self.layers)
        held = f", {self.weights.held.sum()} held" if self.weights.held.any() else ""
        R = "" if self.system.factor.is_identity else f", R = {self.system.factor.name}"
        return f"Memory({many}N = {self.neurons}: {kinds}{held}; {self.variable}{R}; {self.dtype.name})"

    @property
    def variable(self) -> str:
        """What a state is: y, u or v."""
        return self.system.residual.variable

    @cached_property
    def W(self) -> np.ndarray:
        """The matrix, or the K matrices."""
        dense = self.weights.to_dense().astype(self.dtype)
        dense.flags.writeable = False
        return dense

    @cached_property
    def spans(self) -> tuple[tuple[slice, Activation], ...]:
        """The neurons of every layer with their activation."""
        ends = itertools.accumulate(layer.neurons for layer in self.layers)
        found = [(end - layer.neurons, end, layer.activation) for layer, end in zip(self.layers, ends, strict=True)]
        return tuple((slice(start, end), as_activation(kind)) for start, end, kind in found)

    @property
    def activation(self) -> Activation:
        """g, where all neurons have one."""
        kinds = {kind for _, kind in self.spans}
        if len(kinds) > 1:
            raise ValueError(f"activation is not one: this memory has {len(self.layers)} layers of different kinds.")
        return self.spans[0][1]

    @cached_property
    def tables(self) -> Tables:
        """The memory as the kernels see it."""
        n, k = self.neurons, self.count or 1
        rate = np.empty((k, 0)) if self.tau is None else 1.0 / self.tau.reshape(k, n)
        drive_blocks, drive_weights = self.system.factor.parts(self.weights, self.dtype)
        return Tables(
            layers=np.array([[span.start, span.stop, kind.code] for span, kind in self.spans], np.int64),
            parameters=np.array([kind.parameters for _, kind in self.spans], self.dtype),
            blocks=self.weights.blocks,
            weights=np.ascontiguousarray(self.weights.stored, self.dtype),
            bias=np.array(self.b.reshape(k, n)),  # a copy: numba types read-only arrays apart
            rate=rate.astype(self.dtype),
            mirror=self.weights.mirror,
            system=self.system.residual.code,
            drive=self.system.factor.code,
            drive_blocks=drive_blocks,
            drive_weights=np.ascontiguousarray(drive_weights, self.dtype),
            orthogonal=self.system.factor.compiled,
        )

    @cached_property
    def rounding(self) -> tuple[np.ndarray, np.ndarray]:
        """What one rounding unit can make of the residual beside |y_i|: fixed_i + shared_i max(1, max|y|), each (K, N).

        The sizes of the terms of equation i by |b_i| and Σ_j |W_ij|, where slopes, or values of g, are at most those of
        the activations; where these have no bound, 1. Powers of two, so that no rounding of these sums is in the bits
        of a trajectory.
        """
        k, n = self.count or 1, self.neurons
        slope = max((kind.max_slope for _, kind in self.spans if np.isfinite(kind.max_slope)), default=1.0)
        bias = np.abs(self.b.reshape(k, n).astype(np.float64))
        rows = self._sums_of_sizes(self.weights.blocks)
        fixed, shared = self.system.residual.term_sizes(
            slope, bias, rows, lambda: self._sums_of_sizes(self.weights.mirror)
        )
        return _powers_of_two(fixed), _powers_of_two(shared)

    def _sums_of_sizes(self, blocks: np.ndarray) -> np.ndarray:
        """Return Σ_j |W_ij| of every row of W or, by the table of its mirror, of Wᵀ, shape (K, N)."""
        n, table = self.neurons, blocks.tolist()
        one = np.ones((1, n))
        # One after the other, because |W| is a copy.
        parts = [Weights(n, None, table, np.abs(stored[None]), False).apply(one) for stored in self.weights.stored]
        return np.concatenate(parts)

    @cached_property
    def jumps(self) -> bool:
        """Whether R, and so ẏ, jumps somewhere: where Λ does, or where an orthogonal factor has to."""
        return self.system.factor.jumps(any(kind.kinks for _, kind in self.spans))

    @cached_property
    def monotone(self) -> bool:
        """Whether Λ is nowhere negative."""
        return all(kind.monotone for _, kind in self.spans)

    @cached_property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of what W g(y) + b can be, each of shape (K, N): system (1) never leaves this box."""
        k, n = self.count or 1, self.neurons
        low, high = np.zeros((2, n))
        for span, kind in self.spans:
            low[span], high[span] = kind.bounds
        finite = np.isfinite(high - low)
        middle, reach = np.where(finite, [low, high], 0.0).sum(axis=0) / 2, np.where(finite, high - low, 0.0) / 2
        size = Weights(n, self.count, self.weights.blocks.tolist(), np.abs(self.weights.stored), self.symmetric)
        centre = self.weights.apply(np.broadcast_to(middle, (k, n))) + self.b.reshape(k, n)
        width = size.apply(np.broadcast_to(reach, (k, n)))
        width[size.apply(np.broadcast_to(1.0 * ~finite, (k, n))) > 0] = np.inf
        return centre - width, centre + width

    def _fastest_rate_in_the_box(self) -> np.ndarray:
        """Return 1 + ‖ |Λ|^½ W |Λ|^½ ‖ with the largest Λ in the box; its eigenvalues are those of W Λ."""
        low, high = self.box
        slopes = np.empty(high.shape)
        for span, kind in self.spans:
            slopes[:, span] = kind.steepest_within(low[:, span], high[:, span])
        plain = self.symmetric and self.system.is_first and self.tau is None
        if not plain or not np.isfinite(slopes).all():
            return np.full(self.count or 1, np.inf)
        return 1.0 + framed_norm(self.weights, np.sqrt(slopes))

    @cached_property
    def fastest_rate(self) -> np.ndarray:
        """An upper bound on the decay rates of the flow linearised at steady states, shape (K,).

        Those of the residual are 1 − λ with λ an eigenvalue of W Λ. For symmetric W and Λ ≥ 0 these are real and at
        least λ_min(W) max Λ; otherwise their size is at most ‖W‖ max Λ. Time constants divide by the smallest τ, and R
        multiplies by its norm: at most 1 + ‖W‖ max Λ for the gradient, max Λ for the Hessian, 1 for an orthogonal
        factor. The simplest model has 1 − WᵀΛW, which is 1 at most for Λ ≥ 0.

        Where Λ is not bounded but what drives it is, as the memory neurons of a dense memory are by tanh features, the
        bound is that of the box that no trajectory of system (1) leaves; otherwise it is infinite.
        """
        steepest = max(kind.max_slope for _, kind in self.spans)
        residual, factor = self.system.residual, self.system.factor
        if residual.is_positive and self.monotone:
            return np.ones(self.count or 1)
        if not np.isfinite(steepest):
            return self._fastest_rate_in_the_box()
        if factor.is_identity and self.symmetric and self.monotone:
            full = 1.0 - np.minimum(smallest_eigenvalue(self.weights), 0.0) * steepest
        else:
            full = 1.0 + residual.length(norm(self.weights)) * steepest
        rate = np.asarray(full * factor.bound(full, steepest, norm))
        return rate if self.tau is None else rate / self.tau.reshape(len(rate), -1).min(axis=1)


def _powers_of_two(x: np.ndarray) -> np.ndarray:
    """Return the next powers of two above positive numbers, and 0 for 0."""
    mantissa, exponent = np.frexp(x)
    return np.where(mantissa > 0, np.ldexp(1.0, exponent), 0.0)
