"""What must stay true of the distribution, its data and its two commands. No network."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DIGITS = ROOT / "data" / "digits.parquet"


def python(*arguments, **options):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


# --- importing ------------------------------------------------------------------------------------------------------

HELP = """
import contextlib, io
from fasthop.cli import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    sys.argv = ["fasthop", "--help"]
    main()
"""


@pytest.mark.parametrize("code", ["import fasthop", HELP], ids=["import", "help"])
def test_what_takes_seconds_to_import_is_not_imported(code):
    heavy = {"duckdb", "jax", "matplotlib", "numba", "pandas", "polars", "pyarrow", "scipy"}
    done = python("-c", f"import sys\n{code}\nprint(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert not heavy & set(done.stdout.split())


# --- the wall below the engine --------------------------------------------------------------------------------------

LINTER = PROJECT["tool"]["importlinter"]
WALL = next(contract for contract in LINTER["contracts"] if contract.get("source_modules") == ["fasthop_kernels"])


def lint_imports(folder, kernel):
    """Run the wall's own contract on two made-up packages."""
    options = {key: value for key, value in LINTER.items() if key != "contracts"}
    lines = ["[tool.importlinter]", *(f"{key} = {json.dumps(value)}" for key, value in options.items())]
    lines += ["[[tool.importlinter.contracts]]", *(f"{key} = {json.dumps(value)}" for key, value in WALL.items())]
    (folder / "pyproject.toml").write_text("\n".join(lines))
    for package, text in {"fasthop": "", "fasthop_kernels": kernel}.items():
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text(text)
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return python("-c", code, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)})


def test_wall_lets_numbers_through(tmp_path):
    done = lint_imports(tmp_path, "import numba\nimport numpy\n")
    assert done.returncode == 0, done.stdout + done.stderr


def test_wall_stops_everything_else(tmp_path):
    assert {"fasthop", "matplotlib", "pandas", "pyarrow", "scipy"} <= set(WALL["forbidden_modules"])
    done = lint_imports(tmp_path, "\n".join(f"import {module}" for module in WALL["forbidden_modules"]))
    assert done.returncode == 1, done.stdout + done.stderr
    for module in WALL["forbidden_modules"]:
        assert f"fasthop_kernels -> {module} " in done.stdout


# --- the digits -----------------------------------------------------------------------------------------------------


def test_digits_are_what_their_readme_says():
    stated = re.search(r"([0-9a-f]{64})  digits\.parquet", (ROOT / "data" / "README.md").read_text(encoding="utf-8"))
    assert stated[1] == hashlib.sha256(DIGITS.read_bytes()).hexdigest()


# Right side up and not mirrored: the first image, ink in quarters.
A_ZERO = ["  .Oo   ", "  OOoO. ", "  O  oo ", " .O  oo ", " .o  oo ", " .o  O. ", "  O.oO  ", "  .Oo   "]


def test_digits_are_the_1797_images_of_the_test_part():
    table = pq.read_table(DIGITS)
    pixels = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    assert table.column_names == ["digit", *pixels]
    assert table.schema.types == [pa.int8()] + [pa.uint8()] * 64
    images = np.column_stack([table[name].to_numpy() for name in pixels])
    assert images.shape == (1797, 64)
    assert (images.min(), images.max()) == (0, 16)
    digit = table["digit"].to_numpy()
    assert np.bincount(digit).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert digit[:10].tolist() == list(range(10))
    first = ["".join(" .oO@"[value // 4] for value in row) for row in images[0].reshape(8, 8)]
    assert first == A_ZERO


def test_digits_read_the_same_everywhere():
    import duckdb
    import pandas as pd
    import polars as pl

    table = pq.read_table(DIGITS)
    expected = np.column_stack([column.to_numpy() for column in table.columns[1:]])
    relation = duckdb.read_parquet(str(DIGITS)).select("* exclude (digit)")
    for images in (
        pd.read_parquet(DIGITS).filter(like="pixel").to_numpy(),
        pl.read_parquet(DIGITS).drop("digit").to_numpy(),
        np.column_stack(list(relation.fetchnumpy().values())),
    ):
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(images, expected)


# --- what is shipped ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    done = python("-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder


def test_wheel_holds_both_packages_and_the_digits(shipped):
    with zipfile.ZipFile(next(shipped.glob("*.whl"))) as wheel:
        names = wheel.namelist()
        assert wheel.read("fasthop/data/digits.parquet") == DIGITS.read_bytes()
    assert {"fasthop/__init__.py", "fasthop_kernels/__init__.py", "fasthop/data/README.md"} <= set(names)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fasthop", "fasthop_kernels"}
    assert not [name for name in names if "__pycache__" in name]


def test_sdist_holds_what_tests_need(shipped):
    with tarfile.open(next(shipped.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"LICENSE", "dev.py", "data/digits.parquet", "data/digits.py", "tests/test_packaging.py"} <= names
    assert not [name for name in names if "__pycache__" in name]


# --- dev.py ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["install"], ["check", "everything"]])
def test_wrong_usage_of_dev_exits_2_and_sets_nothing_up(tmp_path, arguments):
    copy = tmp_path / "dev.py"
    copy.write_bytes((ROOT / "dev.py").read_bytes())
    done = python(copy, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("Set up .venv")
    assert [path.name for path in tmp_path.iterdir()] == ["dev.py"]
