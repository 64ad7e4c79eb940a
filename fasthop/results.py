"""What results of many states have in common: one line of text, equality to the last bit, a table."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import numpy as np
import pandas as pd


class Result(abc.ABC):
    """Base of the dataclasses that functions return; they pickle, too.

    Two are equal where they are of one kind and every number is the same, NaN included.
    """

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        names = [field.name for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        return all(_same(getattr(self, name), getattr(other, name)) for name in names)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_short()})"

    @abc.abstractmethod
    def in_short(self) -> str:
        """Say in one line how much there is and what came of it."""

    @abc.abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each state."""


def _same(one: Any, two: Any) -> bool:
    if type(one) is not type(two):
        return False
    if isinstance(one, np.ndarray):
        floats = one.dtype.kind in "fc"
        return one.dtype == two.dtype and np.array_equal(one, two, equal_nan=floats)
    if isinstance(one, pd.DataFrame):
        return one.equals(two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(two) and all(_same(*pair) for pair in zip(one, two, strict=True))
    if hasattr(one, "tables"):  # a memory is what the kernels see of it
        return _same(tuple(one.tables), tuple(two.tables))
    if hasattr(one, "stored"):  # weights
        return _same((one.stored, one.blocks), (two.stored, two.blocks))
    return bool(one == two or (one != one and two != two))


def per_state(shape: tuple[int, ...], columns: dict[str, Any], vectors: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return a table of numbers and vectors of states.

    Parameters
    ----------
    shape : tuple of int
        (B,) or (K, B); K memories get the column `memory` first.
    columns : dict of str to array_like
        Arrays of that shape.
    vectors : dict of str to array
        By the letter of their columns, arrays with one more axis: `{"y": state}` becomes y0, y1, ….
    """
    found: dict[str, Any] = {}
    if len(shape) == 2:
        found["memory"] = np.repeat(np.arange(shape[0]), shape[1])
    for name, values in columns.items():
        found[name] = values if isinstance(values, pd.Categorical) else np.asarray(values).reshape(-1)
    for letter, array in vectors.items():
        flat = array.reshape(-1, array.shape[-1])
        found |= {f"{letter}{i}": flat[:, i] for i in range(flat.shape[1])}
    return pd.DataFrame(found)


def how_many(array: np.ndarray, what: str) -> str:
    """Say how many states of how many neurons an array has, shape (B, N) or (K, B, N)."""
    memories = f"{array.shape[0]} × " if array.ndim == 3 else ""
    return f"{memories}{array.shape[-2]} {what}, N = {array.shape[-1]}"


def counts(words: np.ndarray) -> str:
    """Say how often each word occurs, the most frequent first: "998 settled, 2 unsettled"."""
    found, number = np.unique(words, return_counts=True)
    order = np.argsort(-number, kind="stable")
    return ", ".join(f"{number[i]} {found[i]}" for i in order) or "none"


def extent(name: str, values: np.ndarray) -> str:
    """Say from where to where numbers go, those that are finite: "time 3.2 to 14.1"."""
    some = values[np.isfinite(values)]
    if not some.size:
        return f"no {name}"
    low, high = (f"{value:.4g}" for value in (some.min(), some.max()))
    return f"{name} {low}" if low == high else f"{name} {low} to {high}"
