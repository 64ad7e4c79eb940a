"""Refuse bad input in one sentence: which argument, which value, what is allowed."""

from __future__ import annotations

import contextlib
import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np


def real_array(name: str, value: Any, dtype: Any, *, shape: tuple[int | str, ...] | None = None) -> np.ndarray:
    """Return `value` as a new C-contiguous finite float array.

    `shape` names the axes; an entry that is a number must match, one that is text is only for the message.
    """
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
            array = np.array(value, dtype=dtype, order="C")
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array of real numbers; got {type(value).__name__} ({error}).") from None
    if shape is not None:
        due = "(" + ", ".join(str(axis) for axis in shape) + ("," if len(shape) == 1 else "") + ")"
        fits = array.ndim == len(shape) and all(
            isinstance(axis, str) or axis == size for axis, size in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise ValueError(f"{name} must have shape {due}; got {array.shape}.")
    refuse_not_finite(name, array)
    return array


def refuse_not_finite(name: str, array: np.ndarray) -> None:
    """Raise ValueError where an entry is NaN or infinite, with the place of the first one."""
    bad = ~np.isfinite(array)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        where = f"[{', '.join(map(str, place))}]" if place else ""
        raise ValueError(f"{name} must be finite; {name}{where} is {array[place]}.")


def real(name: str, value: Any, *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf) -> float:
    """Return `value` as a finite float with above < value, least <= value <= most."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number; got {value!r}.")
    number = float(value)
    if not math.isfinite(number) or number <= above or not least <= number <= most:
        bounds = []
        if above > -math.inf:
            bounds.append(f"above {above:g}")
        if least > -math.inf:
            bounds.append(f"at least {least:g}")
        if most < math.inf:
            bounds.append(f"at most {most:g}")
        raise ValueError(f"{name} must be finite{''.join(', ' + bound for bound in bounds)}; got {value!r}.")
    return number


def whole(name: str, value: Any, *, least: int, most: int = 2**63 - 1) -> int:
    """Return `value` as an int with least <= value <= most."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number; got {value!r}.")
    if not least <= int(value) <= most:
        upper = "" if most == 2**63 - 1 else f" and at most {most}"
        raise ValueError(f"{name} must be at least {least}{upper}; got {value}.")
    return int(value)


def seed(name: str, value: Any) -> int:
    """Return `value` as an unsigned 64-bit seed."""
    return whole(name, value, least=0, most=2**64 - 1)


def one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of the allowed words."""
    allowed = list(allowed)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}.")
    return str(value)


def float_dtype(name: str, value: Any) -> np.dtype[Any]:
    """Return float64 or float32."""
    for dtype in (np.dtype(np.float64), np.dtype(np.float32)):
        with contextlib.suppress(TypeError):
            if np.dtype(value) == dtype:
                return dtype
    raise ValueError(f"{name} must be float64 or float32; got {value!r}.")
