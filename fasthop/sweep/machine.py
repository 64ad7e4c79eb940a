"""What computes: the facts that a manifest keeps of every machine."""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import fasthop
from fasthop.files import read_file

_PACKAGES = ("numba", "llvmlite", "numpy", "scipy", "pandas", "pyarrow")


@functools.cache
def instruction_set() -> str:
    """Return what decides the last bits: the kernels' vector instructions and the BLAS's kernels ("avx512+SkylakeX").

    Two machines of one name give the same bits with the same versions of the packages. Kernels that are not compiled
    (NUMBA_DISABLE_JIT) are "plain". OpenBLAS and BLIS say for which processor they chose their kernels; another BLAS
    has its own name only.
    """
    import numba

    from fasthop_kernels.machine import lanes

    kernels = "plain" if numba.config.DISABLE_JIT else lanes.instruction_set()
    return "+".join([kernels, *sorted({library.get("architecture", library["name"]) for library in blas()})])


@functools.cache
def blas() -> list[dict[str, str]]:
    """Return name, version and, where it says so, architecture of every BLAS that NumPy and SciPy have loaded."""
    importlib.import_module("scipy.linalg")
    names = {"name": "internal_api", "version": "version", "architecture": "architecture"}
    loaded = [library for library in threadpool_info() if library["user_api"] == "blas"]
    found = [{ours: str(library[its]) for ours, its in names.items() if library.get(its)} for library in loaded]
    if not found:  # such as Apple's Accelerate
        built_with = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        found = [{"name": str(built_with["name"]), "version": str(built_with["version"])}]
    return sorted(found, key=lambda library: sorted(library.items()))


@functools.cache
def kernel_digest() -> str:
    """Return sixteen hexadecimal digits that name the sources of all kernels."""
    import fasthop_kernels

    sha, folder = hashlib.sha256(), Path(str(fasthop_kernels.__file__)).parent
    for path in sorted(folder.rglob("*.py")):
        sha.update(path.relative_to(folder).as_posix().encode() + b"\0" + read_file(path) + b"\0")
    return sha.hexdigest()[:16]


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def machine() -> dict[str, Any]:
    """Return host, processors, threads of the kernels, instruction set, BLAS and versions."""
    import numba

    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": numba.get_num_threads(),
        "instruction_set": instruction_set(),
        "blas": blas(),
        "engine_version": fasthop.__version__,
        "kernel_digest": kernel_digest(),
        "versions": versions(),
    }
