"""Rows of an experiment without the engine: what it measures, with the parameters of the task before it."""

import pandas as pd


def rows_of(experiment, task, realisations, seed):
    """`experiment` is the module of one."""
    kind = experiment.EXPERIMENT
    frame = pd.DataFrame(kind.values(task) | kind.rows(task, realisations, seed))
    assert set(frame) == set(kind.schema.names)
    return frame[kind.schema.names]
