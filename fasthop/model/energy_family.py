"""The family (6) of energies of arXiv 2410.13866, as numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fasthop import checks


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
        for name in ("alpha", "beta", "gamma"):
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


#: Energies by name, for each variable: (2) and (3) of system (1), (10) of system (9); E1, E2 and E3 of system (5); that
#: of the simplest model of section 4, which is E2 with v in place of W v.
NAMED = {
    "y": {"2": Energy(alpha=1.0), "3": Energy(alpha=1.0), "10": Energy(gamma=1.0)},
    "u": {"E1": Energy(alpha=1.0), "E2": Energy(beta=1.0), "E3": Energy(gamma=1.0)},
    "v": {"simplest": Energy(beta=1.0)},
}


def as_energy(kind: str | Energy, variable: str) -> Energy:
    """Return an energy given by name or as itself.

    Raises
    ------
    ValueError
        Where it is not an energy of the variable.
    """
    if not isinstance(kind, Energy):
        return NAMED[variable][checks.one_of(f"kind (for variable {variable!r})", kind, NAMED[variable])]
    if variable == "y" and kind.beta:
        raise ValueError("kind must have beta = 0 for variable = 'y': E2 is an energy of variable u.")
    if variable == "v" and (kind.alpha or kind.gamma):
        raise ValueError("kind must have alpha = gamma = 0 for variable = 'v': the simplest model has one energy.")
    return kind
