"""Steps of descent: plain stochastic gradient and Adam."""

from __future__ import annotations

import dataclasses

import numpy as np

from fasthop import checks


@dataclasses.dataclass(frozen=True)
class SGD:
    """θ ← θ − rate · v with v ← momentum · v + gradient.

    Parameters
    ----------
    rate : float
    momentum : float
        At least 0 and below 1.
    """

    rate: float = 0.1
    momentum: float = 0.0

    def __post_init__(self) -> None:
        checks.real("optimiser.rate", self.rate, above=0)
        checks.real("optimiser.momentum", self.momentum, least=0, most=1 - 1e-9)

    def start(self, size: int) -> np.ndarray:
        """Return the moments of `size` parameters before the first step."""
        return np.zeros((1, size))

    def move(self, gradient: np.ndarray, moments: np.ndarray, count: int, share: float) -> np.ndarray:
        """Return what is added to the parameters in step `count` = 1, 2, … at `share` of the rate; update moments."""
        moments[0] = self.momentum * moments[0] + gradient
        return np.asarray(-share * self.rate * moments[0])


@dataclasses.dataclass(frozen=True)
class Adam:
    """Adam of Kingma and Ba, arXiv 1412.6980, algorithm 1.

    Parameters
    ----------
    rate, beta1, beta2, epsilon : float
    """

    rate: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        checks.real("optimiser.rate", self.rate, above=0)
        checks.real("optimiser.beta1", self.beta1, least=0, most=1 - 1e-9)
        checks.real("optimiser.beta2", self.beta2, least=0, most=1 - 1e-9)
        checks.real("optimiser.epsilon", self.epsilon, above=0)

    def start(self, size: int) -> np.ndarray:
        """Return the moments of `size` parameters before the first step."""
        return np.zeros((2, size))

    def move(self, gradient: np.ndarray, moments: np.ndarray, count: int, share: float) -> np.ndarray:
        """Return what is added to the parameters in step `count` = 1, 2, … at `share` of the rate; update moments."""
        moments[0] = self.beta1 * moments[0] + (1 - self.beta1) * gradient
        moments[1] = self.beta2 * moments[1] + (1 - self.beta2) * gradient**2
        first = moments[0] / (1 - self.beta1**count)
        second = moments[1] / (1 - self.beta2**count)
        return np.asarray(-share * self.rate * first / (np.sqrt(second) + self.epsilon))
