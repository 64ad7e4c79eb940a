"""Many machines: the same bits, also when one of them dies."""

import contextlib
import os
import signal
import time

import pandas as pd
import pytest
from distributed import LocalCluster

from fasthop.cli import main
from fasthop.sweep import cluster as clusters
from fasthop.sweep import store
from fasthop.sweep.errors import ClusterError
from fasthop.sweep.read import read
from fasthop.sweep.run import run, table
from fasthop.sweep.verify import verify
from sweep.coins import COINS, REGISTRY, spec

SPEC = spec(realisations=120)
RULE = {**spec(bias=[0.02, 0.5, 0.9]), "run": {"stop": {"half_width": 0.05, "min": 8, "max": 200}}}


@pytest.fixture(autouse=True)
def coins(monkeypatch):
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", REGISTRY)


@contextlib.contextmanager
def local_cluster(threads_per_worker=1):
    # Every worker is a process of its own, started anew by its nanny where it dies.
    options = {"n_workers": 2, "threads_per_worker": threads_per_worker, "processes": True}
    with LocalCluster(**options, dashboard_address=":0", silence_logs=50) as started:
        yield started


@pytest.fixture
def local(monkeypatch):
    monkeypatch.setenv("COINS_PAUSE", "0.02")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    with local_cluster() as started:
        yield started


def test_two_workers_one_of_them_killed_and_a_rule(local, tmp_path):
    """One cluster for all, because starting it takes longer than the sweeps."""
    killed = []

    @contextlib.contextmanager
    def watch(spec, left):
        def show(step):
            if step.done == 5:  # both are computing: a chunk is on its way to each worker at any time
                killed.append(local.workers[0].pid)
                os.kill(killed[0], signal.SIGKILL)

        yield show

    report = run(SPEC, tmp_path / "killed", watch, REGISTRY, dask=local.scheduler_address)
    assert len(killed) == 1
    assert (report.chunks, report.skipped) == (60, 0)
    pd.testing.assert_frame_equal(read(tmp_path / "killed"), table(SPEC, REGISTRY), check_exact=True)
    assert verify(tmp_path / "killed").problems == ()
    (entry,) = store.read_manifest(tmp_path / "killed")["runs"]
    assert entry["dask"] == local.scheduler_address
    assert run(SPEC, tmp_path / "killed", registry=REGISTRY, dask=local.scheduler_address).chunks == 0

    run(RULE, tmp_path / "rule", registry=REGISTRY, dask=local.scheduler_address)
    pd.testing.assert_frame_equal(read(tmp_path / "rule"), table(RULE, REGISTRY), check_exact=True)

    failing = {"coins": COINS._replace(rows=broken_rows)}
    report = run(SPEC, tmp_path / "some fail", registry=failing, dask=local.scheduler_address)
    assert [one.realisation for one in report.failed] == [5, 90] * 2
    assert {one.reason for one in report.failed} == {"ZeroDivisionError: division by zero (test_cluster.py:81)"}
    assert run(SPEC, tmp_path / "some fail", registry=REGISTRY, dask=local.scheduler_address).chunks == 4
    pd.testing.assert_frame_equal(read(tmp_path / "some fail"), table(SPEC, REGISTRY), check_exact=True)


def broken_rows(task, realisations, seed):
    if {5, 90} & set(realisations):
        raise ZeroDivisionError("division by zero")
    return COINS.rows(task, realisations, seed)


def test_scheduler_that_is_not_there_makes_no_rows(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(clusters, "PATIENCE", 0.2)
    (tmp_path / "sweep.toml").write_text('experiment="coins"\n[coin]\nbias=0.5\n[run]\nrealisations=3\n')
    arguments = ["run", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out"), "--dask", "tcp://127.0.0.1:9"]
    assert main(arguments) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("fasthop: no workers at tcp://127.0.0.1:9: ")
    assert errors.count("\n") == 1


def test_worker_with_other_kernels_computes_nothing():
    with pytest.raises(ClusterError, match="a worker has other kernels"):
        clusters.computed(COINS.rows, {}, [0], 7, "0" * 16)


def test_worker_of_several_task_threads_is_refused(monkeypatch, tmp_path):
    began = time.monotonic()
    with local_cluster(2) as started, pytest.raises(ClusterError, match="2 task threads: start it with --nthreads 1"):
        run(SPEC, tmp_path / "out", registry=REGISTRY, dask=started.scheduler_address)
    assert time.monotonic() - began < 60
