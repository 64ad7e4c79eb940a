"""Processes that are forked from one whose threads have started."""

import os
import subprocess
import sys

import pytest

FORK = """
import multiprocessing, sys
import fasthop as fh

def norm(seed):
    return float(fh.goe_extremes(16, 2, seed=seed).norm.mean())

if __name__ == "__main__":
    method, before = sys.argv[1:]
    expected = [norm(1), norm(2)] if before == "started" else None
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map_async(norm, [1, 2])
        print(found.get(timeout=3600) == (expected or [norm(1), norm(2)]))
"""


def says(tmp_path, *arguments, **environment):
    script = tmp_path / "script.py"
    script.write_text(FORK, encoding="utf-8")
    path = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no such process")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_forked_process_works(tmp_path, layer):
    assert says(tmp_path, "fork", "started", NUMBA_THREADING_LAYER=layer) == "True"
    assert says(tmp_path, "fork", "not started", NUMBA_THREADING_LAYER=layer) == "True"


def test_spawned_process_works(tmp_path):
    assert says(tmp_path, "spawn", "started") == "True"
