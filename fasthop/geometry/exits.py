"""Where a ray first leaves a set that is known by asking point by point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: Each shell on which a ray is asked lies this much further out than the one before.
SHELL_RATIO = float(np.sqrt(2.0))


def first_exits(
    inside: Callable[[np.ndarray, np.ndarray], np.ndarray],
    bound: np.ndarray,
    *,
    shells: int,
    precision: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Bracket the first place at which each ray leaves: outward over shells until a point is outside, then bisection.

    All rays are asked together. What is known of the answer: `lower` was found inside, `upper` outside, and every shell
    within `lower` inside. A gap narrower than the shells' ratio may lie before it and not be seen, where a set that is
    left is entered again.

    Parameters
    ----------
    inside : callable
        `inside(rays, radii)` says of the rays of these numbers whether they are inside at these distances.
    bound : float array, shape (M,)
        The last shell of every ray.
    shells : int
        The first one is at bound · √2^{1 − shells}.
    precision : float
        Bisection ends where upper − lower ≤ precision · upper, or precision times the first shell.

    Returns
    -------
    lower, upper : float64 arrays, shape (M,)
        Where a ray never leaves within its bound, `lower` is the bound and `upper` infinite.
    """
    lower, upper = np.zeros(len(bound)), np.full(len(bound), np.inf)
    left = np.arange(len(bound))
    for shell in range(shells):
        if not left.size:
            break
        radius = bound[left] * SHELL_RATIO ** (shell + 1 - shells)
        stays = inside(left, radius)
        lower[left[stays]], upper[left[~stays]] = radius[stays], radius[~stays]
        left = left[stays]
    smallest = bound * SHELL_RATIO ** (1 - shells)
    left = np.flatnonzero(np.isfinite(upper))
    while True:
        left = left[upper[left] - lower[left] > precision * np.maximum(upper[left], smallest[left])]
        if not left.size:
            return lower, upper
        middle = (lower[left] + upper[left]) / 2
        stays = inside(left, middle)
        lower[left[stays]], upper[left[~stays]] = middle[stays], middle[~stays]
