"""Steady states as one step of a differentiable program, for JAX and for PyTorch: settle forward, Almeida–Pineda back.

Both are thin: the frameworks hand over arrays and get arrays back, and everything is computed here, on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fasthop.dynamics.ensemble import settle
from fasthop.equilibrium.gradients import gradient
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse

#: (W, b, starts) to steady states, of arrays of a framework.
Settle = Callable[[Any, Any, Any], Any]


def _with(memory: Memory, W: np.ndarray, b: np.ndarray, dtype: Any) -> Memory:
    """Return the memory with other weights and biases."""
    return Memory(
        np.asarray(W, np.float64),
        np.asarray(b, np.float64),
        layers=memory.layers,
        tau=memory.tau,
        variable=memory.variable,
        R=memory.system.factor.given,
        dtype=dtype,
    )


def _forward(memory: Memory, options: dict[str, Any], W: Any, b: Any, starts: Any) -> np.ndarray:
    y = np.asarray(starts)
    return settle(_with(memory, W, b, y.dtype), y, **options).state


def _backward(memory: Memory, W: Any, b: Any, states: Any, cotangent: Any) -> tuple[np.ndarray, np.ndarray]:
    y = np.array(states)
    found = gradient(_with(memory, W, b, y.dtype), y, np.array(cotangent))
    return found.dW.astype(y.dtype), found.db.astype(y.dtype)


def jax_settle(memory: Memory, **options: Any) -> Settle:
    """Return a function of JAX arrays (W, b, starts) to the steady states, which `jax.grad` and `jax.jit` go through.

    Parameters
    ----------
    memory : Memory
        One memory of system (1), (5) or (9), no layer held, R no orthogonal factor: activations, τ and R are its, W,
        which is dense, and b come from the call.
    **options
        Passed on to `settle`: tolerance, t_max, dt, method, escape.

    Returns
    -------
    callable
        `settle(W, b, starts)` of shapes (N, N), (N,) and (B, N) returns the states, (B, N), in the dtype of `starts`:
        float64 needs `jax_enable_x64`. The gradient with respect to the starts is zero. Ends that `gradient` refuses
        (unsettled, unstable, on a kink) add nothing to the gradient of W and b, and warn.
    """
    refuse(memory, "jax_settle")
    import jax

    struct, call = jax.ShapeDtypeStruct, jax.pure_callback

    def ends(W: Any, b: Any, starts: Any) -> Any:
        return call(
            lambda *arrays: _forward(memory, options, *arrays),
            struct(starts.shape, starts.dtype),
            *(W, b, starts),
            vmap_method="sequential",
        )

    steady = jax.custom_vjp(ends)

    def ahead(W: Any, b: Any, starts: Any) -> tuple[Any, Any]:
        states = steady(W, b, starts)
        return states, (W, b, states)

    def back(kept: Any, cotangent: Any) -> tuple[Any, Any, Any]:
        W, b, states = kept
        shapes = (struct(W.shape, states.dtype), struct(b.shape, states.dtype))
        dW, db = call(
            lambda *arrays: _backward(memory, *arrays), shapes, *(W, b, states, cotangent), vmap_method="sequential"
        )
        return dW.astype(W.dtype), db.astype(b.dtype), jax.numpy.zeros_like(states)

    steady.defvjp(ahead, back)
    found: Settle = steady
    return found


def torch_settle(memory: Memory, **options: Any) -> Settle:
    """Return a function of CPU tensors (W, b, starts) to the steady states, which `backward` goes through.

    Parameters and what it returns are those of `jax_settle`, with tensors.
    """
    refuse(memory, "torch_settle")
    import torch

    class Steady(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(context: Any, W: Any, b: Any, starts: Any) -> Any:
            arrays = (tensor.detach().numpy() for tensor in (W, b, starts))
            states = torch.from_numpy(_forward(memory, options, *arrays))
            context.save_for_backward(W, b, states)
            return states

        @staticmethod
        def backward(context: Any, cotangent: Any) -> tuple[Any, Any, Any]:
            W, b, states = context.saved_tensors
            arrays = (tensor.detach().numpy() for tensor in (W, b, states, cotangent))
            dW, db = (torch.from_numpy(part) for part in _backward(memory, *arrays))
            return dW.to(W.dtype), db.to(b.dtype), torch.zeros_like(states)

    found: Settle = Steady.apply
    return found
