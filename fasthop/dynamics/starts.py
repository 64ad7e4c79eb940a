"""Measures that starts are drawn from: a box, a ball, a normal cloud. A start is a function of the seed and its number.

What share of the starts a basin draws is a statement about the measure, too.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fasthop import checks, fill
from fasthop.storage.patterns import MOST_ITEMS
from fasthop_kernels.mathematics import random


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Starts drawn uniformly from the box [low, high]^N.

    Parameters
    ----------
    low, high : float
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        checks.real("low", self.low)
        checks.real("high", self.high, above=self.low)

    def draw(self, count: int, neurons: int, *, seed: int = 0, realisation: int = 0, first: int = 0) -> np.ndarray:
        """Return `count` starts from number `first` on, shape (count, neurons); nested in both."""
        out, number = _room(count, neurons, first)
        fill.uniforms(checks.seed("seed", seed), random.START, np.array([realisation]), number, out)
        return np.asarray(self.low + (self.high - self.low) * out[0])


@dataclasses.dataclass(frozen=True)
class Ball:
    """Starts drawn uniformly from the ball |y − centre| ≤ radius.

    Parameters
    ----------
    radius : float
        Positive.
    centre : float or array_like, shape (N,)
    """

    radius: float
    centre: Any = 0.0

    def __post_init__(self) -> None:
        checks.real("radius", self.radius, above=0)

    def draw(self, count: int, neurons: int, *, seed: int = 0, realisation: int = 0, first: int = 0) -> np.ndarray:
        """Return `count` starts from number `first` on, shape (count, neurons); nested in `count`."""
        # A point of the sphere in N + 2 dimensions without two of its coordinates is uniform in the ball (Archimedes).
        normal = _normals(count, neurons + 2, seed, realisation, first)
        length = np.sqrt((normal * normal).sum(axis=1, keepdims=True))
        return np.asarray(_centre(self.centre, neurons) + self.radius * (normal[:, :neurons] / length))


@dataclasses.dataclass(frozen=True)
class Normal:
    """Starts drawn from independent normal distributions of one width around a centre.

    Parameters
    ----------
    sigma : float
        Standard deviation of every coordinate, positive.
    centre : float or array_like, shape (N,)
    """

    sigma: float
    centre: Any = 0.0

    def __post_init__(self) -> None:
        checks.real("sigma", self.sigma, above=0)

    def draw(self, count: int, neurons: int, *, seed: int = 0, realisation: int = 0, first: int = 0) -> np.ndarray:
        """Return `count` starts from number `first` on, shape (count, neurons); nested in both."""
        return np.asarray(
            _centre(self.centre, neurons) + self.sigma * _normals(count, neurons, seed, realisation, first)
        )


#: What starts can be drawn from.
Measure = Uniform | Ball | Normal

#: By the name that a spec has for it.
MEASURES: dict[str, type[Measure]] = {"box": Uniform, "ball": Ball, "normal": Normal}


def _room(count: int, width: int, first: int) -> tuple[np.ndarray, int]:
    """Return room for the numbers of `count` starts, and the number of the first."""
    out = np.empty((1, checks.whole("count", count, least=1), width))
    return out, checks.whole("first", first, least=0, most=MOST_ITEMS - count)


def _normals(count: int, width: int, seed: int, realisation: int, first: int) -> np.ndarray:
    out, number = _room(count, width, first)
    fill.normals(checks.seed("seed", seed), random.START, np.array([realisation]), number, out)
    return np.asarray(out[0])


def _centre(centre: Any, neurons: int) -> np.ndarray:
    found = checks.real_array("centre", centre, np.float64)
    if found.shape not in ((), (neurons,)):
        raise ValueError(f"centre must be a number or have shape ({neurons},); got {found.shape}.")
    return found
