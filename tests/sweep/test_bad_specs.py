"""Any spec at all, through the command line: what cannot be run gives exit code 2, sentences, and no folder."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthop.cli import main
from fasthop.sweep.errors import SpecError
from fasthop.sweep.spec import spec_from_mapping, spec_from_text

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


# --- specs that nobody writes in good faith -------------------------------------------------------------------------

DEEP = "one of its keys has too many parts"
RANGES = "alpha = { from = 0, to = 1, by = 1e-5 }, beta = { from = 1, to = 1e5, by = 1 }"
LONG = f"activation = {{ name = 'smooth-leaky-relu', {RANGES} }}"


def text(memory="neurons = 10", patterns="load = 0.1", first="", last=""):
    run = "[run]\nrealisations = 4"
    cues = "[cues]\nflip = 0.1\nper_realisation = 4"
    return f"{first}\nexperiment = 'capacity'\n[memory]\n{memory}\n[patterns]\n{patterns}\n{cues}\n{run}\n{last}"


HOSTILE = {
    "a key of 5000 parts": (text(first=".".join("a" * 5000) + " = 1"), DEEP),
    "a section of 5000 parts": (text(last="[" + " . ".join("a" * 5000) + "]\nx = 1"), DEEP),
    "5000 lists in each other": (text(last="x = " + "[" * 5000 + "]" * 5000), "nested too deep"),
    "5000 tables in each other": (text(last="x = " + "{a = " * 5000 + "1" + "}" * 5000), "nested too deep"),
    "30 lists in each other": (text(last="x = " + "[" * 30 + "]" * 30), "at most 20 levels of tables and lists"),
    "5000 digits": (text("neurons = " + "9" * 5000), "it has a number of too many digits"),
    "4000 digits": (text("neurons = " + "9" * 4000), "got a whole number of 13288 bits"),
    "a large number": (text(patterns="load = 1e308"), "patterns.load cannot be 1e+308: "),
    "two long ranges": (text(f"neurons = 10\n{LONG}"), "memory.activation must multiply into at most 100000 values"),
    "a long range": (
        text(patterns="load = { from = 1e-6, to = 0.999999, by = 1e-6 }"),
        "patterns.load must have at most 100000 values",
    ),
    "200 000 wrong entries": (
        text("neurons = [" + "-1," * 200_000 + "]"),
        "must be a whole number of at least 1; got -1",
    ),
    "20000 wrong keys": (text("neurons = 10\n" + "\n".join(f"k{i} = 1" for i in range(20000))), "memory.k0 is no key"),
    "a long key": (text("neurons = 10\n" + "k" * 10**5 + " = 1"), "memory.kkk"),
    "too much text": (text(last="#" * 9 * 10**6), "must have at most 8000000 characters"),
    "a key that is a command": (
        text('neurons = 10\n"a\\u001b[2J\\u202eb\\u009b" = 1'),
        "memory.a\\x1b[2J\\u202eb\\x9b is no",
    ),
    "a section that is a command": (text(last='["\\u001b]0;x\\u0007"]\na = 1'), "\\x1b]0;x\\x07 is no section"),
    "a value that is a command": (text("neurons = 10\nrule = '\u202e\u2028'"), "memory.rule must be one of"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_spec_costs_neither_time_nor_memory_nor_the_terminal(tmp_path, capsys, what):
    content, sentence = HOSTILE[what]
    path = tmp_path / "spec.toml"
    path.write_text(content, encoding="utf-8")
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert sentence in errors
    assert len(errors) < 6000
    assert errors.replace("\n", "").isprintable()
    assert not (tmp_path / "out").exists()


def test_as_much_as_is_allowed_is_allowed():
    """A list of that many values, keys of several parts, text that looks like a key."""
    lines = "pattern_file = '" + "a." * 12 + "'\n# " + "1.5, " * 100
    with pytest.raises(SpecError, match=r"patterns\.pattern_file is no key"):
        spec_from_text(text(patterns=f"load = 0.1\n{lines}"))
    assert spec_from_text(text("neurons = 10\nactivation.name = 'tanh'\nactivation.beta = 4.0")).realisations == 4


def test_value_in_a_python_mapping_may_be_anything():
    endless = []
    endless.append(endless)
    for value in (endless, range(10**9), 10**5000, [10**5000]):
        with pytest.raises(SpecError):
            spec_from_mapping({**GOOD, "memory": {"neurons": value}})
        with pytest.raises(SpecError):
            spec_from_mapping({**GOOD, "experiment": value})
