"""The map of the house holds: an import that goes up, or a module that the map lacks, is found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def lint(folder):
    path = os.pathsep.join(map(str, (folder, folder / "kernels")))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", CODE], cwd=folder, capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout


@pytest.fixture
def copy(tmp_path):
    for name in ("fasthop", "kernels"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def append(path, text):
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_the_house_is_as_the_map_says(copy):
    code, said = lint(copy)
    assert code == 0, said


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("fasthop/model/weights.py", "from fasthop.model.memory import Memory"),
        ("fasthop/model/memory.py", "from fasthop.dynamics.ensemble import settle"),
        ("fasthop/states/dead.py", "from fasthop.sweep.read import read"),
        ("kernels/fasthop_kernels/machine/bits.py", "from fasthop_kernels.dynamics.tables import Tables"),
        ("kernels/fasthop_kernels/dynamics/flows.py", "import scipy"),
    ],
)
def test_an_import_that_goes_up_is_found(copy, module, line):
    append(copy / module, f"\n{line}  # noqa\n")
    code, said = lint(copy)
    assert (code, "BROKEN" in said) == (1, True), said


@pytest.mark.parametrize("place", ["fasthop", "fasthop/states", "kernels/fasthop_kernels/linear"])
def test_a_module_that_the_map_lacks_is_found(copy, place):
    (copy / place / "stranger.py").write_text('"""New."""\n')
    code, said = lint(copy)
    assert code == 1, said
    assert "stranger" in said


def test_every_room_with_several_modules_is_on_the_map():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for tree, package in ((ROOT, "fasthop"), (ROOT / "kernels", "fasthop_kernels")):
        for init in (tree / package).rglob("__init__.py"):
            modules = [*init.parent.glob("*.py"), *init.parent.glob("*/__init__.py")]
            name = ".".join(init.parent.relative_to(tree).parts)
            assert len(modules) < 4 or f'containers = ["{name}"]' in text, name
