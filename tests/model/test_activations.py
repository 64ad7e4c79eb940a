"""Activations by name: what is allowed, what is refused, and in which words."""

import dataclasses
import math

import numpy as np
import pytest

import fasthop as fh
from fasthop.model.activations import ACTIVATIONS, Activation, as_activation, spelled_out

NAMES = [
    *("identity", "tanh", "sigmoid", "relu", "leaky_relu", "smooth_leaky_relu", "softplus", "exp", "gelu", "silu"),
    *("selu", "gaussian", "rectified_power", "power", "hard_tanh", "soft_threshold", "softmax", "layer_norm"),
    "sphere",
]


def test_every_activation_of_the_paper_has_its_name():
    assert list(ACTIVATIONS) == NAMES
    for name, kind in ACTIVATIONS.items():
        assert as_activation(name) == kind()
        assert kind().name == name
        assert getattr(fh, kind.__name__) is kind


@pytest.mark.parametrize("kind", ACTIVATIONS.values())
def test_properties_of_every_activation(kind):
    activation = kind()
    assert dataclasses.is_dataclass(kind)
    with pytest.raises(dataclasses.FrozenInstanceError):
        activation.name = "other"
    assert activation.max_slope > 0
    assert activation.monotone == (kind.name not in ("gelu", "silu", "gaussian", "power"))
    assert activation.invertible == activation.monotone
    assert activation.blockwise == (kind.name in ("softmax", "layer_norm", "sphere"))
    assert len(activation.parameters) == 2
    assert all(isinstance(number, float) for number in (*activation.parameters, activation.parameter))
    assert as_activation(activation.to_dict()) == activation
    assert spelled_out(kind.name) == activation.to_dict()
    assert kind.__doc__
    assert all(field.name in kind.__doc__ for field in dataclasses.fields(kind))


def test_unbounded_slopes_are_infinite():
    unbounded = {name for name, kind in ACTIVATIONS.items() if math.isinf(kind().max_slope)}
    assert unbounded == {"exp", "rectified_power", "power", "sphere"}
    assert fh.RectifiedPower(2).max_slope == fh.Power(2).max_slope == 1
    assert math.isinf(fh.LayerNorm(epsilon=0).max_slope)
    assert fh.Sphere(0.25).max_slope == 2


def test_parameters_reach_the_kernels():
    assert fh.Softplus(3).parameters == (3, 0)
    assert fh.LayerNorm(2, 0.5).parameters == (2, 0.5)
    assert fh.Sphere(0.5).parameters == (1, 0.5)
    assert fh.RectifiedPower(4).parameters == (4, 0)
    assert as_activation({"name": "rectified_power", "n": 4.0}) == fh.RectifiedPower(4)
    tables = fh.Memory(np.eye(2), activation=fh.LayerNorm(2, 0.5), dtype=np.float32).tables
    assert tables.parameters.tolist() == [[2, 0.5]]
    assert tables.parameters.dtype == np.float32


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: fh.Softplus(0), ValueError, ["activation.beta", "above 0", "0"]),
        (lambda: fh.Softplus("big"), TypeError, ["activation.beta", "number", "'big'"]),
        (lambda: fh.RectifiedPower(1), ValueError, ["activation.n", "at least 2", "1"]),
        (lambda: fh.RectifiedPower(65), ValueError, ["activation.n", "at most 64", "65"]),
        (lambda: fh.RectifiedPower(2.5), TypeError, ["activation.n", "whole number", "2.5"]),
        (lambda: fh.RectifiedPower(True), TypeError, ["activation.n", "whole number", "True"]),
        (lambda: fh.SoftThreshold(0), ValueError, ["activation.threshold", "above 0", "0"]),
        (lambda: fh.Softmax(-1), ValueError, ["activation.beta", "above 0", "-1"]),
        (lambda: fh.Softmax(math.nan), ValueError, ["activation.beta", "finite", "nan"]),
        (lambda: fh.LayerNorm([1.0, 2.0]), ValueError, ["activation.gamma", "one number", "Lagrangian", "2 numbers"]),
        (lambda: fh.LayerNorm(np.ones(3)), ValueError, ["activation.gamma", "one number", "symmetric", "3 numbers"]),
        (lambda: fh.LayerNorm(0), ValueError, ["activation.gamma", "above 0", "0"]),
        (lambda: fh.LayerNorm(1, -1e-9), ValueError, ["activation.epsilon", "at least 0", "-1e-09"]),
        (lambda: fh.Sphere(-1), ValueError, ["activation.epsilon", "at least 0", "-1"]),
        (lambda: as_activation("swish"), ValueError, ["activation", "'silu'", "'swish'"]),
        (
            lambda: as_activation({"name": "gelu", "beta": 1}),
            ValueError,
            ["activation.beta", "takes no parameter"],
        ),
        (lambda: as_activation({"name": "layer_norm", "delta": 1}), ValueError, ["delta", "gamma, epsilon"]),
        (lambda: fh.Power(1.5), TypeError, ["activation.n", "whole number", "1.5"]),
        (lambda: fh.Power(3).inverse(1.0), ValueError, ["power", "no inverse", "more than one"]),
        (lambda: fh.GELU().inverse(1.0), ValueError, ["gelu", "no inverse", "more than one"]),
        (lambda: fh.Softmax().g(1.0), ValueError, ["softmax", "last axis", "()"]),
        (lambda: fh.Tanh().apply_slope([1.0, 2.0], [1.0]), ValueError, ["x", "(2,)", "(1,)"]),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(make, error, words):
    with pytest.raises(error) as refusal:
        make()
    sentence = str(refusal.value)
    assert all(word in sentence for word in words), sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_an_activation_without_max_slope_is_incomplete():
    with pytest.raises(NotImplementedError):
        _ = Activation().max_slope


@pytest.mark.parametrize(
    "kind", [*(kind() for kind in ACTIVATIONS.values()), fh.Power(4), fh.RectifiedPower(5)], ids=str
)
def test_bounds_hold_and_are_reached(kind):
    y = np.concatenate([-np.geomspace(1e-3, 200, 400)[::-1], np.geomspace(1e-3, 200, 400)])
    g = np.array([kind.g([value, 0.0])[0] for value in y]) if kind.blockwise else kind.g(y)
    low, high = kind.bounds
    if math.isfinite(high):
        assert low <= g.min() < low + 0.01
        assert high - 0.01 < g.max() <= high
    for a, b in ((-3.0, -1.0), (-0.5, 2.0), (1.0, 4.0)):
        if not kind.blockwise:
            steepest = np.abs(kind.slope(np.linspace(a, b, 10_001))).max()
            assert steepest <= kind.steepest_within(np.array(a), np.array(b)) * (1 + 1e-15)


def test_a_step_where_bounded_features_bound_the_slopes():
    """The largest decay rate of the flow at any state in the box, by NumPy, is within the bound and near it."""
    rng = np.random.default_rng(5)
    xi = rng.choice([-1.0, 1.0], (9, 12))
    for memory in (
        fh.models.dense_associative_memory(xi, 3, rectified=False),
        fh.models.dense_associative_memory(xi, 4),
        fh.models.krotov_hopfield(0.2 * xi, fh.Sigmoid(3.0), fh.Power(3)),
    ):
        low, high = memory.box[0][0, 12:], memory.box[1][0, 12:]
        worst = 0.0
        for _ in range(300):
            corner = np.where(rng.random(9) < 0.5, low, high) * rng.choice([1.0, rng.random()])
            y = np.concatenate([rng.normal(size=12) * rng.choice([0.0, 0.1, 1.0]), corner])
            slopes = [as_activation(layer.activation) for layer in memory.layers]
            Lam = np.concatenate([slopes[0].slope(y[:12]), slopes[1].slope(y[12:])])
            worst = max(worst, np.abs(np.linalg.eigvals(memory.W * Lam)).max())
        [rate] = memory.fastest_rate
        assert worst <= rate - 1
        assert worst > 0.3 * (rate - 1)
    with pytest.raises(ValueError, match="dt must be given: the slope of identity, power is not bounded"):
        fh.default_step(fh.models.dense_associative_memory(xi, 3, "identity", rectified=False))
