"""What a spec file may say, and what is said about one that cannot be run."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthop.sweep.errors import SpecError
from fasthop.sweep.run import run
from fasthop.sweep.spec import load_spec, spec_from_mapping, spec_from_text
from sweep.coins import REGISTRY, spec

TEXT = """
experiment = "coins"
seed = 7
[coin]
bias = { from = 0.02, to = 0.14, by = 0.02 }
sides = [2, 6]
metal = "silver"
shape = { name = "square", size = [1, 2.5] }
weights = [[1, 2], [3]]
[run]
realisations = 10
"""


def problems_of(mapping):
    with pytest.raises(SpecError) as caught:
        spec_from_mapping(mapping, REGISTRY)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def coin(**entries):
    return spec_from_mapping(spec(**entries), REGISTRY).values


def coin_problem(**entries):
    (problem,) = problems_of(spec(**entries))
    return problem


def test_file_becomes_values_per_field():
    read = spec_from_text(TEXT, REGISTRY)
    assert (read.experiment.name, read.seed, read.realisations, read.source) == ("coins", 7, 10, TEXT)
    assert read.values == {
        "bias": (0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14),
        "sides": (2, 6),
        "metal": ("silver",),
        "fair": (False,),
        "shape": ({"name": "square", "size": 1.0}, {"name": "square", "size": 2.5}),
        "weights": ([[1.0, 2.0], [3.0]],),
        "tosses": (16,),
        "realisations": (10,),
    }
    tasks = list(read.combinations())
    assert len(tasks) == 7 * 2 * 2
    assert tasks[1] == {**tasks[0], "shape": {"name": "square", "size": 2.5}}
    assert "realisations" not in tasks[0]


def test_mapping_that_a_spec_gives_gives_the_spec():
    read = spec_from_text(TEXT, REGISTRY)
    assert spec_from_mapping(read.to_mapping(), REGISTRY, TEXT) == read


def test_numpy_and_tuples_are_taken_as_lists():
    values = coin(bias=np.array([0.25, 0.5]), sides=np.int64(3), weights=(1, np.float64(2)))
    assert (values["bias"], values["sides"], values["weights"]) == ((0.25, 0.5), (3,), ([1.0, 2.0],))
    assert [type(value) for value in values["bias"] + values["sides"]] == [float, float, int]
    assert coin(sides=range(2, 5))["sides"] == (2, 3, 4)


def test_whole_numbers_stand_for_floats_and_minus_zero_for_zero():
    (value,) = coin(bias=1)["bias"]
    assert isinstance(value, float)
    assert math.copysign(1, coin(bias=-0.0)["bias"][0]) == 1


@pytest.mark.parametrize(
    ("start", "stop", "step", "values"),
    [
        (0.1, 0.3, 0.1, (0.1, 0.2, 0.3)),  # 0.1 + 2 * 0.1 is not 0.3
        (0, 1, 0.25, (0.0, 0.25, 0.5, 0.75, 1.0)),
        (0.0, 0.35, 0.1, (0.0, 0.1, 0.2, 0.3)),
        (0.5, 0.5, 1, (0.5,)),
    ],
)
def test_range_has_its_end_and_decimal_values(start, stop, step, values):
    assert coin(bias={"from": start, "to": stop, "by": step})["bias"] == values


def test_range_of_whole_numbers():
    values = coin(sides={"from": 2, "to": 7, "by": 2})["sides"]
    assert values == (2, 4, 6)
    assert all(type(value) is int for value in values)


def test_none_is_not_given():
    assert coin(sides=None) == coin()
    assert coin_problem(bias=None) == "coin.bias is missing; it must be a finite number from 0 to 1."


def test_name_is_short_for_its_table():
    shapes = coin(shape=["disc", {"name": "square", "size": {"from": 1, "to": 2, "by": 1}}])["shape"]
    assert shapes == ({"name": "disc"}, {"name": "square", "size": 1.0}, {"name": "square", "size": 2.0})


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"bias": 1.5}, "coin.bias must be a finite number from 0 to 1; got 1.5."),
        ({"bias": math.nan}, "coin.bias must be a finite number from 0 to 1; got NaN."),
        ({"bias": [0.5, math.inf]}, "coin.bias must be a finite number from 0 to 1; got Infinity."),
        ({"bias": True}, "coin.bias must be a finite number from 0 to 1; got true."),
        ({"bias": "high"}, 'coin.bias must be a finite number from 0 to 1; got "high".'),
        ({"bias": []}, "coin.bias must have at least one value; got an empty list."),
        ({"bias": [0.5, [0.5]]}, "coin.bias must be a finite number from 0 to 1; got [0.5]."),
        ({"sides": 0}, "coin.sides must be a whole number from 1 to 1000; got 0."),
        ({"sides": True}, "coin.sides must be a whole number from 1 to 1000; got true."),
        ({"sides": 2.0}, "coin.sides must be a whole number from 1 to 1000; got 2.0; write 2."),
        ({"sides": 2.5}, "coin.sides must be a whole number from 1 to 1000; got 2.5."),
        ({"sides": 10**30}, f"coin.sides must be a whole number from 1 to 1000; got {10**30}."),
        ({"sides": 1 << 9999}, "coin.sides must be a whole number from 1 to 1000; got a whole number of 10000 bits."),
        ({"sides": [2, 6, 2]}, "coin.sides must have every value once; got 2 2 times."),
        ({"bias": [1, 1.0]}, "coin.bias must have every value once; got 1.0 2 times."),
        ({"metal": "sliver"}, 'coin.metal must be one of "copper", "silver"; got "sliver"; did you mean silver?'),
        ({"metal": 3}, 'coin.metal must be one of "copper", "silver"; got 3.'),
        ({"fair": 1}, "coin.fair must be true or false; got 1."),
        ({"bias": {"from": 0, "to": 1}}, "coin.bias must be a range as { from = …, to = …, by = … };"),
        ({"bias": {"from": 0, "to": 1, "by": 0}}, "coin.bias.by must be above 0; got 0.0."),
        ({"bias": {"from": 0, "to": 1, "by": -0.1}}, "coin.bias.by must be above 0; got -0.1."),
        ({"bias": {"from": 1, "to": 0, "by": 0.1}}, "coin.bias.to must be at least 1.0, the start; got 0.0."),
        ({"bias": {"from": 0, "to": math.inf, "by": 1}}, "coin.bias.to must be a finite number; got Infinity."),
        ({"bias": {"from": 0, "to": 1, "by": 1e-300}}, "coin.bias must have at most 100000 values;"),
        ({"sides": {"from": 2, "to": 4, "by": 0.5}}, "coin.sides.by must be a whole number; got 0.5."),
        (
            {"shape": "disk"},
            'coin.shape must be one of "disc", "square", or a table { name = …, … }; got "disk"; did you',
        ),
        ({"shape": {"size": 2}}, "coin.shape.name is missing; coin.shape must be one of"),
        ({"shape": {"name": "disc", "size": "big"}}, 'coin.shape.size must be a finite number; got "big".'),
        ({"shape": {"name": "disc", "size": []}}, "coin.shape.size must have at least one value;"),
        ({"weights": 3}, "coin.weights must be a list of numbers, or of such lists;"),
        ({"weights": [[1], [-1]]}, "coin.weights must be a finite number of at least 0; got -1."),
        ({"weights": ["a"]}, 'coin.weights must be a finite number of at least 0; got "a".'),
        ({"fair": True, "bias": 0.2}, "coin.bias must be 0.5 for a fair coin; got 0.2."),
    ],
)
def test_impossible_value_is_one_sentence(entries, sentence):
    assert coin_problem(**entries).startswith(sentence)


def test_field_that_is_not_swept_takes_one_value():
    mapping = spec()
    mapping["run"] = {"realisations": [10], "tosses": {"from": 1, "to": 3, "by": 1}}
    assert problems_of(mapping) == [
        "run.tosses must be one value; got a range.",
        "run.realisations must be one value; got a list.",
    ]


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"coin": {"bais": 1}}, "coin.bais is no key of this experiment; did you mean coin.bias?"),
        (
            {"coin": {"realisations": 3}},
            "coin.realisations is no key of this experiment; did you mean run.realisations?",
        ),
        ({"coin": {"seed": 3}}, "coin.seed is no key of this experiment; did you mean seed?"),
        ({"bias": 3}, "bias is no key of this experiment; did you mean coin.bias?"),
        ({"xyzzy": 3}, "xyzzy is no key of this experiment."),
        ({"coins": {"bias": 3}}, "coins is no section of this experiment; did you mean coin?"),
    ],
)
def test_unknown_key_is_named_with_what_may_be_meant(extra, sentence):
    mapping = spec()
    for name, value in extra.items():
        mapping[name] = {**mapping.get(name, {}), **value} if isinstance(value, dict) else value
    assert problems_of(mapping) == [sentence]


def test_everything_wrong_is_said_at_once():
    mapping = {"experiment": "coins", "seed": -1, "coin": {"sides": [0, "x"], "metl": 1}, "run": 3}
    assert problems_of(mapping) == [
        "seed must be a whole number from 0 to 2**64 - 1; got -1.",
        "coin.metl is no key of this experiment; did you mean coin.metal?",
        "run must be a section, [run]; got 3.",
        "coin.bias is missing; it must be a finite number from 0 to 1.",
        "coin.sides must be a whole number from 1 to 1000; got 0.",
        'coin.sides must be a whole number from 1 to 1000; got "x".',
        "run.realisations is missing; it must be a whole number of at least 1.",
    ]


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, "7"])
def test_impossible_seed(seed):
    assert problems_of({**spec(), "seed": seed})[0].startswith("seed must be a whole number from 0 to 2**64 - 1; got ")


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        ({}, 'experiment is missing; it must be one of "coins".'),
        ({"experiment": "coin"}, 'experiment must be one of "coins"; got "coin"; did you mean coins?'),
        ({"experiment": ["coins"]}, 'experiment must be one of "coins"; got ["coins"]; did you mean coins?'),
    ],
)
def test_unknown_experiment(mapping, sentence):
    assert problems_of(mapping) == [sentence]


def test_slip_of_the_pen_in_a_product_is_no_plan():
    (problem,) = problems_of(spec(sides=list(range(1, 1001)), bias={"from": 0, "to": 1, "by": 0.0005}))
    assert problem == "coin.bias × coin.sides must multiply into at most 1000000 tasks; got 2001000."
    (problem,) = problems_of(spec(realisations=10**12))
    assert problem.startswith("run.realisations must come to at most 100000000 in all tasks together;")


def test_file_that_is_none(tmp_path):
    path = tmp_path / "sweep.toml"
    for content, sentence in [
        (b"experiment = ", "The spec is not TOML: "),
        (b"x = " + b"[" * 9999, "The spec is not TOML that can be read: "),
        (b"x = " + b"9" * 9999, "The spec is not TOML: "),
        (b"\xff", f"{path} is not UTF-8 text."),
    ]:
        path.write_bytes(content)
        with pytest.raises(SpecError) as caught:
            load_spec(path, REGISTRY)
        assert str(caught.value).startswith(sentence)
    with pytest.raises(SpecError, match="cannot be read: No such file or directory"):
        load_spec(tmp_path / "absent.toml", REGISTRY)
    with pytest.raises(SpecError, match="cannot be read: not a plain file"):
        load_spec(tmp_path, REGISTRY)


def test_mark_of_byte_order_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(TEXT, encoding="utf-8-sig")
    assert load_spec(path, REGISTRY) == spec_from_text(TEXT, REGISTRY)


# --- anything at all ------------------------------------------------------------------------------------------------

scalars = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.datetimes(), st.none())
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
places = st.sampled_from([("coin", field) for field in ("bias", "sides", "metal", "fair", "shape", "weights", "odd")])


@settings(max_examples=300, deadline=None)
@given(place=places, value=anything, section=st.none() | anything)
def test_any_value_is_taken_or_refused_and_a_refused_one_makes_no_folder(tmp_path_factory, place, value, section):
    mapping = spec()
    mapping[place[0]][place[1]] = value
    if section is not None:
        mapping["run"] = section
    try:
        spec_from_mapping(mapping, REGISTRY)
        return
    except SpecError as error:
        problems = error.problems
    assert all(len(problem) < 400 for problem in problems)
    out = tmp_path_factory.getbasetemp() / "never"
    with pytest.raises(SpecError) as caught:
        run(mapping, out, registry=REGISTRY)
    assert caught.value.problems == problems != ()
    assert not out.exists()


@settings(max_examples=100, deadline=None)
@given(
    value=st.one_of(st.text(), st.booleans(), st.floats(max_value=-1e-9), st.floats(min_value=1.01), st.just(math.nan))
)
def test_no_bias_outside_its_bounds_is_taken(value):
    assert problems_of(spec(bias=value))
