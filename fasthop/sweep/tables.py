"""Tables of an experiment from Python, without a folder."""

from __future__ import annotations

from typing import Any

import pandas as pd

from fasthop.sweep.run import table


def capacity(*, seed: int = 0, **sections: Any) -> pd.DataFrame:
    """Return the capacity table of a spec given as keyword sections, one row per task and realisation.

    Parameters
    ----------
    seed : int
    **sections : dict
        `memory`, `patterns`, `cues` and `run` with the entries of a spec file; lists and ranges make tasks.

    Returns
    -------
    DataFrame
        The rows that `run` would write; `fasthop.experiments.capacity.summarise` pools them.

    Raises
    ------
    SpecError
        Where an entry is unknown or impossible; every one is named.

    Examples
    --------
    >>> import fasthop as fh
    >>> table = fh.capacity(
    ...     memory={"neurons": 100},
    ...     patterns={"load": [0.05, 0.2]},
    ...     cues={"per_realisation": 50},
    ...     run={"realisations": 4},
    ... )
    >>> rates = table.groupby("load")["retrieved"].sum() / table.groupby("load")["cues"].sum()
    """
    return table({"experiment": "capacity", "seed": seed, **sections})
