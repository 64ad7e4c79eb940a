"""What the sources of the kernels may and may not contain, read from their syntax trees."""

import ast
import sys
from pathlib import Path

import pytest

import fasthop_kernels

PACKAGE = Path(fasthop_kernels.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
#: Formulas and steps: what a GPU could run as it stands.
STEP_FILES = [PACKAGE / f"dynamics/{name}.py" for name in ("activations", "flows", "steppers", "products")]

HOUSE = {"kernel", "formula"}
ALLOCATORS = {
    *("empty", "zeros", "ones", "full", "empty_like", "zeros_like", "ones_like", "full_like", "array", "arange"),
    *("copy", "astype", "concatenate", "stack", "repeat", "tile", "linspace", "eye", "ascontiguousarray"),
    *("dict", "list", "set", "str", "print", "sorted"),
}
SYNTAX = {
    **dict.fromkeys([ast.Dict, ast.DictComp, ast.Set, ast.SetComp, ast.List, ast.ListComp, ast.GeneratorExp], "object"),
    **dict.fromkeys([ast.Try, ast.Raise, ast.With, ast.Assert], "exception"),
    **dict.fromkeys([ast.JoinedStr], "string"),
    **dict.fromkeys([ast.Lambda, ast.FunctionDef, ast.ClassDef, ast.Yield, ast.Import, ast.ImportFrom], "definition"),
}
MODULES = {"linalg", "random", "fft"}


def name_of(node):
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)


def compiled_functions(tree):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and HOUSE & {name_of(decorator) for decorator in node.decorator_list}:
            yield node


def misdeeds(source):
    """Everything in compiled functions that allocates, fails or knows words, as 'function: what'."""
    found = []
    for function in compiled_functions(ast.parse(source)):
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        for node in (node for statement in body for node in ast.walk(statement)):
            kind = SYNTAX.get(type(node))
            if isinstance(node, ast.Call) and name_of(node.func) in ALLOCATORS:
                kind = name_of(node.func)
            elif isinstance(node, ast.Attribute) and node.attr in MODULES:
                kind = node.attr
            elif isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
                kind = "string"
            if kind:
                found.append(f"{function.name}: {kind}")
    return found


@pytest.mark.parametrize("path", [*STEP_FILES, PACKAGE / "dynamics/ensemble.py"], ids=lambda path: path.stem)
def test_steps_allocate_nothing_and_know_no_exceptions_or_words(path):
    source = path.read_text(encoding="utf-8")
    assert list(compiled_functions(ast.parse(source)))
    assert misdeeds(source) == []


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("x = np.empty(3)", "empty"),
        ("x = np.zeros_like(y)", "zeros_like"),
        ("x = y.copy()", "copy"),
        ("x = {}", "object"),
        ("x = [a for a in y]", "object"),
        ("try:\n        y[0] = 1\n    except IndexError:\n        return", "exception"),
        ("raise ValueError", "exception"),
        ("x = 'tanh'", "string"),
        ("x = f'{y}'", "string"),
        ("x = np.linalg.norm(y)", "linalg"),
        ("x = np.random.normal()", "random"),
        ("x = lambda a: a", "definition"),
    ],
)
def test_every_misdeed_is_found(statement, kind):
    source = f'@kernel\ndef f(y):\n    """Words are welcome here."""\n    {statement}\n'
    assert f"f: {kind}" in misdeeds(source)
    assert misdeeds(source.replace("@kernel\n", "")) == []


# --- one way to compile ---------------------------------------------------------------------------------------------


def own_ways_to_compile(source):
    """Uses of numba's decorators, and flags for fast mathematics, anywhere in a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Name, ast.Attribute)) and name_of(node) in {
            "jit",
            "njit",
            "vectorize",
            "guvectorize",
            "prange",
        }:
            found.append(name_of(node))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "numba":
            found += [
                name.name
                for name in node.names
                if "jit" in name.name or "vectorize" in name.name or "prange" in name.name
            ]
        if isinstance(node, ast.keyword) and node.arg == "fastmath" and name_of(node.value) != "FASTMATH":
            found.append("fastmath")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_the_house_decorators_compile(path):
    found = own_ways_to_compile(path.read_text(encoding="utf-8"))
    assert set(found) <= ({"njit"} if path.name == "jit.py" else set())


@pytest.mark.parametrize(
    "sample",
    [
        "@numba.njit\ndef f(): ...",
        "from numba import njit",
        "from numba import prange",
        "@kernel(fastmath=True)\ndef f(): ...",
    ],
)
def test_another_way_to_compile_is_found(sample):
    assert own_ways_to_compile(sample)


# --- threads that are told to stop ----------------------------------------------------------------------------------


def deaf_entry_points(source):
    """Functions that threads call side by side, and that do not ask whether to stop."""
    found = []
    for function in compiled_functions(ast.parse(source)):
        names = {argument.arg for argument in function.args.args}
        called = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        asked = [node for node in called if name_of(node.func) == "stopped" and [*map(name_of, node.args)] == ["stop"]]
        if not function.name.startswith("_") and names & {"worker", "taken", "queue"} and not asked:
            found.append(function.name)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_threads_call_asks_whether_to_stop(path):
    assert deaf_entry_points(path.read_text(encoding="utf-8")) == []


def test_an_entry_point_that_does_not_ask_is_found():
    source = "@kernel\ndef work(worker, x, stop):\n    while {}:\n        x[worker] += 1\n"
    assert deaf_entry_points(source.format("True")) == ["work"]
    assert deaf_entry_points(source.format("not stopped(stop)")) == []
    files = [path for path in FILES if "worker" in path.read_text(encoding="utf-8")]
    assert {"adjoint", "energies", "ensemble", "enumeration", "goe", "hessenberg"} <= {path.stem for path in files}


def test_fast_mathematics_is_contraction_and_unsigned_zero():
    from fasthop_kernels.dynamics import activations, ensemble
    from fasthop_kernels.machine import jit

    assert sorted(jit.FASTMATH) == ["contract", "nsz"]
    for function in (activations.tanh_g, activations.activate, ensemble.work):
        assert function.targetoptions["fastmath"] == jit.FASTMATH
        assert function.targetoptions["error_model"] == "numpy"


# --- imports --------------------------------------------------------------------------------------------------------

ALLOWED = {"fasthop_kernels", "llvmlite", "numba", "numpy", *sys.stdlib_module_names}


def foreign_imports(source):
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0] if node.level == 0 else ".")
    return found - ALLOWED


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_kernels_import_only_numba_and_numpy(path):
    assert foreign_imports(path.read_text(encoding="utf-8")) == set()


def test_a_foreign_import_is_found():
    sample = ["import math", "import scipy.special", "from pandas import DataFrame", "from . import x"]
    sample += ["def f():", "    import fasthop"]
    assert foreign_imports("\n".join(sample)) == {"scipy", "pandas", "fasthop", "."}
