"""Many machines: the same bits, also when one of them dies."""

import contextlib
import os
import signal
import sys
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
    assert {one.reason for one in report.failed} == {"ZeroDivisionError: division by zero (test_cluster.py:82)"}
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
    assert errors.startswith("fasthop: there is no scheduler at tcp://127.0.0.1:9 that lets this client in: ")
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_worker_with_other_kernels_computes_nothing():
    with pytest.raises(ClusterError, match="a worker has other kernels"):
        clusters.computed(COINS.rows, {}, [0], 7, "0" * 16)


def test_worker_of_several_task_threads_is_refused(monkeypatch, tmp_path):
    began = time.monotonic()
    with local_cluster(2) as started, pytest.raises(ClusterError, match="2 task threads: start it with --nthreads 1"):
        run(SPEC, tmp_path / "out", registry=REGISTRY, dask=started.scheduler_address)
    assert time.monotonic() - began < 60
    assert not (tmp_path / "out").exists()


class Fake:
    """A client of a scheduler and one worker that have loaded this."""

    def __init__(self, scheduler, worker):
        self.scheduler, self.worker = scheduler, worker

    def wait_for_workers(self, count, timeout):
        if self.worker is None:
            raise TimeoutError

    def nthreads(self):
        return {"tcp://b:2": 1}

    def run_on_scheduler(self, function):
        if isinstance(self.scheduler, Exception):
            raise self.scheduler
        return self.scheduler

    def run(self, function, on_error):
        return {"tcp://b:2": self.worker}


HERE = clusters.loaded()


@pytest.mark.parametrize(
    ("scheduler", "worker", "words"),
    [
        (HERE, None, "the scheduler at tcp://a:1 has no workers after 60 seconds."),
        (ModuleNotFoundError("fasthop"), HERE, "the scheduler at tcp://a:1 cannot load fasthop"),
        (HERE, ModuleNotFoundError("fasthop"), "the worker tcp://b:2 cannot load fasthop"),
        (
            HERE._replace(python="3.9"),
            HERE,
            "the scheduler at tcp://a:1 has fasthop 0.1.0 on Python 3.9, and this client",
        ),
        (HERE, HERE._replace(fasthop="0.0.9"), "the worker tcp://b:2 has fasthop 0.0.9 on Python 3."),
        (HERE, HERE._replace(kernels="0" * 16), "the worker tcp://b:2 has other kernels"),
    ],
)
def test_other_versions_are_refused_before_anything_is_computed(scheduler, worker, words):
    clusters._check(Fake(HERE, HERE), "tcp://a:1")
    with pytest.raises(ClusterError, match=r"^\S.*\.$") as caught:
        clusters._check(Fake(scheduler, worker), "tcp://a:1")
    assert str(caught.value).startswith(words.replace("0.1.0", HERE.fasthop))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"", "cannot be read: it is not JSON."),
        (b"[" * 10**5, "cannot be read: it is not JSON."),
        (b"{}", "cannot be read: it has no address."),
        (b'{"address": 3}', "cannot be read: it has no address."),
    ],
)
def test_scheduler_file_that_names_none_is_waited_for_and_refused(tmp_path, monkeypatch, content, words):
    monkeypatch.setattr(clusters, "PATIENCE", 0.0)
    path = tmp_path / "scheduler.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ClusterError) as caught:
        run(SPEC, tmp_path / "out", registry=REGISTRY, dask=str(path))
    assert str(caught.value) == f"the scheduler file {path} {words}"
    assert not (tmp_path / "out").exists()


def test_dask_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "fasthop.sweep.cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"needs dask\.distributed: install fasthop\[dask\]\.$"):
        run(SPEC, tmp_path / "out", registry=REGISTRY, dask="tcp://127.0.0.1:9")
    assert not (tmp_path / "out").exists()
