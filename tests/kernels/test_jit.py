import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numba.core.caching import FunctionCache

import fasthop_kernels
from fasthop_kernels.machine import jit

PACKAGE = Path(fasthop_kernels.__file__).parent


# --- a second process compiles nothing; two that fill one cache do not harm each other ------------------------------

SETTLE = """
from numba.core.event import install_recorder
with install_recorder("numba:compile") as recorder:
    import fasthop as fh
    memory = fh.Memory([[0.5, 0.1], [0.1, -1.0]], [0.1, 0.2])
    ends = fh.settle(memory, [[1.0, 1.0], [1.0, -1.0]])
print(len(recorder.buffer), *ends.state.tolist())
"""


def test_second_process_compiles_nothing(run_python):
    _, state = run_python(SETTLE).split(maxsplit=1)
    compiled_again, state_again = run_python(SETTLE).split(maxsplit=1)
    assert int(compiled_again) == 0
    assert state_again == state


#: A kernel that compiles in a second: a formula, which calls others of two more modules.
LEGENDRE = """
from fasthop_kernels.dynamics.activations import tanh_legendre
from fasthop_kernels.machine.jit import kernel

@kernel
def phi(y, a):
    return tanh_legendre(y, a)
"""

BOTH = """
import sys
import numpy as np
from numba.core.event import install_recorder
from fasthop_kernels.legendre import phi
number = np.dtype(sys.argv[1]).type
if "wait" in sys.argv:  # until the other is there, too
    print("here", flush=True)
    sys.stdin.readline()
with install_recorder("numba:compile") as recorder:
    numbers = [phi(number(y), number(1)) for y in (-0.5, 1.5)]
print(len(recorder.buffer), *map(float, numbers))
"""


@pytest.fixture
def copy(tmp_path):
    """A copy of the kernels that may be edited, with one more."""
    folder = shutil.copytree(PACKAGE, tmp_path / "fasthop_kernels", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "legendre.py").write_text(LEGENDRE, encoding="utf-8")
    return folder


def test_two_processes_fill_one_cache_at_once(start_python, finish, copy, tmp_path):
    def start(*arguments):
        return start_python(BOTH, *arguments, path=copy.parent, NUMBA_CACHE_DIR=tmp_path / "cache")

    dtypes = ["float64", "float32"]
    both = [start(dtype, "wait") for dtype in dtypes]
    for process in both:
        assert process.stdout.readline() == "here\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    y = np.array([-0.5, 1.5])
    exact = y * np.tanh(y) - np.log(np.cosh(y))
    for process, dtype in zip(both, dtypes, strict=True):
        compiled, *numbers = map(float, finish(process).split())
        compiled_again, *numbers_again = map(float, finish(start(dtype)).split())
        assert compiled > compiled_again == 0
        assert numbers_again == numbers
        np.testing.assert_allclose(numbers, exact, rtol=16 * np.finfo(dtype).eps)


# --- an edit anywhere makes new code --------------------------------------------------------------------------------

PHI = """
from fasthop_kernels.legendre import phi
print(phi(1.0, 1.0))
"""
EDIT = """

@formula
def log1p(x):
    return x
"""
EXACT = np.tanh(1) - np.log(np.cosh(1))
EDITED = np.log(2) - np.exp(-2) - 2 * np.exp(-2) / (1 + np.exp(-2))


def append(path, text):
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_an_edit_of_an_inner_module_makes_new_code_and_removes_the_old(copy, run_python, tmp_path):
    def phi():
        return float(run_python(PHI, path=copy.parent, NUMBA_CACHE_DIR=tmp_path / "cache"))

    assert phi() == pytest.approx(EXACT, rel=1e-14)
    first = {path.name for path in (tmp_path / "cache").rglob("legendre.phi-*")}
    append(copy / "mathematics/elementary.py", EDIT)
    assert phi() == pytest.approx(EDITED, rel=1e-14)
    second = {path.name for path in (tmp_path / "cache").rglob("legendre.phi-*")}
    assert len(first) == len(second) == 2  # an index and its code
    assert not first & second


def test_without_the_digest_the_old_number_would_come_back(copy, run_python, tmp_path):
    replace(
        copy / "machine/jit.py", "made_of = digest(pathlib.Path(py_func.__code__.co_filename))", 'made_of = "0" * 64'
    )
    for _ in range(2):
        value = float(run_python(PHI, path=copy.parent, NUMBA_CACHE_DIR=tmp_path / "cache"))
        assert value == pytest.approx(EXACT, rel=1e-14)
        append(copy / "mathematics/elementary.py", EDIT)


LOADED = """
import importlib, json, sys
def loaded():
    return {name.partition(".")[2] for name in sys.modules if name.startswith("fasthop_kernels.")}
found = {}
for name in sys.argv[1:]:
    for part in loaded():
        del sys.modules[f"fasthop_kernels.{part}"]
    importlib.import_module(f"fasthop_kernels.{name}")
    found[name] = sorted(loaded())
print(json.dumps(found))
"""


def modules(folder):
    found = (path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py") if path.stem != "__init__")
    return sorted(".".join(path.parts) for path in found)


MODULES = modules(PACKAGE)


@pytest.fixture(scope="module")
def loaded(run_python):
    """The modules that Python loads for each."""
    return json.loads(run_python(LOADED, *MODULES))


@pytest.mark.parametrize("name", MODULES)
def test_digest_follows_what_python_imports(monkeypatch, copy, loaded, name):
    monkeypatch.setattr(jit, "_FOLDER", copy)
    source = copy / f"{name.replace('.', '/')}.py"
    for other in modules(copy):
        before = jit.digest.__wrapped__(source)
        append(copy / f"{other.replace('.', '/')}.py", "# edited\n")
        after = jit.digest.__wrapped__(source)
        assert (before != after) == (other in loaded[name]), (name, other)


def test_code_of_lines_that_moved_is_removed(copy, run_python, tmp_path):
    for _ in range(2):
        run_python(PHI, path=copy.parent, NUMBA_CACHE_DIR=tmp_path / "cache")
        found = list((tmp_path / "cache").rglob("legendre.phi-*"))
        assert len(found) == 2
        (copy / "legendre.py").write_text(f"# a line more\n{LEGENDRE}", encoding="utf-8")


# --- bytes that were lost or changed --------------------------------------------------------------------------------

DAMAGED = """
import pathlib, random, sys
from fasthop_kernels.machine import jit
import tiny
folder, chance = pathlib.Path(sys.argv[1]), random.Random(int(sys.argv[2]))

def start():
    function = jit.kernel(tiny.half)
    numbers = [function(3.0), function(5)]
    assert numbers == [1.5, 2.5], numbers
    return sum(function.stats.cache_misses.values())

assert (start(), start()) == (2, 0)
files = sorted(path for path in folder.rglob("*.nb[ci]"))
assert [path.suffix for path in files] == [".nbc", ".nbc", ".nbi"], files
sound, missed = {path: path.read_bytes() for path in files}, 0
for number in range(int(sys.argv[3])):
    victim = files[number % 3]
    data = bytearray(sound[victim])
    kind = chance.choice(["flip"] * 6 + ["cut", "empty", "junk", "other", "gone", "folder"])
    if kind == "flip":
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del data[chance.randrange(len(data)) :]
    elif kind == "empty":
        data.clear()
    elif kind == "junk":
        data = chance.randbytes(len(data))
    elif kind == "other":  # the code of the other dtype
        data = sound[files[(number + 1) % 3]]
    victim.unlink()
    if kind == "folder":
        victim.mkdir()
    elif kind != "gone":
        victim.write_bytes(data)
    missed = start()
    assert missed == (2 if victim.suffix == ".nbi" else 1), (kind, victim, missed)
    if kind == "folder":
        victim.rmdir()
        start()
    assert start() == 0, (kind, victim)  # and what was compiled anew is there as it was
    for path in files:
        path.write_bytes(sound[path])
print("done")
"""

TINY = """
def half(x):
    return x / 2
"""


@pytest.mark.parametrize("seed", range(2))
def test_damaged_code_is_compiled_anew_and_never_run(run_python, tmp_path, seed):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "tiny.py").write_text(TINY, encoding="utf-8")
    cache = tmp_path / "cache"
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'tiny')!r})\n{DAMAGED}"
    assert run_python(code, cache, seed, 60, NUMBA_CACHE_DIR=cache) == "done\n"


def test_code_that_cannot_be_loaded_is_no_reason_not_to_start(monkeypatch):
    def load_overload(*_):
        raise RuntimeError("of another LLVM")

    monkeypatch.setattr(FunctionCache, "load_overload", load_overload)
    assert jit.kernel(lambda x: x + 1)(1) == 2


# --- no folder to cache in ------------------------------------------------------------------------------------------


def test_kernels_run_where_no_folder_can_be_written(copy, run_python, tmp_path):
    # A file in place of a folder stops even the superuser.
    for folder in {path.parent for path in copy.rglob("*.py")}:
        (folder / "__pycache__").touch()
    (tmp_path / "file").touch()
    nowhere = dict.fromkeys(["NUMBA_CACHE_DIR", "HOME", "LOCALAPPDATA", "XDG_CACHE_HOME"], tmp_path / "file" / "below")
    environment = nowhere | {"PYTHONDONTWRITEBYTECODE": "1"}
    said = run_python(f"{PHI}\nprint(type(phi._cache).__name__)", path=copy.parent, **environment)
    value, cache = said.split()
    assert float(value) == pytest.approx(EXACT, rel=1e-14)
    assert cache == "NullCache"


def test_a_full_disk_does_not_cost_the_result(monkeypatch):
    def full(*_):
        full.calls += 1
        raise OSError(errno.ENOSPC, "No space left on device")

    full.calls = 0
    monkeypatch.setattr(FunctionCache, "save_overload", full)
    assert jit.kernel(lambda x: x + 1)(1) == 2
    assert full.calls == 1


# --- other ways to run ----------------------------------------------------------------------------------------------

EVERYTHING = """
import sys
import numpy as np
import fasthop as fh
from fasthop.model.activations import ACTIVATIONS
neurons, batch, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
rng, out = np.random.default_rng(5), {}
for dtype in sys.argv[4:]:
    for name in ACTIVATIONS:
        W = rng.normal(size=(2, neurons, neurons)) / 6
        memory = fh.Memory(W + W.swapaxes(1, 2), rng.normal(size=neurons), name, dtype=dtype)
        starts = rng.normal(size=(2, batch, neurons))
        for method in ("euler", "rk4"):
            run = fh.simulate(memory, starts, t_end=0.3, dt=0.1, method=method, save_at=[0, 0.2])
            ends = fh.settle(memory, starts, tolerance=1e-3, method=method, t_max=2.0, dt=0.1)
            for key in ("state", "states"):
                out[f"{dtype} {name} {method} {key}"] = getattr(run, key)
            for key in ("state", "steps"):
                out[f"{dtype} {name} {method} end {key}"] = getattr(ends, key)
        out[f"{dtype} {name} energy"] = fh.energy(memory, starts)
        for method in ("g", "slope", "lagrangian", "legendre"):
            out[f"{dtype} {name} {method}"] = getattr(memory.activation, method)(starts.astype(dtype))
np.savez(path, **out)
"""


def assert_same(path, other):
    with np.load(path) as here, np.load(other) as there:
        assert here.files == there.files
        for name in here.files:
            tolerance = 1e-12 if name.startswith("float64") else 1e-5
            np.testing.assert_allclose(here[name], there[name], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.slow
def test_uncompiled_python_gives_the_same_numbers(run_python, tmp_path):
    arguments = ("float64", "float32")
    run_python(EVERYTHING, 3, 2, tmp_path / "compiled.npz", *arguments)
    run_python(EVERYTHING, 3, 2, tmp_path / "python.npz", *arguments, NUMBA_DISABLE_JIT=1)
    assert_same(tmp_path / "compiled.npz", tmp_path / "python.npz")

    with np.load(tmp_path / "python.npz") as numbers:
        wrong = dict(numbers)
    wrong["float64 tanh rk4 state"] += 1e-11
    np.savez(tmp_path / "wrong.npz", **wrong)
    with pytest.raises(AssertionError, match="float64 tanh rk4 state"):
        assert_same(tmp_path / "compiled.npz", tmp_path / "wrong.npz")


BEYOND = """
import numba, numpy as np
@numba.njit
def inner(x, i):
    x[i] = 1
@numba.njit(parallel=True)
def outer(x, i):
    for k in numba.prange(2):
        inner(x, i + k)
outer(np.zeros(4), {})
"""


@pytest.mark.slow  # compiles everything once more
def test_no_index_is_out_of_bounds(run_python, numba_cache, tmp_path):
    cache = numba_cache("boundscheck")
    run_python(EVERYTHING, 5, 11, tmp_path / "plain.npz", "float64")
    run_python(EVERYTHING, 5, 11, tmp_path / "checked.npz", "float64", NUMBA_BOUNDSCHECK=1, NUMBA_CACHE_DIR=cache)
    assert_same(tmp_path / "plain.npz", tmp_path / "checked.npz")


def test_bounds_are_checked_inside_threads_too(run_python):
    run_python(BEYOND.format(1), NUMBA_BOUNDSCHECK=1)
    with pytest.raises(AssertionError, match="IndexError"):
        run_python(BEYOND.format(4), NUMBA_BOUNDSCHECK=1)
