"""What a memory is: weights, bias and activation, alone or many of one size."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from fasthop import checks
from fasthop.activations import Activation, as_activation
from fasthop.spectra import norm_bound, smallest_eigenvalue
from fasthop_kernels.tables import Tables


class Memory:
    """The dynamical system ẏ = W g(y) − y + b, system (1) of arXiv 2410.13866; dimensionless.

    Parameters
    ----------
    W : array_like, shape (N, N) or (K, N, N)
        Weights: of one memory, or of K memories that are simulated together.
    b : array_like, shape (N,) or (K, N), or number, optional
        Bias; 0 by default.
    activation : Activation, str or mapping
        g, by name (`"tanh"`, `"relu"`, …) or with its parameters.
    dtype : float64 or float32
        In which the states are computed.

    Attributes
    ----------
    W, b : arrays of dtype `dtype`, read-only
    activation : Activation
    neurons : int
        N.
    count : int or None
        K, or None for one memory.

    Raises
    ------
    TypeError, ValueError
        Where W is not square or not finite, or b does not fit.
    """

    def __init__(
        self,
        W: Any,
        b: Any = None,
        activation: Activation | str | Mapping[str, Any] = "tanh",
        *,
        dtype: Any = np.float64,
    ) -> None:
        kind = checks.float_dtype("dtype", dtype)
        weights = checks.real_array("W", W, kind)
        if weights.ndim not in (2, 3) or weights.shape[-1] != weights.shape[-2] or 0 in weights.shape:
            raise ValueError(f"W must be square, of shape (N, N) or (K, N, N) with N ≥ 1; got {weights.shape}.")
        self.neurons = int(weights.shape[-1])
        self.count = int(weights.shape[0]) if weights.ndim == 3 else None
        given = np.zeros(()) if b is None else checks.real_array("b", b, kind)
        due = weights.shape[:-1]
        if given.shape not in ((), (self.neurons,), due):
            raise ValueError(f"b must be a number or have shape {due}, to fit W {weights.shape}; got {given.shape}.")
        self.dtype = kind
        self.activation = as_activation(activation)
        self.W = weights
        self.b = np.array(np.broadcast_to(given, due), kind)
        self.W.flags.writeable = self.b.flags.writeable = False

    def __repr__(self) -> str:
        many = "" if self.count is None else f"{self.count} × "
        return f"Memory({many}N={self.neurons}, {self.activation}, {self.dtype.name})"

    @cached_property
    def symmetric(self) -> bool:
        """Whether every W equals its transpose to the last bit."""
        return bool(np.array_equal(self.W, np.swapaxes(self.W, -1, -2)))

    @cached_property
    def tables(self) -> Tables:
        """The memory as the kernels see it."""
        n, k = self.neurons, self.count or 1
        return Tables(
            layers=np.array([[0, n, self.activation.code]], np.int64),
            parameters=np.array([self.activation.parameter], self.dtype),
            blocks=np.array([[0, 0, n, n, 0, 0]], np.int64),
            weights=np.array(self.W.reshape(k, n * n)),  # copies: numba types read-only arrays apart
            bias=np.array(self.b.reshape(k, n)),
        )

    @cached_property
    def slowest_rate(self) -> np.ndarray:
        """A lower bound on the eigenvalues of the Jacobian W Λ, for each memory, shape (K,).

        For symmetric W these are real and at least λ_min(W) max Λ, otherwise their size is at most ‖W‖ max Λ.
        """
        weights = self.W.reshape(-1, self.neurons, self.neurons).astype(np.float64)
        lowest = smallest_eigenvalue(weights) if self.symmetric else -norm_bound(weights)
        return np.asarray(np.minimum(lowest, 0.0) * self.activation.max_slope)
