import numpy as np
import pytest
from scipy.integrate import solve_ivp

import naive
from fasthop.dynamics.ensemble import METHODS, simulate
from fasthop.model.memory import Memory
from fasthop_kernels.dynamics.steppers import EULER, RK4, Method, check_order

ORDERS = {"euler": 1, "rk4": 4}


# --- the tableau ----------------------------------------------------------------------------------------------------


def test_tableaus_have_the_order_they_claim_and_no_more():
    check_order(EULER, 1)
    check_order(RK4, 4)
    with pytest.raises(ValueError, match=r"condition of order 2 gives 0\.0 instead of 0\.5"):
        check_order(EULER, 2)


@pytest.mark.parametrize("field", ["ahead", "weight"])
@pytest.mark.parametrize("stage", range(4))
def test_every_wrong_coefficient_is_refused(field, stage):
    values = {"ahead": RK4.ahead.copy(), "weight": RK4.weight.copy()}
    values[field][stage] += 1e-9
    if (field, stage) == ("ahead", 3):  # the one that is not used
        check_order(Method(**values), 4)
    else:
        with pytest.raises(ValueError, match="a condition of order"):
            check_order(Method(**values), 4)


def test_the_midpoint_rule_has_order_two():
    midpoint = Method(np.array([0.5, 0.0]), np.array([0.0, 1.0]))
    check_order(midpoint, 2)
    with pytest.raises(ValueError, match="order 3"):
        check_order(midpoint, 3)


# --- what is known exactly ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("h", [0.05, 0.7, 1.9])
def test_without_weights_a_step_multiplies_by_a_known_factor(method, h):
    rng = np.random.default_rng(1)
    b, starts = rng.normal(size=7), rng.normal(size=(9, 7))
    factor = {"euler": 1 - h, "rk4": 1 - h + h**2 / 2 - h**3 / 6 + h**4 / 24}[method]
    for steps in (1, 2, 40):
        end = simulate(Memory(np.zeros((7, 7)), b, "sigmoid"), starts, t_end=h * steps, dt=h, method=method).state
        due = b + factor**steps * (starts - b)
        assert np.abs(end - due).max() <= 1e-14 * np.abs(starts).max()
    end = simulate(Memory(np.zeros((7, 7)), b), starts, t_end=h, dt=h, method=method).state
    assert np.abs(end - (b + np.exp(-h) * (starts - b))).max() > 1e-10  # the factor of the flow itself


@pytest.mark.parametrize(("method", "inside", "outside"), [("euler", 0.49, 0.51), ("rk4", 0.69, 0.70)])
def test_steps_are_stable_up_to_the_known_limit(method, inside, outside):
    memory = Memory(np.diag([-3.0, 0.5]))  # eigenvalues of the Jacobian at 0: −4 and −1/2
    for h, decays in ((inside, True), (outside, False)):
        end = simulate(memory, [[1e-3, 1e-3]], t_end=500 * h, dt=h, method=method).state[0]
        assert abs(end[1]) < 1e-9
        assert (abs(end[0]) < 1e-6) == decays
    assert inside * 4 < METHODS[method].limit < outside * 4


def test_limits_are_where_the_factors_reach_one():
    assert 1 - METHODS["euler"].limit == -1
    h = METHODS["rk4"].limit
    assert 1 - h + h**2 / 2 - h**3 / 6 + h**4 / 24 == pytest.approx(1, abs=1e-14)


# --- order ----------------------------------------------------------------------------------------------------------


def fitted_order(method, memory, starts, steps):
    """Slope of log(error at t = 2) against log(step)."""
    reference = [
        solve_ivp(
            lambda _, y: memory.W @ np.tanh(y) - y + memory.b, (0, 2), start, method="DOP853", rtol=1e-13, atol=1e-15
        ).y[:, -1]
        for start in starts
    ]
    ends = [simulate(memory, starts, t_end=2, dt=h, method=method).state for h in steps]
    errors = [np.abs(end - reference).max() for end in ends]
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.parametrize(
    ("method", "steps", "margin"), [("euler", 0.5 ** np.arange(8, 13), 0.05), ("rk4", 0.5 ** np.arange(3, 7), 0.1)]
)
def test_error_falls_with_the_order_of_the_method(method, steps, margin):
    rng = np.random.default_rng(2)
    memory = Memory(rng.normal(size=(5, 5)), rng.normal(size=5))
    order = fitted_order(method, memory, rng.normal(size=(3, 5)), steps)
    assert order == pytest.approx(ORDERS[method], abs=margin)
    other = next(name for name in ORDERS if name != method)
    assert order != pytest.approx(ORDERS[other], abs=margin)


# --- symmetries -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_steps_commute_with_affine_maps(method, name):
    """u̇ = g(W u + b) − u is system (1) in other coordinates, y = W u + b, also step by step."""
    rng = np.random.default_rng(3)
    W, b, u = rng.normal(size=(6, 6)) / 3, rng.normal(size=6), rng.normal(size=(4, 6))
    g = naive.ACTIVATIONS[name]
    end = naive.METHODS[method](lambda x: g(x @ W.T + b) - x, u, 0.05, 200)
    state = simulate(Memory(W, b, name), u @ W.T + b, t_end=10, dt=0.05, method=method).state
    np.testing.assert_allclose(state, end @ W.T + b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_odd_activations_keep_the_sign_symmetry_to_the_last_bit(method):
    rng = np.random.default_rng(4)
    W, b, y = rng.normal(size=(9, 9)), rng.normal(size=9), rng.normal(size=(5, 9))
    plus = simulate(Memory(W, b), y, t_end=3, dt=0.1, method=method).state
    minus = simulate(Memory(W, -b), -y, t_end=3, dt=0.1, method=method).state
    np.testing.assert_array_equal(plus, -minus)
