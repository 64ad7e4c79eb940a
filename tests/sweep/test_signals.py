"""Ctrl-C, SIGTERM and SIGHUP while the command runs: a line, an exit code, whole files, and a folder to go on with."""

import json
import os
import signal
import subprocess
import sys

import pytest

from fasthop.sweep.read import read
from fasthop.sweep.run import run, table
from sweep.coins import REGISTRY
from sweep.coins import spec as coins

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="such signals are of POSIX")

ENDS = {"SIGINT": ("interrupted", 130), "SIGTERM": ("interrupted by SIGTERM", 143)}
ENDS["SIGHUP"] = "interrupted by SIGHUP", 129

#: Coins of which those from realisation 8 on wait for a trajectory that never ends; `python -m fasthop` with them.
COMMAND = """
import importlib.util, os, runpy, signal, sys
{before}
def rows(task, realisations, seed):
    from sweep.coins import COINS
    import fasthop as fh
    if max(realisations) >= 8:
        print("ready", flush=True)
        {endless}
    return COINS.rows(task, realisations, seed)

class Registry(dict):
    def __missing__(self, name):
        from sweep.coins import COINS
        return COINS._replace(rows=rows)

    def __contains__(self, name):
        return True

module = importlib.util.module_from_spec(importlib.util.find_spec("fasthop.experiments"))
module.EXPERIMENTS = Registry()
sys.modules["fasthop.experiments"] = module
runpy.run_module("fasthop", run_name="__main__", alter_sys=True)
"""
SETTLE = "fh.settle(fh.Memory([[2.0, 3.0], [-3.0, 2.0]]), [[1.0, 0.5]], t_max=1e18, dt=0.01)"

#: Sends a signal when a module is about to be imported.
AT_IMPORT = """
def hook(event, arguments):
    if event == "import" and arguments[0] == {module!r}:
        os.kill(os.getpid(), signal.{name})
sys.addaudithook(hook)
"""

#: Sends a signal when numba begins to compile, with an empty cache.
AT_COMPILING = """
def listen():
    from numba.core import event
    class Listener(event.Listener):
        def on_start(self, event):
            os.kill(os.getpid(), signal.SIGINT)
        def on_end(self, event):
            pass
    event.register("numba:compile", Listener())
"""


def start(*arguments, before="", endless=SETTLE, ignored=(), **environment):
    def ignore():
        for name in ignored:
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    code = COMMAND.format(before=before, endless=endless)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=ignore,
    )


def goes_on(out):
    """The folder is free, what it holds is whole, and the rest is computed."""
    left = read(out, registry=REGISTRY)
    assert 0 < len(left) < len(table(coins(40), REGISTRY))
    assert not list((out / "partial").glob("*"))
    run(coins(40), out, registry=REGISTRY)
    found, due = read(out, registry=REGISTRY), table(coins(40), REGISTRY)
    assert found.drop(columns="task_id").equals(due.drop(columns="task_id"))


@pytest.fixture
def asked(tmp_path):
    spec, out = tmp_path / "sweep.toml", tmp_path / "out"
    spec.write_text('experiment = "coins"\nseed = 7\n[coin]\nbias = [0.2, 0.5]\n[run]\nrealisations = 40\n')
    return ["run", str(spec), "--out", str(out)], out


@pytest.mark.parametrize("name", ENDS)
def test_a_sweep_is_finished_as_far_as_it_is(asked, name):
    arguments, out = asked
    running = start(*arguments)
    assert running.stdout.readline() == "ready\n"
    running.send_signal(getattr(signal, name))
    _, errors = running.communicate(timeout=300)
    sentence, code = ENDS[name]
    assert errors == f"fasthop: {sentence}; what is finished is kept, go on with: fasthop {' '.join(arguments)}\n"
    assert running.returncode == code
    assert json.loads((out / "manifest.json").read_text())["runs"][-1]["ended"] == "KeyboardInterrupt"
    goes_on(out)


def test_what_python_cannot_interrupt_is_not_waited_for(asked):
    """The second of two such calls would keep the process for ever."""
    arguments, out = asked
    running = start(*arguments, endless="import threading; threading.Lock().acquire() and threading.Event().wait()")
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=300)
    assert errors.startswith("fasthop: interrupted; what is finished is kept")
    assert running.returncode == 130
    goes_on(out)


def test_ctrl_c_while_kernels_are_compiled(asked, tmp_path):
    arguments, out = asked
    endless = f"listen(); {SETTLE}"
    running = start(*arguments, before=AT_COMPILING, endless=endless, NUMBA_CACHE_DIR=str(tmp_path / "empty"))
    output, errors = running.communicate(timeout=300)
    assert output == "ready\n"
    assert errors == f"fasthop: interrupted; what is finished is kept, go on with: fasthop {' '.join(arguments)}\n"
    assert running.returncode == 130
    goes_on(out)


MODULES = ["fasthop.cli", "numpy", "pandas", "pyarrow", "numba", "fasthop.sweep.run", "fasthop.sweep.store"]


@pytest.mark.parametrize(
    ("module", "name"), [*((module, "SIGINT") for module in MODULES), ("numba", "SIGTERM"), ("pandas", "SIGHUP")]
)
def test_signals_before_there_is_anything_to_finish(asked, module, name):
    arguments, out = asked
    running = start(*arguments, before=AT_IMPORT.format(module=module, name=name))
    sentence, code = ENDS[name]
    assert running.communicate(timeout=300) == ("", f"fasthop: {sentence}.\n")
    assert running.returncode == code
    assert not out.exists()


def test_what_the_parent_has_ignored_stays_so(asked):
    """As nohup does, and a shell that begins a job in the background of a script."""
    arguments, out = asked
    running = start(*arguments, ignored=["SIGINT", "SIGHUP"])
    assert running.stdout.readline() == "ready\n"
    for number in (signal.SIGINT, signal.SIGHUP):
        running.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            running.communicate(timeout=1)
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=300)
    assert errors.startswith("fasthop: interrupted by SIGTERM; what is finished is kept")
    assert running.returncode == 143
    goes_on(out)


def test_a_second_ctrl_c_leaves_no_traceback(asked):
    arguments, out = asked
    running = start(*arguments)
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=300)
    assert running.returncode in (130, 143)
    assert "Traceback" not in errors
    goes_on(out)
