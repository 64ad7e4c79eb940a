import itertools

import numba
import numpy as np
import pandas as pd
import pytest

import naive
from fasthop import checks
from fasthop.dynamics.ensemble import KINDS, METHODS, Ends, default_step, integrate, settle, simulate
from fasthop.model.activations import LeakyReLU, Sigmoid, Tanh, as_activation
from fasthop.model.memory import Memory
from fasthop_kernels.machine.lanes import MAX_LINES, lane_line

MACHINE_THREADS = numba.config.NUMBA_NUM_THREADS
ACTIVATIONS = ["tanh", "sigmoid", "relu", "leaky_relu", "smooth_leaky_relu"]


def draw(neurons, batch, seed=0, count=None):
    """W, b and starts; W is as large as makes several steady states."""
    rng = np.random.default_rng([neurons, batch, seed])
    shape = () if count is None else (count,)
    W = 1.5 * rng.normal(size=(*shape, neurons, neurons)) / np.sqrt(neurons)
    return W, rng.normal(size=(*shape, neurons)), 2 * rng.normal(size=(*shape, batch, neurons))


def draw_symmetric(neurons, batch, seed=0, count=None):
    W, b, starts = draw(neurons, batch, seed, count)
    return (W + np.swapaxes(W, -1, -2)) / 2, b, starts


def assert_states(states, due, tolerance):
    """Equal relative to max(1, |y|∞) of every trajectory."""
    scale = np.maximum(1, np.abs(due).max(axis=-1, keepdims=True))
    assert (np.abs(states - due) <= tolerance * scale).all()


def assert_same_bits(ends, other, where=...):
    for name in ("state", "status", "residual", "steps"):
        np.testing.assert_array_equal(getattr(ends, name), getattr(other, name)[where], err_msg=name)


# --- fixed time -----------------------------------------------------------------------------------------------------

STEPS, H = 7, 0.125


def compare_with_naive(neurons, batch, name, method, dtype=np.float64, tolerance=1e-12):
    W, b, starts = (array.astype(dtype) for array in draw(neurons, batch))
    run = simulate(Memory(W, b, name, dtype=dtype), starts, t_end=STEPS * H, dt=H, method=method)
    assert run.state.dtype == dtype
    assert run.finite.all()
    W, b, starts = (array.astype(float) for array in (W, b, starts))
    g = naive.ACTIVATIONS[name]
    due = naive.METHODS[method](lambda y: naive.slope(W, b, g, y), starts, H, STEPS)
    assert_states(run.state, due, tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_trajectories_are_naives_for_all_numbers_of_neurons(method):
    for neurons, batch in itertools.product(range(1, 71), (1, 9, 50)):
        compare_with_naive(neurons, batch, "tanh", method)


@pytest.mark.parametrize("method", METHODS)
def test_trajectories_are_naives_for_all_numbers_of_starts(method):
    for batch, neurons in itertools.product(range(1, 131), (1, 6, 16)):
        compare_with_naive(neurons, batch, "tanh", method)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_trajectories_are_naives_for_every_activation(name, method, dtype):
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    for neurons, batch in [(1, 1), (2, 17), (3, 7), (5, 33), (8, 8), (13, 49), (32, 100), (67, 130), (130, 3)]:
        compare_with_naive(neurons, batch, name, method, dtype, tolerance)


def test_a_wrong_trajectory_is_noticed():
    W, b, starts = draw(5, 4)
    due = naive.rk4(lambda y: naive.slope(W, b, np.tanh, y), starts, H, STEPS)
    for wrong in (
        simulate(Memory(W, b), starts, t_end=STEPS * H, dt=H, method="euler"),
        simulate(Memory(W.T, b), starts, t_end=STEPS * H, dt=H),
        simulate(Memory(W, b, Tanh(1 + 1e-10)), starts, t_end=STEPS * H, dt=H),
        simulate(Memory(W, b), starts, t_end=(STEPS - 1) * H, dt=H),
    ):
        with pytest.raises(AssertionError):
            assert_states(wrong.state, due, 1e-12)


def test_gains_and_slopes_reach_the_kernels():
    W, b, starts = draw(4, 3)
    for activation, parameter in [(Tanh(3), 3), (Sigmoid(0.5), 0.5), (LeakyReLU(0.2), 0.2)]:
        g = naive.ACTIVATIONS[activation.name]
        due = naive.rk4(lambda y, g=g, a=parameter: naive.slope(W, b, lambda x: g(x, a), y), starts, H, STEPS)
        assert_states(simulate(Memory(W, b, activation), starts, t_end=STEPS * H, dt=H).state, due, 1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_saved_states_are_those_of_shorter_runs(method):
    W, b, starts = draw(6, 21, count=2)
    memory = Memory(W, b)
    times = [0.0, 0.25, 0.25, 1.0, 1.5]
    run = simulate(memory, starts, t_end=1.5, dt=0.125, method=method, save_at=times)
    np.testing.assert_array_equal(run.times, times)
    assert run.states.shape == (5, 2, 21, 6)
    for time, states in zip(times, run.states, strict=True):
        np.testing.assert_array_equal(states, simulate(memory, starts, t_end=time, dt=0.125, method=method).state)
    np.testing.assert_array_equal(run.states[0], starts)
    np.testing.assert_array_equal(run.states[-1], run.state)
    assert not np.array_equal(run.states[1], run.states[3])
    plain = simulate(memory, starts, t_end=1.5, dt=0.125, method=method)
    assert plain.states is None
    assert plain.times is None


# --- to the end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_trajectory_stops_at_the_first_step_that_is_steady(name, method):
    for neurons, batch in [(1, 3), (6, 20), (19, 5)]:
        W, b, starts = draw_symmetric(neurons, batch)
        if name not in ("tanh", "sigmoid"):
            W = W * (0.8 / np.linalg.norm(W, 2))  # no run-away
        ends = settle(Memory(W, b, name), starts, tolerance=1e-8, method=method)
        g, step = naive.ACTIVATIONS[name], naive.METHODS[method]
        for i, start in enumerate(starts):
            state, steps = naive.settle(W, b, g, start, float(ends.dt), 1e-8, 10_000, step)
            assert ends.steps[i] == steps
            assert_states(ends.state[i], state, 1e-12)
        np.testing.assert_allclose(ends.residual, naive.residual(W, b, g, ends.state), atol=1e-14)
        np.testing.assert_array_equal(ends.time, ends.steps * ends.dt)
        assert ends.settled.all()


def test_a_trajectory_out_of_time_is_where_naive_is():
    W, b, starts = draw_symmetric(7, 30)
    ends = settle(Memory(W, b), starts, dt=0.25, t_max=2.9)
    assert (ends.kind == "unsettled").all()
    assert (ends.steps == 12).all()
    assert_states(ends.state, naive.rk4(lambda y: naive.slope(W, b, np.tanh, y), starts, 0.25, 12), 1e-12)


def test_a_start_that_is_steady_takes_no_step():
    memory = Memory(np.eye(3) / 2)
    ends = settle(memory, np.zeros((1, 3)))
    assert ends.steps.tolist() == [0]
    assert ends.residual.tolist() == [0]
    assert ends.settled.all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_one_neuron_and_one_start(dtype):
    ends = settle(Memory([[2.0]], 0.1, dtype=dtype), [[1.0]])
    y = ends.state[0, 0]
    assert ends.state.shape == (1, 1)
    assert abs(2 * np.tanh(float(y)) - float(y) + 0.1) <= (1e-9 if dtype == np.float64 else 1e-4)


# --- bits depend on start and memory alone --------------------------------------------------------------------------


@pytest.fixture
def threads():
    """Set the number of threads; the machine's own comes back afterwards."""
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_threads_cannot_be_seen(threads, dtype):
    W, b, starts = draw_symmetric(13, 400)
    memory = Memory(W, b, dtype=dtype)
    runs = []
    for count in range(1, MACHINE_THREADS + 1):
        threads(count)
        runs.append((settle(memory, starts), simulate(memory, starts, t_end=1, dt=0.1).state))
    for ends, state in runs[1:]:
        assert_same_bits(ends, runs[0][0])
        np.testing.assert_array_equal(state, runs[0][1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["tanh", "smooth_leaky_relu"])
def test_lanes_cannot_be_seen(name, dtype):
    W, b, starts = draw_symmetric(11, 150)
    memory = Memory(W / 2, b, name, dtype=dtype)
    options = {"tolerance": 1e-5, "escape": 1e9}
    arguments = (memory, starts.astype(dtype), METHODS["rk4"].method, 0.1, 200)
    line = lane_line(dtype)
    first, *others = [integrate(*arguments, **options, lanes=lines * line) for lines in range(1, MAX_LINES + 1)]
    assert len(np.unique(first.steps)) > 5
    for ends in others:
        assert_same_bits(ends, first)


def test_order_of_starts_cannot_be_seen():
    W, b, starts = draw_symmetric(9, 203)
    memory = Memory(W, b)
    ends = settle(memory, starts)
    order = np.random.default_rng(0).permutation(203)
    assert_same_bits(settle(memory, starts[order]), ends, order)
    assert_same_bits(settle(memory, starts[17:18]), ends, slice(17, 18))
    np.testing.assert_array_equal(
        simulate(memory, starts[order], t_end=1, dt=0.1).state, simulate(memory, starts, t_end=1, dt=0.1).state[order]
    )


@pytest.mark.parametrize(("count", "neurons", "batch"), [(1, 3, 5), (3, 8, 1), (5, 9, 61), (40, 4, 7)])
def test_memories_together_are_memories_one_by_one(count, neurons, batch):
    W, b, starts = draw_symmetric(neurons, batch, count=count)
    together = settle(Memory(W, b), starts)
    assert together.state.shape == (count, batch, neurons)
    assert together.dt.shape == (count,)
    for k in range(count):
        alone = settle(Memory(W[k], b[k]), starts[k])
        assert alone.dt == together.dt[k]
        assert_same_bits(alone, together, k)
        np.testing.assert_array_equal(alone.time, together.time[k])


# --- ends that are none ---------------------------------------------------------------------------------------------


def growing():
    """Neurons that only feel themselves and grow by e^t above 0, and starts that are all below."""
    rng = np.random.default_rng(5)
    memory = Memory(np.diag([2.0, 2.0, 0.5]), [0.0, 0.0, 0.25], "relu")
    return memory, -rng.random((100, 3))


@pytest.mark.parametrize("bad", [1.0, 1e-3, 1e9, 1e300, 1.7e308])
def test_a_lane_that_blows_up_leaves_its_neighbours_alone(bad):
    memory, starts = growing()
    expected = settle(memory, starts)
    assert expected.settled.all()
    starts[::7, 0] = bad
    ends = settle(memory, starts, escape=1.7e308)
    good = np.arange(100) % 7 != 0
    assert_same_bits(Ends(**{name: getattr(ends, name)[good] for name in FIELDS}, dt=ends.dt, paid=0), expected, good)
    assert not ends.settled[~good].any()
    with pytest.warns(RuntimeWarning, match="15 of 100 trajectories did not stay finite"):
        run = simulate(memory, starts, t_end=800, dt=0.5)
    np.testing.assert_array_equal(run.finite, good)
    starts[::7, 0] = -0.5
    np.testing.assert_array_equal(run.state[good], simulate(memory, starts, t_end=800, dt=0.5).state[good])


FIELDS = ("state", "status", "residual", "steps", "time")


def test_every_kind_of_end_is_reached():
    memory = Memory(np.diag([2.0, 4.0]), activation="relu")
    starts = [[-1.0, -1.0], [1e-6, -1.0], [1.0, -1.0], [-1.0, 1e308]]
    ends = settle(memory, starts, dt=0.1, t_max=20, escape=1e6, tolerance=1e-6)
    assert ends.kind.tolist() == ["settled", "unsettled", "diverged", "not_finite"]
    assert ends.kind.tolist() == [kind for kind in KINDS if kind not in ("false_memory", "kink")]  # R makes those
    assert ends.settled.tolist() == [True, False, False, False]
    assert ends.steps[1] == 200
    assert 1e6 < np.abs(ends.state[2]).max() < 2e6
    assert ends.steps[3] == 0
    assert np.isnan(ends.residual[3])
    np.testing.assert_array_equal(ends.state[3], starts[3])  # as it was found


def test_a_trajectory_that_left_the_finite_numbers_stays_as_it_was_found():
    memory = Memory([[3.0]], activation="relu")
    with pytest.warns(RuntimeWarning, match="1 of 2"):
        run = simulate(memory, [[1e308], [-1.0]], t_end=2, dt=0.5, save_at=[0.5, 1, 1.5])
    np.testing.assert_array_equal(run.states[:, 0, 0], 1e308)
    assert run.finite.tolist() == [False, True]
    assert (np.diff(run.states[:, 1, 0]) > 0).all()


# --- what is paid ---------------------------------------------------------------------------------------------------


def test_work_follows_the_steps_that_are_needed():
    """Starts near a saddle take as many steps as they have zeros behind the point."""
    rng = np.random.default_rng(6)
    pattern = rng.choice([-1.0, 1.0], 16)
    memory = Memory(2 * np.outer(pattern, pattern) / 16)
    starts = 10 ** -rng.uniform(0, 200, (2000, 1)) * pattern
    ends = settle(memory, starts)
    needed = int(ends.steps.sum() + ends.steps.size)
    assert ends.settled.all()
    assert ends.steps.max() > 1.9 * ends.steps.mean()
    assert needed <= ends.paid <= 1.2 * needed
    assert ends.paid < 0.6 * 2000 * ends.steps.max()  # what batches that wait for their slowest would pay


def test_idle_lanes_are_paid_for():
    ends = settle(Memory([[0.5]]), [[1.0]])
    assert ends.paid == 8 * (ends.steps[0] + 1)


# --- tables ---------------------------------------------------------------------------------------------------------


def test_ends_as_a_table():
    W, b, starts = draw_symmetric(3, 4)
    ends = settle(Memory(W, b), starts)
    table = ends.to_frame()
    assert table.columns.tolist() == ["kind", "residual", "time", "steps", "y0", "y1", "y2"]
    assert table["kind"].cat.categories.tolist() == list(KINDS)
    assert table["kind"].tolist() == ends.kind.tolist()
    np.testing.assert_array_equal(table[["y0", "y1", "y2"]], ends.state)
    for name in ("residual", "time", "steps"):
        np.testing.assert_array_equal(table[name], getattr(ends, name))


def test_ends_of_several_memories_as_a_table():
    W, b, starts = draw_symmetric(3, 4, count=2)
    memory = Memory(W, b)
    table = settle(memory, starts).to_frame()
    assert table["memory"].tolist() == [0] * 4 + [1] * 4
    rows = table[table["memory"] == 1].drop(columns="memory").reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, settle(Memory(W[1], b[1]), starts[1]).to_frame())


# --- bad input ------------------------------------------------------------------------------------------------------

M = Memory(np.eye(2) / 2)
MANY = Memory(np.zeros((3, 2, 2)))
ONE = [[1.0, 2.0]]

REFUSED = {
    "W is no matrix": (lambda: Memory([1.0, 2.0]), ValueError, ["W", "square", "(N, N)", "(2,)"]),
    "W not square": (lambda: Memory(np.zeros((2, 3))), ValueError, ["W", "square", "(2, 3)"]),
    "W empty": (lambda: Memory(np.zeros((0, 0))), ValueError, ["W", "N ≥ 1", "(0, 0)"]),
    "W of NaN": (lambda: Memory([[0, np.nan], [0, 0]]), ValueError, ["W must be finite", "W[0, 1] is nan"]),
    "W of words": (lambda: Memory([["a"]]), TypeError, ["W", "real numbers"]),
    "W ragged": (lambda: Memory([[1.0], [1.0, 2.0]]), TypeError, ["W", "real numbers"]),
    "W too large for float32": (lambda: Memory([[1e300]], dtype="float32"), ValueError, ["W", "float32", "3.4e+38"]),
    "b too long": (lambda: Memory(np.eye(2), [1, 2, 3]), ValueError, ["b", "(2,)", "(3,)"]),
    "b of infinity": (lambda: Memory(np.eye(2), [1, np.inf]), ValueError, ["b[1] is inf", "finite"]),
    "b of other K": (lambda: Memory(np.zeros((3, 2, 2)), np.zeros((2, 2))), ValueError, ["b", "(3, 2)", "(2, 2)"]),
    "activation unknown": (
        lambda: Memory(np.eye(2), activation="sine"),
        ValueError,
        ["activation", "'tanh'", "'sine'"],
    ),
    "activation nameless": (lambda: as_activation({"beta": 1}), TypeError, ["activation", "name"]),
    "activation a number": (lambda: as_activation(3), TypeError, ["activation", "3"]),
    "parameter unknown": (lambda: as_activation({"name": "tanh", "gain": 1}), ValueError, ["activation.gain", "beta"]),
    "parameter of none": (lambda: as_activation({"name": "relu", "beta": 1}), ValueError, ["activation.beta", "relu"]),
    "beta zero": (lambda: Tanh(0), ValueError, ["activation.beta", "above 0", "0"]),
    "beta a word": (lambda: Sigmoid("big"), TypeError, ["activation.beta", "number", "'big'"]),
    "slope negative": (lambda: LeakyReLU(-0.1), ValueError, ["activation.slope_below", "at least 0", "-0.1"]),
    "dtype": (lambda: Memory(np.eye(2), dtype=int), ValueError, ["dtype", "float64 or float32", "int"]),
    "dtype unknown": (lambda: Memory(np.eye(2), dtype="real"), ValueError, ["dtype", "float64", "'real'"]),
    "starts flat": (lambda: settle(M, [1.0, 2.0]), ValueError, ["starts", "(B, 2)", "(2,)"]),
    "starts of other N": (lambda: settle(M, [[1.0]]), ValueError, ["starts", "(B, 2)", "(1, 1)"]),
    "starts empty": (lambda: settle(M, np.zeros((0, 2))), ValueError, ["starts", "at least one", "none"]),
    "starts of NaN": (lambda: settle(M, [[0, 0], [np.nan, 0]]), ValueError, ["starts[1, 0] is nan", "finite"]),
    "starts of other K": (lambda: settle(MANY, np.zeros((2, 4, 2))), ValueError, ["starts", "(3, B, 2)", "(2, 4, 2)"]),
    "starts without K": (lambda: simulate(MANY, ONE, t_end=1, dt=1), ValueError, ["starts", "(3, B, 2)", "(1, 2)"]),
    "starts complex": (lambda: settle(M, [[1j, 0]]), TypeError, ["starts", "real numbers"]),
    "method": (lambda: settle(M, ONE, method="rk5"), ValueError, ["method", "'euler', 'rk4'", "'rk5'"]),
    "method of simulate": (lambda: simulate(M, ONE, t_end=1, dt=1, method="x"), ValueError, ["method", "'rk4'", "'x'"]),
    "method of step": (lambda: default_step(M, "heun"), ValueError, ["method", "'euler'", "'heun'"]),
    "dt negative": (lambda: settle(M, ONE, dt=-0.1), ValueError, ["dt", "above 0", "-0.1"]),
    "dt zero": (lambda: simulate(M, ONE, t_end=1, dt=0), ValueError, ["dt", "above 0", "got 0"]),
    "dt NaN": (lambda: simulate(M, ONE, t_end=1, dt=np.nan), ValueError, ["dt", "finite", "nan"]),
    "dt a word": (lambda: simulate(M, ONE, t_end=1, dt="1"), TypeError, ["dt", "number", "'1'"]),
    "t_end": (lambda: simulate(M, ONE, t_end=1, dt=0.3), ValueError, ["t_end", "whole number of steps", "3.33333"]),
    "t_end negative": (lambda: simulate(M, ONE, t_end=-1, dt=1), ValueError, ["t_end", "at least 0", "-1"]),
    "t_max": (lambda: settle(M, ONE, t_max=0), ValueError, ["t_max", "above 0", "got 0"]),
    "escape": (lambda: settle(M, ONE, escape=-1), ValueError, ["escape", "above 0", "-1"]),
    "escape infinite": (lambda: settle(M, ONE, escape=np.inf), ValueError, ["escape", "finite", "inf"]),
    "tolerance zero": (lambda: settle(M, ONE, tolerance=0), ValueError, ["tolerance", "above 0", "got 0"]),
    "tolerance tiny": (lambda: settle(M, ONE, tolerance=1e-16), ValueError, ["tolerance", "1.8e-15", "1e-16"]),
    "save_at between": (
        lambda: simulate(M, ONE, t_end=1, dt=0.5, save_at=[0.5, 0.7]),
        ValueError,
        ["save_at[1]", "whole number of steps", "0.7"],
    ),
    "save_at falls": (lambda: simulate(M, ONE, t_end=1, dt=0.5, save_at=[1, 0.5]), ValueError, ["save_at", "ascend"]),
    "save_at late": (lambda: simulate(M, ONE, t_end=1, dt=0.5, save_at=[1.5]), ValueError, ["save_at", "t_end"]),
    "save_at early": (lambda: simulate(M, ONE, t_end=1, dt=0.5, save_at=[-0.5]), ValueError, ["save_at", "0 or more"]),
    "save_at a number": (lambda: simulate(M, ONE, t_end=1, dt=1, save_at=1), ValueError, ["save_at", "(T,)", "()"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_sentence(case):
    call, kind, words = REFUSED[case]
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert message.endswith((".", ").")), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: checks.whole("n", 2.0, least=1), ["n must be a whole number", "2.0"]),
        (lambda: checks.whole("n", True, least=1), ["n must be a whole number", "True"]),
        (lambda: checks.whole("n", 0, least=1, most=9), ["n must be at least 1 and at most 9", "got 0"]),
        (lambda: checks.seed("seed", -1), ["seed must be at least 0", "got -1"]),
        (lambda: checks.seed("seed", 2**64), ["seed", "at most 18446744073709551615", "18446744073709551616"]),
        (lambda: checks.real("x", True), ["x must be a number", "True"]),
        (lambda: checks.real("x", 3, least=0, most=1), ["x must be finite, at least 0, at most 1", "got 3"]),
    ],
)
def test_numbers_are_refused_in_one_sentence(call, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_good_input_is_not_refused():
    assert simulate(M, [[1, 2]], t_end=0.3, dt=0.1).state.shape == (1, 2)
    assert simulate(M, ONE, t_end=1e3, dt=0.1, save_at=[]).states.shape == (0,)
    assert settle(Memory(np.eye(2) / 2, 1.5, dtype="float32"), ONE, tolerance=1e-6).settled.all()
    assert settle(Memory(np.eye(2) / 2, 1.5, dtype="float32"), ONE, escape=1e300, t_max=1e300).settled.all()
    assert Memory(np.zeros((3, 2, 2)), [1, 2]).b.tolist() == [[1, 2]] * 3
    assert as_activation({"name": "tanh", "beta": 2}) == Tanh(2)
    assert not M.W.flags.writeable
