"""When a task has enough realisations: a rule that is asked after each of its chunks, in their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Stop:
    """Compute realisations until an interval is narrow, or failures are many.

    Whichever of the two is given and reached first ends the task, but never before `least` realisations: a few that
    happen to agree say little. The rule sees the realisations 0, 1, … of finished chunks without a gap, never whichever
    came first, so that what settles fast is not counted more often and the answer does not depend on timing.

    Attributes
    ----------
    least, most : int
        Realisations of a task; `min` and `max` in a spec.
    half_width : float, optional
        Half the width of the interval over realisations (`fasthop.statistics.with_undecided`).
    failures : int, optional
        Trials that have failed, undecided ones not counted.
    """

    least: int
    most: int
    half_width: float | None = None
    failures: int | None = None

    def met(self, counts: np.ndarray) -> bool:
        """Say whether these realisations are enough; `counts` as in `Experiment`, shape (R, 3), R ≥ 1."""
        from fasthop.statistics import with_undecided  # here, because it loads numba

        if len(counts) < self.least:
            return False
        successes, undecided, trials = counts.T
        if self.failures is not None and (trials - successes - undecided).sum() >= self.failures:
            return True
        if self.half_width is None:
            return False
        low, high = with_undecided(successes, undecided, trials)
        return (high - low) / 2 <= self.half_width

    def to_mapping(self) -> dict[str, int | float]:
        """Spell the rule as a spec file does."""
        given = {"half_width": self.half_width, "failures": self.failures, "min": self.least, "max": self.most}
        return {key: value for key, value in given.items() if value is not None}
