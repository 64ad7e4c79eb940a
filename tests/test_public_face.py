"""The public names: each in one place, found, and known to editors."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fasthop as fh
from fasthop.stubs import stubs

ROOMS = {name: getattr(fh, name) for name in fh._ROOMS}
LATE = {name: room for name, room in ROOMS.items() if hasattr(room, "_HOMES")}
TOP = [name for names in fh._HOMES.values() for name in names]


def test_what_a_user_starts_with_is_few():
    functions = [name for name in TOP if name not in fh._HOMES["fasthop.model.activations"]]
    assert len(functions) < 60
    assert len(TOP) == len(set(TOP))
    assert dir(fh) == fh.__all__ == sorted([*TOP, *fh._ROOMS])


def test_every_name_has_one_place():
    places = [*TOP, *(name for room in ROOMS.values() for name in room.__all__)]
    assert sorted({name for name in places if places.count(name) > 1}) == []


@pytest.mark.parametrize("package", [fh, *LATE.values()], ids=lambda package: package.__name__)
def test_names_are_found_and_hidden_by_no_module(package):
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    for home, names in package._HOMES.items():
        importlib.import_module(home)
        for name in names:
            assert name not in modules, name
            found = getattr(package, name)
            assert found.__doc__, name
            assert getattr(found, "__module__", home) == home, name


def test_modules_that_are_rooms_say_their_names():
    for name in set(ROOMS) - set(LATE):
        public = {
            key for key, value in vars(ROOMS[name]).items() if getattr(value, "__module__", "") == f"fasthop.{name}"
        }
        assert ROOMS[name].__all__ == sorted(key for key in public if not key.startswith("_"))


def test_an_unknown_name():
    for package in (fh, fh.geometry):
        with pytest.raises(AttributeError, match=rf"^module '{package.__name__}' has no attribute 'setle'$"):
            package.setle  # noqa: B018


def test_stubs_are_those_of_the_tables():
    for path, text in stubs().items():
        assert path.read_text(encoding="utf-8") == text, "run python -m fasthop.stubs"
    assert len(stubs()) == 1 + len(LATE)


def test_a_type_checker_knows_the_names(tmp_path):
    code = "import fasthop as fh\nreveal_type(fh.settle)\nreveal_type(fh.geometry.radii)\nfh.setle\n"
    (tmp_path / "user.py").write_text(code)
    root = Path(fh.__file__).parents[1]
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), str(tmp_path / "user.py")]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True).stdout
    assert re.search(r"user\.py:2: note: Revealed type is .*def \(memory: fasthop\.model\.memory\.Memory", said), said
    assert re.search(r"user\.py:3: note: Revealed type is .*def \(memory: fasthop\.model\.memory\.Memory", said), said
    assert re.search(r"user\.py:4: error: Module has no attribute .setle.", said), said


def test_importing_it_loads_nothing_heavy():
    code = "import sys, fasthop; print(*sorted({'numba', 'numpy', 'pandas', 'scipy'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""
