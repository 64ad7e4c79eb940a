"""Results say in one line what they are, compare to the last bit, pickle, and become tables."""

import copy
import pickle
import re

import numpy as np
import pandas as pd
import pytest

import fasthop as fh
from fasthop.results import Result

W = fh.goe(4, seed=1) / 8
ONE = fh.Memory(W, 0.1, fh.Tanh(2.0))
MANY = fh.Memory(fh.goe(4, 3, seed=1) / 8, 0.1)
RELU = fh.Memory([[0.2, -1.5], [-1.5, 0.1]], [1.0, 0.8], "relu")
STARTS = np.linspace(-1, 1, 20).reshape(5, 4)
MANY_STARTS = np.stack([STARTS] * 3)
STEADY = fh.settle(ONE, STARTS).state
TWO = fh.steady_states(RELU)


def fit():
    memory = fh.Memory(fh.Blocks.chain([2, 3, 1], seed=0), layers=[(2, "identity"), (3, "tanh"), (1, "tanh")])
    inputs = np.array([[0.0, 1.0], [1.0, 0.0]])
    return fh.training.fit(memory, inputs, np.array([[0.5], [-0.5]]), epochs=2, seed=1)


def saddles():
    stable = np.stack(TWO[TWO["stable"]]["state"].to_list())
    return fh.geometry.boundary_saddles(RELU, stable[0], stable[1:])


#: One result of every kind, with the rows of its table.
MADE = {
    "Ends": [(lambda: fh.settle(ONE, STARTS), 5), (lambda: fh.settle(MANY, MANY_STARTS), 15)],
    "Trajectories": [
        (lambda: fh.simulate(ONE, STARTS, t_end=1, dt=0.1), 5),
        (lambda: fh.simulate(MANY, MANY_STARTS, t_end=1, dt=0.1, save_at=[0, 0.5]), 30),
        (lambda: fh.simulate(ONE, STARTS, t_end=1, dt=0.1, save_at=[]), 0),
    ],
    "Stability": [(lambda: fh.stability(ONE, STEADY), 5)],
    "DeadNeurons": [(lambda: fh.dead_neurons(RELU, [[1.0, -2.0], [1.0, 1.0]]), 2)],
    "Recovered": [(lambda: fh.states.recover(RELU, [[1.25, -9.0]]), 1)],
    "Polished": [(lambda: fh.states.polish(ONE, STEADY), 5)],
    "Gradient": [
        (lambda: fh.gradient(ONE, STEADY, np.ones((5, 4))), 5),
        (lambda: fh.gradient(MANY, fh.settle(MANY, MANY_STARTS).state, np.ones((3, 5, 4))), 15),
    ],
    "Slice": [(lambda: fh.geometry.basin_slice(RELU, [0, 0], [1, 0], [0, 1], resolution=3), 9)],
    "BoundarySaddles": [(saddles, 1)],
    "Extremes": [(lambda: fh.goe_extremes(10, 7), 7)],
    "Fit": [(fit, 2)],
}
CASES = [(make, rows) for made in MADE.values() for make, rows in made]


def every_kind(base=Result):
    for kind in base.__subclasses__():
        yield kind
        yield from every_kind(kind)


def test_every_kind_of_result_is_here():
    for make, _ in CASES:
        make()
    assert {kind.__name__ for kind in every_kind()} == MADE.keys()


@pytest.mark.parametrize(("make", "rows"), CASES)
def test_a_result(make, rows):
    found = make()
    assert re.fullmatch(rf"{type(found).__name__}\([^\n]{{5,150}}\)", repr(found)), repr(found)
    assert "array" not in repr(found)
    table = found.to_frame()
    assert isinstance(table, pd.DataFrame)
    assert len(table) == rows
    assert pickle.loads(pickle.dumps(found)) == found == make()
    assert found != "something else"


def test_equal_means_to_the_last_bit_and_nan_is_nan():
    one = fh.goe_extremes(10, 7)
    two = copy.deepcopy(one)
    one.norm[3] = two.norm[3] = np.nan
    assert one == two
    two.norm[4] = np.nextafter(two.norm[4], 0)
    assert one != two
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_what_the_lines_say():
    assert repr(fh.settle(MANY, MANY_STARTS)).startswith("Ends(3 × 5 ends, N = 4: 15 settled; time ")
    assert repr(fh.stability(ONE, np.r_[STEADY, np.ones((1, 4))])).startswith(
        "Stability(6 states: 5 stable, 1 not_steady;"
    )
    assert repr(fh.dead_neurons(RELU, [[1.0, -2.0], [1.0, 1.0]])) == "DeadNeurons(2 states, N = 2: k = 0 to 1)"
    assert repr(ONE) == "Memory(N = 4: 4 Tanh(beta=2.0); y; float64)"
    held = fh.Memory(W, layers=[(1, "identity"), (3, "relu")], dtype="float32")
    assert repr(fh.clamp(held, [0])) == ("Memory(N = 4: 1 Identity(), 3 ReLU(), 1 held; y; float32)")
    assert repr(fh.Memory(np.stack([W, W]), variable="u", R="gradient")) == (
        "Memory(2 × N = 4: 4 Tanh(beta=1.0); u, R = gradient; float64)"
    )


def test_tables_have_what_was_found():
    ends = fh.settle(MANY, MANY_STARTS)
    table = ends.to_frame()
    assert table["memory"].tolist() == [0] * 5 + [1] * 5 + [2] * 5
    np.testing.assert_array_equal(table[["y0", "y1", "y2", "y3"]].to_numpy(), ends.state.reshape(15, 4))
    saved = fh.simulate(ONE, STARTS, t_end=1, dt=0.1, save_at=[0, 0.5])
    table = saved.to_frame()
    assert table["time"].tolist() == [0] * 5 + [0.5] * 5
    np.testing.assert_array_equal(table.loc[:, "y0":].to_numpy(), saved.states.reshape(10, 4))
