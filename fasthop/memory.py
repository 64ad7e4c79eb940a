"""What a memory is: weights, bias, activations and time constants, alone or many of one structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from fasthop import checks
from fasthop.activations import Activation, as_activation
from fasthop.drives import as_drive, factor_parts
from fasthop.spectra import framed_norm, norm, smallest_eigenvalue
from fasthop.weights import Weights, as_weights
from fasthop_kernels.flows import AROUND, HESSIAN, INSIDE, MATRIX, NONE, ORTHOGONAL, OUTSIDE
from fasthop_kernels.lanes import lane_line
from fasthop_kernels.tables import Tables


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
    variable : str
    drive : Drive
        R.
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
        self.variable = checks.one_of("variable", variable, ("y", "u", "v"))
        self.drive = as_drive(R, self.weights, self.variable, self.dtype)
        self.layers = self._layers(activation, layers)
        self.b = self._per_neuron("b", 0.0 if b is None else b, self.dtype)
        self.tau = None if tau is None else self._per_neuron("tau", tau, np.dtype(np.float64))
        if self.tau is not None and not (self.tau > 0).all():
            raise ValueError(f"tau must be positive; got {self.tau.min():g}.")
        if self.tau is not None and (self.variable != "y" or self.drive.code != NONE):
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
        start = 0
        for index, layer in enumerate(self.layers):
            stop = start + layer.neurons
            if self.tau is not None and as_activation(layer.activation).blockwise:
                part = self.tau[..., start:stop]
                if (part != part[..., :1]).any():
                    name = as_activation(layer.activation).name
                    raise ValueError(f"tau must be constant within layers[{index}], a block of {name}.")
            start = stop

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
        matrix = self.drive.matrix
        drive_blocks = np.empty((0, 7), np.int64) if matrix is None else matrix.blocks
        drive_weights = self._factor_parts() if matrix is None else matrix.stored
        return Tables(
            layers=np.array([[end - layer.neurons, end, kind.code] for layer, end, kind in spans], np.int64),
            parameters=np.array([kind.parameters for kind in kinds], self.dtype),
            blocks=self.weights.blocks,
            weights=np.ascontiguousarray(self.weights.stored, self.dtype),
            bias=np.array(self.b.reshape(k, n)),  # a copy: numba types read-only arrays apart
            rate=rate.astype(self.dtype),
            mirror=self.weights.mirror,
            system={"y": OUTSIDE, "u": INSIDE, "v": AROUND}[self.variable],
            drive=self.drive.code,
            drive_blocks=drive_blocks,
            drive_weights=np.ascontiguousarray(drive_weights, self.dtype),
            orthogonal=None if self.drive.energy is None else True,
        )

    def _factor_parts(self) -> np.ndarray:
        """Return what `polar.turn` takes, rows of whole lines; nothing without a factor."""
        n, k, form = self.neurons, self.count or 1, self.drive.energy
        if form is None:
            return np.empty((k, 0))
        line = lane_line(self.dtype)
        rows = np.zeros((k, 2 * n + 1, -(-n // line) * line))
        parts, floors = factor_parts(form, self.weights.to_dense().reshape(k, n, n), self.dtype)
        rows[:, :-1, :n], rows[:, -1, :2] = parts.reshape(k, 2 * n, n), floors
        return rows.reshape(k, -1)

    @cached_property
    def rounding(self) -> tuple[np.ndarray, np.ndarray]:
        """What one rounding unit can make of the residual beside |y_i|: fixed_i + shared_i max(1, max|y|), each (K, N).

        The sizes of the terms of equation i by |b_i| and Σ_j |W_ij|, where slopes, or values of g, are at most those of
        the activations; where these have no bound, 1. Powers of two, so that no rounding of these sums is in the bits
        of a trajectory.
        """
        k, n = self.count or 1, self.neurons
        kinds = [as_activation(layer.activation) for layer in self.layers]
        slope = max((kind.max_slope for kind in kinds if np.isfinite(kind.max_slope)), default=1.0)
        bias = np.abs(self.b.reshape(k, n).astype(np.float64))
        rows = self._sums_of_sizes(self.weights.blocks)
        if self.variable == "y":
            fixed, shared = bias, rows * max(1.0, slope)
        elif self.variable == "u":
            fixed, shared = slope * bias, slope * rows
        else:
            columns = self._sums_of_sizes(self.weights.mirror)
            fixed = slope * bias.max(axis=1, keepdims=True) * columns
            shared = slope * rows.max(axis=1, keepdims=True) * columns + columns
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
        kinked = any(as_activation(layer.activation).kinks for layer in self.layers)
        return self.drive.code == ORTHOGONAL or (self.drive.code not in (NONE, MATRIX) and kinked)

    @cached_property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of what W g(y) + b can be, each of shape (K, N): system (1) never leaves this box."""
        k, n = self.count or 1, self.neurons
        low, high = np.zeros((2, n))
        start = 0
        for layer in self.layers:
            stop = start + layer.neurons
            low[start:stop], high[start:stop] = as_activation(layer.activation).bounds
            start = stop
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
        start = 0
        for layer in self.layers:
            part = slice(start, start + layer.neurons)
            slopes[:, part] = as_activation(layer.activation).steepest_within(low[:, part], high[:, part])
            start = part.stop
        plain = self.symmetric and self.variable == "y" and self.drive.code == NONE and self.tau is None
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
        kinds = [as_activation(layer.activation) for layer in self.layers]
        steepest = max(kind.max_slope for kind in kinds)
        monotone = all(kind.monotone for kind in kinds)
        if self.variable == "v" and monotone:
            return np.ones(self.count or 1)
        if not np.isfinite(steepest):
            return self._fastest_rate_in_the_box()
        if self.variable == "v":
            return np.asarray(1.0 + norm(self.weights) ** 2 * steepest)
        if self.drive.code == NONE:
            real = self.symmetric and monotone
            lowest = smallest_eigenvalue(self.weights) if real else -norm(self.weights)
            rate = 1.0 - np.minimum(lowest, 0.0) * steepest
            return np.asarray(rate if self.tau is None else rate / self.tau.reshape(len(rate), -1).min(axis=1))
        full = 1.0 + norm(self.weights) * steepest
        if self.drive.matrix is not None:
            return np.asarray(full * norm(self.drive.matrix))
        if self.drive.code == ORTHOGONAL:
            return full
        return np.asarray(full * (steepest if self.drive.code == HESSIAN else full))


def _powers_of_two(x: np.ndarray) -> np.ndarray:
    """Return the next powers of two above positive numbers, and 0 for 0."""
    mantissa, exponent = np.frexp(x)
    return np.where(mantissa > 0, np.ldexp(1.0, exponent), 0.0)
