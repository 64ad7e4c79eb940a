"""The one door to the processors: a kernel that works on tiles is started here, with its workspaces and its threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fasthop.runtime import on_threads, workers_for
from fasthop_kernels.dynamics.tables import Tables
from fasthop_kernels.dynamics.tiles import workspace
from fasthop_kernels.machine.lanes import lane_line

#: What allocates the workspaces of so many workers: arrays whose first axis is the worker.
Room = Callable[[Tables, int], tuple[np.ndarray, ...]]


def launch(
    kernel: Callable[..., Any], tables: Tables, pieces: int, *arguments: Any, room: Room = workspace
) -> list[Any]:
    """Run kernel(worker, tables, *arguments, *workspaces, stop) side by side, and return what each worker returned.

    Parameters
    ----------
    kernel : compiled function
        Its workers share the work among them, or take it from a queue.
    tables : Tables
        The memories.
    pieces : int
        Into how many pieces the work can be cut at most: no more workers are started.
    *arguments
        Shared by all workers.
    room : callable
        By default the buffers of tiles of any width.
    """
    workers = workers_for(pieces)
    spaces = room(tables, workers)
    return on_threads(workers, lambda worker, stop: kernel(worker, tables, *arguments, *spaces, stop))


def of_tiles(tables: Tables, workers: int) -> tuple[np.ndarray, ...]:
    """Allocate the buffers of tiles without what a lane keeps from one step to the next."""
    return workspace(tables, workers)[:1]


def pieces_of(states: np.ndarray) -> int:
    """Return how many lines of lanes states fill, shape (B, N)."""
    return -(-len(states) // lane_line(states.dtype))
