"""Activations by name: what is allowed, what is refused, and in which words."""

import dataclasses
import math

import numpy as np
import pytest

import fasthop as fh
from fasthop.activations import ACTIVATIONS, Activation, as_activation, spelled_out

NAMES = [
    *("identity", "tanh", "sigmoid", "relu", "leaky_relu", "smooth_leaky_relu", "softplus", "exp", "gelu", "silu"),
    *("selu", "gaussian", "rectified_power", "hard_tanh", "soft_threshold", "softmax", "layer_norm", "sphere"),
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
    assert activation.monotone == (kind.name not in ("gelu", "silu", "gaussian"))
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
    assert unbounded == {"exp", "rectified_power", "sphere"}
    assert fh.RectifiedPower(2).max_slope == 1
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
