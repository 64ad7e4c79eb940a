"""The family (6) of energies of arXiv 2410.13866, as numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fasthop import checks

#: What an energy is the sum of: its numbers, and what `fasthop.energies.lyapunov` proves one by one.
SHARES = ("alpha", "beta", "gamma")


@dataclasses.dataclass(frozen=True, eq=False)
class Energy:
    """The family (6) of energies of system (5), α E1 + β E2 + γ E3(S), and for system (9) with α = β = 0 energy (10).

    With x = W u + b and f = u − g(x): E1 = (x − b)·g − L − ½ gᵀW g, energy (2) at y = x; E2 = ½ uᵀW u − L;
    E3 = ½ fᵀS f.

    Parameters
    ----------
    alpha, beta, gamma : float
    S : array_like, shape (N, N), optional
        Symmetric; the identity by default.
    """

    alpha: float = 0.0
    beta: float = 0.0
    gamma: float = 0.0
    S: Any = None

    def __post_init__(self) -> None:
        for name in SHARES:
            object.__setattr__(self, name, checks.real(name, getattr(self, name)))
        if self.S is not None:
            S = checks.real_array("S", self.S, np.float64, shape=("N", "N"))
            if not np.array_equal(S, S.T):
                raise ValueError("S must be symmetric.")
            object.__setattr__(self, "S", S)

    def weighting(self, neurons: int) -> np.ndarray:
        """Return S, shape (N, N)."""
        S = np.eye(neurons) if self.S is None else np.asarray(self.S)
        if S.shape != (neurons, neurons):
            raise ValueError(f"S must have shape ({neurons}, {neurons}); got {S.shape}.")
        return S

    def __eq__(self, other: object) -> bool:
        """Whether the numbers are equal."""
        return isinstance(other, Energy) and all(
            np.array_equal(getattr(self, field.name), getattr(other, field.name)) for field in dataclasses.fields(self)
        )

    def __hash__(self) -> int:
        return hash((self.alpha, self.beta, self.gamma))
