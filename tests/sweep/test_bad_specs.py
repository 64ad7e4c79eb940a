"""Any spec at all, through the command line: what cannot be run gives exit code 2, sentences, and no folder."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthop.cli import main
from fasthop.sweep.errors import SpecError
from fasthop.sweep.spec import spec_from_text

GOOD = {
    "experiment": "capacity",
    "seed": 1,
    "memory": {"neurons": [10, 20], "rule": "hebb", "activation": {"name": "tanh", "beta": 4.0}},
    "patterns": {"load": 0.1},
    "cues": {"flip": 0.1, "per_realisation": 4},
    "run": {"realisations": 4, "tolerance": 1e-6},
}

#: Wrong in any place of any spec.
WRONG = st.sampled_from([None, "", "hebbian", -1, 10**30, -0.5, 1e400, [], [[1]], {}, {"from": 1}, {"name": "tahn"}])
BAD_KEY = st.from_regex(re.compile(r"[a-z_]{1,8}x", re.ASCII), fullmatch=True)


def as_toml(mapping):
    """Write a mapping as TOML, with inline tables below the first level."""

    def value(one):
        if one is None:
            return "2024-01-01"  # no field takes a date
        if isinstance(one, dict):
            return "{" + ", ".join(f"{key} = {value(entry)}" for key, entry in one.items()) + "}"
        if isinstance(one, list):
            return "[" + ", ".join(map(value, one)) + "]"
        return {"inf": "inf"}.get(str(one), json.dumps(one))

    plain = [f"{key} = {value(one)}" for key, one in mapping.items() if not isinstance(one, dict)]
    tables = [
        "\n".join([f"[{name}]", *(f"{key} = {value(one)}" for key, one in section.items())])
        for name, section in mapping.items()
        if isinstance(section, dict)
    ]
    return "\n".join([*plain, *tables])


@st.composite
def bad_specs(draw):
    mapping = {name: dict(part) if isinstance(part, dict) else part for name, part in GOOD.items()}
    for _ in range(draw(st.integers(1, 3))):
        section = draw(st.sampled_from(["memory", "patterns", "cues", "run"]))
        kind = draw(st.sampled_from(["key", "value", "section", "seed", "missing", "stop"]))
        if kind == "key":
            mapping[section][draw(BAD_KEY)] = 1
        elif kind == "value":
            mapping[section][draw(st.sampled_from(sorted(mapping[section]) or ["neurons"]))] = draw(WRONG)
        elif kind == "section":
            mapping[draw(BAD_KEY)] = {"a": 1}
        elif kind == "seed":
            mapping["seed"] = draw(WRONG)
        elif kind == "stop":
            mapping["run"]["stop"] = draw(WRONG)
        else:
            mapping["run"].pop("realisations", None)
    return mapping


@settings(max_examples=150, deadline=None)
@given(mapping=bad_specs())
def test_bad_spec_is_refused_with_sentences_and_without_a_folder(tmp_path_factory, mapping):
    root = tmp_path_factory.getbasetemp() / "bad"
    root.mkdir(exist_ok=True)
    path, out = root / "spec.toml", root / "out"
    path.write_text(as_toml(mapping), encoding="utf-8")
    assert main(["run", str(path), "--out", str(out)]) == 2
    assert not out.exists()
    with pytest.raises(SpecError) as caught:
        spec_from_text(path.read_text(encoding="utf-8"))
    assert caught.value.problems
    for problem in caught.value.problems:
        assert re.match(r"([a-z_]+(\.[a-z_]+)*( ×| and)? |The spec is not TOML)", problem), problem
        assert problem[-1] in ".?"
        assert len(problem) < 400


def test_the_good_one_is_good():
    """So that the others are refused for what was done to them."""
    assert spec_from_text(as_toml(GOOD)).realisations == 4
