"""Learning through the equilibrium: that it learns, keeps structures and bounds, and survives being killed."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fasthop as fh

RNG = np.random.default_rng(9)
INPUTS = RNG.standard_normal((40, 3))
TARGETS = np.tanh(INPUTS @ RNG.standard_normal((3, 2)))
LAYERS = [(3, "identity"), (6, "tanh"), (2, "tanh")]


def chain(seed=0, **options):
    return fh.Memory(fh.Blocks.chain([3, 6, 2], seed=seed), layers=LAYERS, **options)


def answers(memory, read=2):
    return fh.training.respond(memory, INPUTS).state[:, -read:]


def test_it_learns_and_tells_how():
    found = fh.training.fit(chain(), INPUTS, TARGETS, epochs=40, batch=8, optimiser=fh.training.Adam(0.03))
    assert found.history.epoch.tolist() == list(range(1, 41))
    assert found.history.loss.iloc[-1] <= 0.05 * found.history.loss.iloc[0]
    assert np.square(answers(found.memory) - TARGETS).mean() <= 0.02
    assert found.history.refused.sum() <= 2  # of 1600: what is slow to settle near a fold has no say
    assert (found.history.lambda_max < 1).all()
    assert found.memory.symmetric
    np.testing.assert_array_equal(found.memory.W, found.memory.W.T)


@pytest.mark.parametrize("loss", ["squared", "logistic", "cross_entropy"])
def test_a_step_of_plain_descent_is_minus_the_slope_of_the_loss(loss):
    targets = {
        "squared": TARGETS,
        "logistic": np.sign(TARGETS),
        "cross_entropy": np.eye(2)[(TARGETS[:, 0] > 0).astype(int)],
    }[loss]

    def mean_loss(memory):
        z = fh.training.respond(memory, INPUTS, tolerance=1e-13).state[:, -2:]
        if loss == "squared":
            return np.square(z - targets).sum() / 2 / 40
        if loss == "logistic":
            return np.log1p(np.exp(-targets * z)).sum() / 40
        return -(targets * (z - np.log(np.exp(z).sum(axis=1, keepdims=True)))).sum() / 40

    start = chain()
    found = fh.training.fit(
        start,
        INPUTS,
        targets,
        loss=loss,
        epochs=1,
        batch=40,
        optimiser=fh.training.SGD(0.5),
        tolerance=1e-13,
        t_max=1e4,
    )
    assert found.history.loss[0] == pytest.approx(mean_loss(start), rel=1e-10)
    B, C = start.weights.stored[0, :18].copy(), start.weights.stored[0, 18:].copy()
    moved = found.memory.weights.stored[0] - start.weights.stored[0]

    def of(numbers):
        blocks = {(0, 1): numbers[:18].reshape(3, 6), (1, 2): numbers[18:].reshape(6, 2)}
        return mean_loss(fh.Memory(fh.Blocks([3, 6, 2], blocks), layers=LAYERS))

    numbers = np.concatenate([B, C])
    for i in (0, 7, 20, 29):
        step = 1e-6 * np.eye(30)[i]
        slope = (of(numbers + step) - of(numbers - step)) / 2e-6
        assert moved[i] == pytest.approx(-0.5 * slope, rel=1e-5, abs=1e-9)


def test_dense_symmetric_low_rank_and_bounded_weights_stay_what_they_are():
    A = RNG.standard_normal((11, 11)) / 8
    found = fh.training.fit(fh.Memory(A + A.T, layers=LAYERS), INPUTS, TARGETS, epochs=3, most_norm=0.9)
    np.testing.assert_array_equal(found.memory.W, found.memory.W.T)
    assert np.linalg.norm(found.memory.W, 2) <= 0.9 * (1 + 1e-12)
    assert (found.history.norm <= 0.9 * (1 + 1e-12)).all()
    assert (found.history.lambda_max < 0.9 + 1e-9).all()
    free = fh.training.fit(fh.Memory(A, layers=LAYERS), INPUTS, TARGETS, epochs=3)
    assert not free.memory.symmetric
    assert np.abs(free.memory.W - A).max() > 1e-3


def test_the_patterns_of_low_rank_weights_are_learned():
    patterns = RNG.standard_normal((3, 11)) / 2

    def memory(patterns):
        return fh.Memory(fh.LowRank(patterns), layers=LAYERS)

    def mean_loss(patterns):
        z = fh.training.respond(memory(patterns), INPUTS, tolerance=1e-13).state[:, -2:]
        return np.square(z - TARGETS).sum() / 2 / 40

    exact = {"batch": 40, "optimiser": fh.training.SGD(0.5), "tolerance": 1e-13, "t_max": 1e4}
    found = fh.training.fit(memory(patterns), INPUTS, TARGETS, epochs=1, **exact).memory.weights
    for i in ((0, 0), (1, 5), (2, 10)):
        step = np.zeros((3, 11))
        step[i] = 1e-6
        slope = (mean_loss(patterns + step) - mean_loss(patterns - step)) / 2e-6
        assert (found.patterns - patterns)[i] == pytest.approx(-0.5 * slope, rel=1e-5, abs=1e-9)
    bounded = fh.training.fit(memory(patterns), INPUTS, TARGETS, epochs=1, batch=40, most_norm=0.3)
    assert np.linalg.norm(bounded.memory.W, 2) == pytest.approx(0.3, rel=1e-12)


def test_the_result_does_not_depend_on_threads():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import numba; numba.set_num_threads(int(sys.argv[2]))\n"
        "from training import test_learning as t; import fasthop as fh\n"
        "found = fh.training.fit(t.chain(), t.INPUTS, t.TARGETS, epochs=3)\n"
        "print(found.memory.weights.stored.tobytes().hex())"
    )
    tests = str(Path(__file__).resolve().parents[1])
    outputs = {
        subprocess.run([sys.executable, "-c", code, tests, n], capture_output=True, text=True, check=True).stdout
        for n in ("1", "2")
    }
    assert len(outputs) == 1


def test_killed_and_continued_it_ends_the_same(tmp_path):
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from training import test_learning as t; import fasthop as fh\n"
        "fit, epochs = sys.modules[fh.training.fit.__module__], list(range(150))\n"
        "write = fit.replace_file\n"
        "def replace_file(*given):\n"
        "    write(*given); epochs.pop() if epochs else time.sleep(1e6)\n"  # however late the kill is, it is in time
        "fit.replace_file = replace_file\n"
        "fh.training.fit(t.chain(), t.INPUTS, t.TARGETS, epochs=200, checkpoint=sys.argv[2])"
    )
    tests, path = str(Path(__file__).resolve().parents[1]), tmp_path / "fit.npz"
    process = subprocess.Popen([sys.executable, "-c", code, tests, str(path)])
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = len(np.load(path)["history"])
    assert 1 <= done < 200
    resumed = fh.training.fit(chain(), INPUTS, TARGETS, epochs=200, checkpoint=path)
    whole = fh.training.fit(chain(), INPUTS, TARGETS, epochs=200)
    np.testing.assert_array_equal(resumed.memory.weights.stored, whole.memory.weights.stored)
    np.testing.assert_array_equal(resumed.history, whole.history)
    with pytest.raises(ValueError, match="is of another fit"):
        fh.training.fit(chain(seed=1), INPUTS, TARGETS, epochs=200, checkpoint=path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no file of a fit"):
        fh.training.fit(chain(), INPUTS, TARGETS, epochs=200, checkpoint=path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": TARGETS[:5]}, r"targets must have shape \(40, 2\)"),
        ({"inputs": INPUTS[:, :2]}, r"inputs must have shape \(B, 3\)"),
        ({"loss": "logistic"}, "targets must be 1 or −1 for loss = 'logistic'"),
        ({"loss": "hinge"}, "loss must be one of 'squared', 'logistic', 'cross_entropy'"),
        ({"held": 1}, r"layers\[1\] must have the identity"),
        ({"read": 0}, "read must be another layer than held"),
        ({"epochs": -1}, "epochs must be at least 0"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        fh.training.fit(**({"memory": chain(), "inputs": INPUTS, "targets": TARGETS} | change))
