"""What can be wrong with a sweep for reasons outside its engine. Light to import, for the command line."""

from collections.abc import Sequence


class SpecError(ValueError):
    """A spec that cannot be run.

    Attributes
    ----------
    problems : tuple of str
        Everything that is wrong with it, one sentence each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class FolderError(ValueError):
    """A folder that cannot take a sweep or does not hold one; one sentence says why."""


class TableError(ValueError):
    """An experiment has returned other columns than it promises."""


class ClusterError(RuntimeError):
    """A scheduler that cannot be reached, or workers that cannot be used; one sentence says why."""
