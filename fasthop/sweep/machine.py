"""What computes: the facts that a manifest keeps of every machine."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fasthop
from fasthop.files import read_file

_PACKAGES = ("numba", "llvmlite", "numpy", "scipy", "pandas", "pyarrow")


@functools.cache
def instruction_set() -> str:
    """Return the vector instructions that the kernels use; bits may differ between machines where it does."""
    from fasthop_kernels import lanes

    return str(lanes.instruction_set())


@functools.cache
def kernel_digest() -> str:
    """Return sixteen hexadecimal digits that name the sources of all kernels."""
    import fasthop_kernels

    sha = hashlib.sha256()
    for path in sorted(Path(str(fasthop_kernels.__file__)).parent.glob("*.py")):
        sha.update(path.name.encode() + b"\0" + read_file(path) + b"\0")
    return sha.hexdigest()[:16]


@functools.cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def machine() -> dict[str, Any]:
    """Return host, processors, threads of the kernels, instruction set and versions."""
    import numba

    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": numba.get_num_threads(),
        "instruction_set": instruction_set(),
        "engine_version": fasthop.__version__,
        "kernel_digest": kernel_digest(),
        "versions": _versions(),
    }
