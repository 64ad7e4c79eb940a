"""Real processes that are killed, and many of them on one sweep: always the same table."""

import hashlib
import json
import random
import subprocess
import time

import pytest

from fasthop.sweep import store
from fasthop.sweep.merge import compact, merge
from fasthop.sweep.read import read
from fasthop.sweep.run import run
from fasthop.sweep.verify import verify
from sweep.coins import REGISTRY
from sweep.processes import start

#: Kills in a row.
KILLS = 20


@pytest.fixture(autouse=True)
def coins(monkeypatch):
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", REGISTRY)


def digest(folder):
    """One hash of every cell of a sweep."""
    return hashlib.sha256(read(folder).to_csv(index=False).encode()).hexdigest()


@pytest.fixture
def expected(toml, tmp_path):
    run(toml, tmp_path / "whole", registry=REGISTRY)
    return digest(tmp_path / "whole")


@pytest.mark.slow
def test_killed_again_and_again_a_sweep_loses_and_doubles_nothing(toml, tmp_path, expected):
    """Kill −9 at random moments, from the start of the process on; what was on the disk stays, and counts once."""
    out, moments, there = tmp_path / "out", random.Random(0), 0
    for _ in range(KILLS):
        # A chunk takes 20 ms and is written at once. After four of them it waits for its end: it never sees the last.
        running = start("run", toml, "--out", out, COINS_PAUSE=0.02, COINS_FLUSH=0, COINS_CHUNKS=4)
        time.sleep(0.3 * moments.random())
        wanted = there + moments.choice([0, 0, 1, 2, 4])
        while len(store.table_files(out)) < wanted:
            assert running.poll() is None
            time.sleep(0.001)
        time.sleep(0.03 * moments.random())
        running.kill()
        running.communicate()
        now = len(store.table_files(out))
        assert now >= there
        there = now
        if there:
            assert len(read(out)) == 8 * there  # whole chunks of four realisations, two rows each
    assert 0 < there <= 4 * KILLS < 90
    report = run(toml, out, registry=REGISTRY)
    assert (report.skipped, report.chunks) == (there, 90 - there)
    assert digest(out) == expected
    assert verify(out, sample=5).problems == ()
    entries = store.read_manifest(out)["runs"]
    assert entries[-1]["ended"] == "done"
    assert all("ended" not in entry for entry in entries[:-1])
    compact(out)
    assert digest(out) == expected


def test_shards_at_once_one_of_them_killed(toml, tmp_path, expected):
    folders = [tmp_path / f"shard {number}" for number in (1, 2, 3)]
    arguments = [("run", toml, "--out", folder, "--shard", f"{n}/3") for n, folder in enumerate(folders, 1)]
    chunks = ("inf", 20, "inf")  # of 30 the second computes so many, and is killed on the way
    running = [
        start(*some, COINS_PAUSE=0.01, COINS_FLUSH=0, COINS_CHUNKS=most)
        for some, most in zip(arguments, chunks, strict=True)
    ]
    while len(store.table_files(folders[1])) < 3:
        assert running[1].poll() is None
        time.sleep(0.01)
    running[1].kill()
    for one in running:
        one.communicate()
    start(*arguments[1]).communicate()
    for number, order in enumerate([(2, 0, 1, 2), (1, 1, 2, 0)]):
        out = tmp_path / f"merged {number}"
        merge([folders[place] for place in order], out)
        assert digest(out) == expected
        assert verify(out).problems == ()


def test_read_only_folder_is_one_sentence(toml, tmp_path, small_disk):
    out = small_disk / "out"
    run(toml, out, registry=REGISTRY)
    before = digest(out)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for arguments in (["run", toml, "--out", out], ["run", toml, "--out", small_disk / "new"], ["compact", out]):
        failing = start(*arguments)
        _, errors = failing.communicate()
        assert failing.returncode == 2
        place = arguments[-1]
        assert errors == f"fasthop: {place} cannot hold a sweep: Read-only file system.\n"
    assert digest(out) == before


def test_manifest_has_what_one_needs_to_know(toml, tmp_path):
    out = tmp_path / "out"
    start("run", toml, "--out", out, "--threads", 1).communicate()
    (entry,) = json.loads((out / "manifest.json").read_text())["runs"]
    assert (entry["command"], entry["threads"], entry["ended"]) == ("run", 1, "done")
    assert entry["versions"].keys() >= {"python", "numba", "numpy", "pyarrow"}
    assert entry["instruction_set"] == read(out)["instruction_set"].iloc[0]
    assert len(entry["kernel_digest"]) == 16
    assert entry["seconds"] > 0
    assert entry["host"]
