"""What a signal's handler raises ends every long call, and the threads that worked for it end, too."""

import os
import signal
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest

from fasthop import fill, runtime
from fasthop_kernels import goe
from fasthop_kernels.mathematics import random, variates

#: Each of these takes hours or never ends. The signal comes when a thread has begun, and "stopped" is printed when all
#: threads have ended, so that nothing here depends on a clock; the seconds are an alarm.
CHILD = """
import os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor, wait
import numpy as np
import fasthop as fh
from fasthop import runtime
from fasthop.dynamics import discrete
from fasthop.equilibrium import spectra
from fasthop.equilibrium.equations import Equations
from fasthop.states.enumeration import all_exact_states, exact_states

RNG = np.random.default_rng(1)
TURN = [[2.0, 3.0], [-3.0, 2.0]]
ORBIT = fh.Memory(TURN)
AT = Equations(fh.Memory([[0.0, 1.0], [-1.0, 0.0]]), np.zeros((2, 2)))  # a goes round for ever
MATRIX = RNG.standard_normal((400, 400)) / 20
SIGNS = np.where(RNG.standard_normal((60, 30)) < 0, -1.0, 1.0)

def settle(memory, count=1):
    starts = np.full((memory.count or 1, count, memory.neurons), 0.1) + RNG.random(memory.neurons)
    return fh.settle(memory, starts if memory.count else starts[0], t_max=1e18, dt=0.01)

def adjoints():
    AT.run(AT.problem(np.ones((2, 2)), 1), AT.adjoints(), 1)

def supports(n):
    return RNG.standard_normal((2, n, n)), np.ones((2, n))

CALLS = {
    "settle": lambda: settle(ORBIT),
    "settle float32": lambda: settle(fh.Memory(TURN, dtype=np.float32)),
    "settle many": lambda: settle(fh.Memory([TURN] * 3), 100),
    "settle wide": lambda: settle(fh.Memory(np.tile(MATRIX, (4, 4))), 64),
    "settle u": lambda: settle(fh.Memory(TURN, variable="u")),
    "settle driven": lambda: settle(fh.Memory(TURN, R=[[1.0, 0.0], [0.0, 2.0]])),
    "simulate": lambda: fh.simulate(ORBIT, [[1.0, 2.0]], t_end=2.0**52, dt=1.0),
    "steps of hours": lambda: settle(fh.Memory(MATRIX, variable="u", R=fh.OrthogonalFactor("E3")), 48),
    "adjoints": adjoints,
    "supports": lambda: exact_states(supports(27)[0][0], np.ones(27), 2),
    "supports, each on its thread": lambda: all_exact_states(*supports(27)),
    "signs": lambda: discrete.Signs(np.tril(MATRIX) - np.triu(MATRIX), np.zeros(400)).settle(
        np.where(RNG.standard_normal((4000, 400)) < 0, -1.0, 1.0)
    ),
    "adatron": lambda: fh.maximal_stability(SIGNS, tolerance=1e-300, most_sweeps=2**60),
    "goe": lambda: fh.goe_extremes(10**9, 10**6),
    "eigenvalues": lambda: spectra.exact(np.broadcast_to(MATRIX, (10**6, 400, 400)), False),
    "aside": lambda: runtime.aside(lambda: runtime.on_threads(2, lambda *_: settle(ORBIT))),
}

class Watched(ThreadPoolExecutor):
    def __init__(self):
        super().__init__(100)
        self.begun, self.tasks = threading.Event(), []

    def submit(self, task, *arguments):
        def begin():
            self.begun.set()
            return task(*arguments)

        self.tasks.append(super().submit(begin))
        return self.tasks[-1]

def end(number, _):
    raise RuntimeError("a handler") if number == signal.SIGTERM else KeyboardInterrupt

def send(number, pool):
    pool.begun.wait()
    time.sleep(0.2)  # so that it is in its kernel, if that is compiled
    os.kill(os.getpid(), number)

settle(fh.Memory([[0.5]]))  # compiles what most of them run
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, end)
    for name, call in CALLS.items():
        runtime._threads = pool = Watched()
        threading.Thread(target=send, args=(number, pool), daemon=True).start()
        try:
            call()
        except (KeyboardInterrupt, RuntimeError) as error:
            told = type(error).__name__
        else:
            told = "done"
        assert not wait(pool.tasks, 300).not_done, name
        print(told, name, flush=True)
    if number == signal.SIGINT:
        CALLS = {name: CALLS[name] for name in ("settle", "aside")}
"""
NAMES = [line.split('"')[1] for line in CHILD.splitlines() if line.startswith('    "') and '": ' in line]


@pytest.fixture(scope="module")
def told():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_ends_a_call_and_its_threads(told, name):
    assert len(NAMES) == 16
    assert f"KeyboardInterrupt {name}" in told


def test_what_a_handler_raises_is_what_ends_it(told):
    assert told[-2:] == ["RuntimeError settle", "RuntimeError aside"]


def test_other_threads_than_the_main_one_stay_where_they_are():
    """There the call is made by the thread itself, whose results come as ever."""
    found = []

    def call():
        here = threading.get_ident()
        found.append(runtime.on_threads(1, lambda worker, stop: threading.get_ident() == here))

    other = threading.Thread(target=call)
    other.start()
    other.join()
    assert found == [[True]]
    assert runtime.on_threads(3, lambda worker, stop: (worker, int(stop[0]))) == [(0, 0), (1, 0), (2, 0)]


def test_aside_is_as_here():
    """With the caller's number of threads and way to meet errors of arithmetic."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with np.errstate(divide="raise"):
            assert runtime.aside(lambda x: (numba.get_num_threads(), np.geterr()["divide"], x), 5) == (1, "raise", 5)
    finally:
        numba.set_num_threads(before)


def test_a_failure_is_raised_when_all_have_ended():
    ended = []

    def task(worker, stop):
        if worker == 0:
            raise ValueError("of the first")
        ended.append(int(stop[0]))

    with pytest.raises(ValueError, match="of the first"):
        runtime.on_threads(4, task)
    assert ended == [0, 0, 0]


def test_what_a_task_calls_stops_with_it():
    """A second interrupt is not needed for calls within calls, nor is their result looked at."""
    outer, inner = threading.Event(), threading.Event()
    seen = []

    def within(worker, stop):
        inner.set()
        while not stop[0]:
            outer.wait(0.01)
        seen.append(worker)

    def send():
        inner.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=send).start()
    with pytest.raises(KeyboardInterrupt):
        runtime.aside(lambda: (runtime.on_threads(2, within), seen.append("went on")))
    while len(seen) < 2:
        outer.wait(0.01)
    assert sorted(seen) == [0, 1]


def test_blas_has_one_thread_until_the_last_has_left():
    def threads():
        return {one.num_threads for one in runtime._blas().select(user_api="blas").lib_controllers}

    before = threads()
    first, second = runtime.one_blas_thread(), runtime.one_blas_thread()
    with first:
        with second:
            assert threads() == {1}
        assert threads() == {1}
    assert threads() == before


# --- numbers ---------------------------------------------------------------------------------------------------------

IDS, SEED = np.array([3, 0, 7]), np.uint64(5)
SHAPES = [(1, 1, 1), (3, 2, 5), (1, 3000, 40), (3, 4, 20_000), (3, 0, 4), (2, 900, 60)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["uniforms", "normals", "signs", "flips"])
def test_numbers_are_those_of_one_thread(kind, shape):
    ids, (many, items, neurons) = IDS[: shape[0]], shape
    patterns, which = np.ones((many, 4, neurons)), np.arange(items) % 4
    here = variates if kind == "normals" else random
    between = {"uniforms": (9,), "normals": (9,), "signs": (9, 0.3), "flips": (patterns, 9, which, 0.3)}[kind]
    due, found = np.full((2, *shape), np.nan)
    getattr(here, kind)(SEED, random.CUE, ids, *between, due)
    getattr(fill, kind)(5, random.CUE, ids, *between, found)
    np.testing.assert_array_equal(found, due)
    assert not np.isnan(found).any()


@pytest.mark.parametrize("n", [1, 6, 40, 300])
def test_matrices_are_those_of_one_thread(n):
    due, found = np.full((2, 3, n, n), np.nan)
    goe.dense(SEED, 2, 1.5, due, np.zeros(1, np.int64), np.zeros(1, np.int64))
    fill.dense(5, 2, 1.5, found)
    np.testing.assert_array_equal(found, due)
    np.testing.assert_array_equal(found, np.swapaxes(found, 1, 2))


def test_numbers_stop_with_the_call_they_are_for():
    out = np.full((1, 3000, 40), np.nan)

    def task(worker, stop):
        stop[0] = 1
        fill.normals(5, random.CUE, IDS[:1], 0, out)

    with pytest.raises(KeyboardInterrupt):
        runtime.aside(lambda: runtime.on_threads(2, task))
    assert np.isnan(out).all()
