"""What a user does: a spec of one's own on the command line, then the tables in pandas, polars and DuckDB."""

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest

import fasthop as fh
from fasthop import demo

SPEC = """
experiment = "capacity"
seed = 11

[memory]
neurons = [9, 30]
rule = ["hebb", "pseudo-inverse"]

[patterns]
load = { from = 0.1, to = 0.3, by = 0.1 }

[cues]
flip = [0.0, 0.1]
per_realisation = 20

[run]
realisations = 12
tolerance = 1e-6
"""


README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def test_every_python_example_of_the_readme_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert len(blocks) >= 4
    assert "0.6189" in capsys.readouterr().out  # ‖W‖ max Λ of the hierarchical memory


def fasthop(*arguments):
    command = [sys.executable, "-m", "fasthop", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sweep")
    (root / "spec.toml").write_text(SPEC)
    for threads in (1, 2):
        done = fasthop("run", root / "spec.toml", "--out", root / str(threads), "--threads", threads)
        assert (done.returncode, done.stderr) == (0, "")
    return root / "1", root / "2"


def test_a_sweep_is_the_same_table_on_one_thread_and_on_two(folders):
    one, two = (fh.read(folder) for folder in folders)
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert len(one) == 2 * 2 * 3 * 2 * 12


def test_every_reader_finds_the_same_rows(folders):
    files = str(folders[0] / "tables" / "*.parquet")
    by = ["task_id", "realisation"]
    ours = fh.read(folders[0]).sort_values(by).reset_index(drop=True)
    theirs = {
        "pandas": pd.read_parquet(folders[0] / "tables"),
        "polars": pl.read_parquet(files).to_pandas(),
        "duckdb": duckdb.sql(f"select * from '{files}'").df(),
    }
    for name, frame in theirs.items():
        assert list(frame.columns) == list(ours.columns), name
        frame = frame.sort_values(by).reset_index(drop=True)
        for column in ours:
            assert frame[column].tolist() == ours[column].tolist(), (name, column)


def test_the_python_call_gives_the_same_rows(folders):
    sections = {
        "memory": {"neurons": [9, 30], "rule": ["hebb", "pseudo-inverse"]},
        "patterns": {"load": {"from": 0.1, "to": 0.3, "by": 0.1}},
        "cues": {"flip": [0.0, 0.1], "per_realisation": 20},
        "run": {"realisations": 12, "tolerance": 1e-6},
    }
    pd.testing.assert_frame_equal(fh.capacity(seed=11, **sections), fh.read(folders[0]), check_exact=True)


def test_a_misspelled_activation_is_one_sentence_and_no_folder(tmp_path):
    (tmp_path / "spec.toml").write_text(SPEC.replace("neurons", 'activation = "tahn"\nneurons'))
    done = fasthop("run", tmp_path / "spec.toml", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("fasthop: memory.activation cannot be")
    assert "'tahn'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_the_demo_compiles_ahead_is_there():
    demo.compile_ahead()  # its own process is silent, and would fail unseen


def test_the_demo_recalls_digits_and_finds_the_basins(tmp_path, capsys):
    demo.main(tmp_path)
    told = capsys.readouterr().out
    digits = fh.read(tmp_path / "digits", summary=True).set_index(["rule", "flip"])["exact"]
    assert digits["pseudo-inverse", 0.1] == pytest.approx(0.993, abs=0.01)
    assert digits["hebb", 0.1] < 0.3
    assert f"{digits['pseudo-inverse', 0.1]:.3f}" in told
    shares = fh.read(tmp_path / "basins", summary=True)["share"]
    assert shares.tolist() == pytest.approx([0.614, 0.386], abs=3 * 0.008)
    capacity = fh.read(tmp_path / "capacity", summary=True).groupby("neurons")["retrieved"]
    assert (capacity.max() == 1).all()
    assert (capacity.min() < 0.1).all()
    for name in ("digits/capacity.png", "capacity/capacity.png", "basins/basins.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
