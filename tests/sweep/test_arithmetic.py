"""Rows say whose arithmetic they have: the BLAS's kernels as well as ours, and kernels that were not compiled."""

import json
import os
import re
import subprocess
import sys

import pytest
from threadpoolctl import threadpool_info

from fasthop.cli import main
from fasthop.sweep.machine import blas, instruction_set, machine
from fasthop.sweep.merge import merge
from fasthop.sweep.read import read
from fasthop.sweep.run import run
from fasthop.sweep.store import table_files
from fasthop.sweep.verify import verify
from fasthop_kernels.machine import lanes
from sweep.coins import REGISTRY, spec
from sweep.damage import alter, alter_manifest

SPEC = {
    "experiment": "capacity",
    "seed": 3,
    "memory": {"neurons": [20, 50], "rule": ["hebb", "pseudo-inverse", "storkey"]},
    "patterns": {"count": 3},
    "cues": {"flip": 0.2, "per_realisation": 5},
    "run": {"realisations": 4},
}
RUN = "import sys, json, fasthop; fasthop.run(json.loads(sys.argv[1]), sys.argv[2])"


def architectures():
    return {library["architecture"] for library in threadpool_info() if library["internal_api"] == "openblas"}


def run_elsewhere(folder, **environment):
    """Run the sweep in a process with another environment."""
    command = [sys.executable, "-c", RUN, json.dumps(SPEC), str(folder)]
    subprocess.run(command, env={**os.environ, **environment}, check=True)
    return read(folder)


@pytest.fixture(scope="module")
def other():
    """A processor whose kernels every x86 OpenBLAS has, and that this machine's OpenBLAS did not choose."""
    if not architectures():
        pytest.skip("no OpenBLAS here: no other one chooses its kernels when it starts")
    return "Nehalem" if architectures() != {"Nehalem"} else "Prescott"


def test_name_holds_kernels_and_blas():
    assert instruction_set() == "+".join([lanes.instruction_set(), *sorted(architectures())])
    assert machine()["blas"] == blas()
    loaded = [library for library in threadpool_info() if library["user_api"] == "blas"]
    assert {library["version"] for library in blas()} == {library["version"] for library in loaded}


def test_another_blas_has_another_name_and_is_not_compared(tmp_path, other):
    here, there = tmp_path / "here", tmp_path / "there"
    run(SPEC, here)
    found, due = run_elsewhere(there, OPENBLAS_CORETYPE=other), read(here)
    assert found["instruction_set"].unique().tolist() == [f"{lanes.instruction_set()}+{other}"]
    report = verify(there, sample=100)
    assert (report.problems, report.recomputed) == ((), 0)
    assert "are not of this machine's instruction set" in report.notes[0]
    report = merge([here, there], tmp_path / "both")
    assert report.repeated == 24
    assert report.differing <= 24

    # Steps are rounded to ten bits and Hebb's sums are of whole numbers: nothing of a BLAS is in these rows.
    own = due["rule"] == "hebb"
    names = [name for name in due if name not in ("task_id", "instruction_set")]
    assert found[own][names].equals(due[own][names])


def test_uncompiled_kernels_are_plain(tmp_path):
    code = "from fasthop.sweep.machine import instruction_set; print(instruction_set())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "+".join(["plain", *instruction_set().split("+")[1:]])


def test_info_names_it(capsys):
    assert main(["info"]) == 0
    assert re.search(rf"^instruction set +{re.escape(instruction_set())}$", capsys.readouterr().out, re.MULTILINE)


def test_other_versions_are_named_where_rows_differ(tmp_path, monkeypatch):
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", REGISTRY)
    folder = tmp_path / "a"
    run(spec(realisations=10), folder, registry=REGISTRY)
    alter_manifest(folder, lambda manifest: manifest["runs"][0]["versions"].update(numpy="1.0"))
    assert verify(folder, sample=100).problems == ()
    for path in table_files(folder):
        alter(path, "count", lambda values: [value + 1 for value in values])
    said = verify(folder, sample=100).problems
    assert said
    assert all(re.search(r"gives, which may be the doing of numpy 1\.0 \(here [\d.]+\)\.$", line) for line in said)
