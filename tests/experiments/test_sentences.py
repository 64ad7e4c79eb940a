"""Tables say what the sentences of data/columns.md say, computed again by plain NumPy from the ends of `settle`."""

import math

import numpy as np
import pytest

import fasthop as fh
from fasthop.experiments.capacity import SCHEMA
from fasthop.experiments.recall import OUTCOMES

SEED = 5


def close(got, due, where):
    assert got == pytest.approx(due, rel=1e-11, abs=1e-11, nan_ok=True), where


# --- capacity ---------------------------------------------------------------------------------------------------------


def overlap(state, pattern, biased):
    """(1/N) ξ·s, or centred where the patterns have a mean."""
    plain = sum(s * x for s, x in zip(state, pattern, strict=True)) / len(pattern)
    if not biased:
        return plain
    mean, own = sum(pattern) / len(pattern), sum(state) / len(state)
    return (plain - mean * own) / (1 - mean**2) if abs(mean) < 1 else 0.0


def fate(kind, g, xi, own, criterion, biased):
    """What has become of a cue, in the words of the table, and which criteria it meets."""
    if kind != "settled":
        return kind, set()
    of_signs = all(abs(x) == 1 for x in xi.ravel())
    small = sum(abs(v) < 0.1 for v in g)
    if np.mean(abs(g)) < 0.5 or (of_signs and small > 0.01 * len(g) and small > 1):
        return "collapsed", set()
    signs = [float(np.sign(v)) for v in g]
    wrong = sum(s != np.sign(x) for s, x in zip(signs, xi[own], strict=True))
    met = {"exact"} if wrong == 0 else set()
    met |= {"few_errors"} if wrong <= 0.02 * len(g) else set()
    met |= {"close"} if np.mean((xi[own] - g) ** 2) <= 0.05 else set()
    state = signs if of_signs else list(g * math.sqrt(len(g)) / math.sqrt(sum(v * v for v in g)))
    overlaps = [overlap(state, pattern, biased) for pattern in xi]
    if overlaps[own] >= criterion:
        return "retrieved", met
    if overlaps[own] <= -criterion:
        return "inverted", met
    if any(abs(m) >= criterion for nu, m in enumerate(overlaps) if nu != own):
        return "other_memory", met
    nearest = sorted(range(len(xi)), key=lambda nu: -abs(overlaps[nu]))
    for count in (3, 5):
        if count <= len(xi):
            total = sum(np.sign(overlaps[nu]) * xi[nu] for nu in nearest[:count])
            if abs(overlap(state, np.sign(total), biased)) >= 0.9:
                return "mixture", met
    return "spurious", met


def energy_of(rule, xi, state, power, rectified):
    h = xi @ state
    if rule == "exponential":
        return -sum(math.exp(v - len(state)) for v in h)
    return -sum((max(v, 0.0) if rectified else v) ** power for v in h)


def one_step(rule, W, b, xi, state, i, options):
    """The sign that the others ask of neuron i, 0 where they ask nothing."""
    if rule in ("dense", "exponential"):
        up, down = state.copy(), state.copy()
        up[i], down[i] = 1, -1
        energies = (
            energy_of(rule, xi, s, options.get("power", 3), options.get("rectified", False)) for s in (up, down)
        )
        gap = np.subtract(*energies)
        return 0 if gap == 0 else (1 if gap < 0 else -1)
    field = math.fsum(w * s for w, s in zip(W[i], state, strict=True)) + b[i]
    return 0 if abs(field) < 1e-13 else (1 if field > 0 else -1)


def attention(xi, state, beta):
    h = beta * (xi @ state)
    weight = np.exp(h - h.max())
    return weight @ xi / weight.sum()


def discrete(rule, W, b, xi, cue, options):
    """Where the discrete rule brings a cue."""
    if rule == "softmax":
        state = cue
        for _ in range(1000):
            state = attention(xi, state, options["memory_gain"])
        return state
    state = np.sign(cue)
    for _ in range(100):
        before = state.copy()
        for i in range(len(state)):
            state[i] = one_step(rule, W, b, xi, state, i, options) or state[i]
        if (state == before).all():
            break
    return state


def memory_of(rule, xi, activation, options):
    """One memory, its couplings and biases (None for those that have memory neurons), and its rank column."""
    theta = options.get("threshold", 0.0)
    if rule in ("dense", "exponential", "softmax"):
        make = {
            "dense": lambda: fh.dense_associative_memory(
                xi, options.get("power", 3), activation, rectified=options.get("rectified", False), bias=-theta
            ),
            "exponential": lambda: fh.exponential_memory(xi, activation, bias=-theta),
            "softmax": lambda: fh.softmax_memory(xi, options["memory_gain"], activation, bias=-theta),
        }[rule]
        return make(), None, None, len(xi)
    rank = len(xi)
    b = np.full(xi.shape[1], -theta)
    if rule == "pseudo-inverse":
        W, rank = fh.pseudo_inverse(xi), np.linalg.matrix_rank(xi)
    elif rule == "covariance":
        a = options.get("bias", 0.0)
        W = fh.covariance(xi, activity=a)
        b = b + a * (1 - W.sum(axis=1))
    else:
        W = {"hebb": fh.hebb, "storkey": fh.storkey, "maximal-stability": lambda x: fh.maximal_stability(x)[0]}[rule](
            xi
        )
    return fh.Memory(W, b, activation), W, b, int(rank)


CASES = [
    {"patterns": 6},
    {"patterns": 12},  # beyond the capacity: mixtures, spurious states
    {"patterns": 5, "flip": 0.6},  # inverted ones
    {"patterns": 6, "bias": 0.5},
    {"rule": "covariance", "patterns": 6, "bias": -0.5, "threshold": 0.1},
    {"patterns": 6, "kind": "correlated", "correlation": 0.3},
    {"rule": "storkey", "patterns": 8, "hidden": 10, "flip": 0.0},
    {"rule": "pseudo-inverse", "patterns": 12, "flip": 0.0, "flips": 4},
    {"rule": "maximal-stability", "patterns": 6},
    {"rule": "dense", "patterns": 15, "power": 3, "rectified": True, "neurons": 12},
    {"rule": "exponential", "patterns": 10, "neurons": 12, "flip": 0.3},
    {"rule": "softmax", "patterns": 10, "kind": "spherical", "memory_gain": 0.5, "sigma": 0.5, "flip": 0.0},
    {"rule": "softmax", "patterns": 4, "memory_gain": 0.5, "neurons": 16},
    {"patterns": 4, "activation": {"name": "tanh", "beta": 1.05}},  # collapses
    {
        "rule": "softmax",
        "patterns": 40,
        "kind": "spherical",
        "memory_gain": 0.2,
        "sigma": 0.5,
        "flip": 0.0,
        "neurons": 9,
    },
    {"patterns": 3, "kind": "file", "neurons": None},
    {"patterns": None, "kind": "digit-means", "neurons": None, "rule": "pseudo-inverse"},
    {"patterns": 5, "kind": "digit-images", "neurons": None, "rule": "storkey"},
]


@pytest.fixture
def pattern_file(tmp_path):
    """A file of more patterns than are stored, and the patterns."""
    patterns = np.sign(np.random.default_rng(3).normal(size=(6, 40)))
    np.save(tmp_path / "patterns.npy", patterns)
    return str(tmp_path / "patterns.npy"), patterns


@pytest.mark.parametrize("case", CASES, ids=str)
def test_capacity_rows_are_what_their_sentences_say(case, pattern_file):
    rule, kind = case.get("rule", "hebb"), case.get("kind", "random")
    neurons, patterns, cues, realisations = case.get("neurons", 40), case["patterns"], 14, 4
    activation = case.get("activation", "identity" if rule == "softmax" else {"name": "tanh", "beta": 8.0})
    flip, biased = case.get("flip", 0.1), case.get("bias", 0.0) != 0
    memory_spec = {"rule": rule, "activation": activation}
    memory_spec |= {name: case[name] for name in ("power", "rectified", "memory_gain", "threshold") if name in case}
    memory_spec |= {} if neurons is None else {"neurons": neurons}
    pattern_spec = {"kind": kind} if patterns is None else {"kind": kind, "count": patterns}
    pattern_spec |= {name: case[name] for name in ("bias", "correlation") if name in case}
    pattern_spec |= {"file": pattern_file[0]} if kind == "file" else {}
    cue_spec = {"flip": flip, "per_realisation": cues}
    cue_spec |= {name: case[name] for name in ("flips", "hidden", "sigma") if name in case}
    table = fh.capacity(
        seed=SEED,
        memory=memory_spec,
        patterns=pattern_spec,
        cues=cue_spec,
        run={"realisations": realisations, "tolerance": 1e-7, "t_max": 300.0},
    )
    there = {
        "file": lambda: pattern_file[1],
        "digit-means": fh.digit_means,
        "digit-images": lambda: fh.digit_images()[0],
    }
    neurons = neurons or there[kind]().shape[1]
    patterns = patterns or 10
    given = {"seed": SEED, "realisations": range(realisations)}
    draw = {
        "random": lambda: fh.random_patterns(patterns, neurons, bias=case.get("bias", 0.0), **given),
        "correlated": lambda: fh.correlated_patterns(patterns, neurons, case.get("correlation"), **given),
        "spherical": lambda: fh.spherical_patterns(patterns, neurons, **given),
        "digit-means": lambda: np.repeat(fh.digit_means()[None], realisations, axis=0),
        **{name: lambda: fh.choose(there[kind](), patterns, **given) for name in ("file", "digit-images")},
    }
    xi = draw[kind]()
    drawn = {"cues": cues, **given}
    if case.get("flips"):
        starts = fh.flip_exactly(xi, case["flips"], **drawn)
    elif case.get("hidden"):
        starts = fh.hide(xi, case["hidden"], **drawn)
    elif case.get("sigma"):
        starts = fh.add_noise(xi, case["sigma"], **drawn)
    else:
        starts = fh.flip(xi, flip, **drawn)
    assert set(SCHEMA.names) <= set(table)
    for r, row in table.set_index("realisation").iterrows():
        memory, W, b, rank = memory_of(rule, xi[r], activation, case)
        g_of = memory.layers[0].activation.g
        y = starts[r]
        if memory.neurons > neurons:
            stored = np.asarray(memory.weights.stored).reshape(patterns, neurons)
            y = np.concatenate([y, np.einsum("cn,pn->cp", g_of(y), stored) + memory.b[neurons:]], axis=1)
        ends = fh.settle(memory, y, tolerance=1e-7, t_max=300.0)
        due = dict.fromkeys((*OUTCOMES, "exact", "few_errors", "close", "discrete", "fixed_patterns"), 0)
        sums = dict.fromkeys(("sign_overlap", "overlap", "retrieval_time"), ())
        for c in range(cues):
            target, g = xi[r][c % patterns], g_of(ends.state[c, :neurons])
            outcome, met = fate(ends.kind[c], g, xi[r], c % patterns, 0.9, biased)
            due[outcome] += 1
            for name in met:
                due[name] += 1
            if outcome == "retrieved":
                measured = (np.mean(np.sign(g) * target), np.mean(g * target), ends.time[c])
                sums = {name: (*sums[name], value) for name, value in zip(sums, measured, strict=True)}
            end = discrete(rule, W, b, xi[r], starts[r][c], case)
            state = end * math.sqrt(neurons) / np.linalg.norm(end) if kind == "spherical" else np.sign(end)
            due["discrete"] += overlap(list(state), target, biased) >= 0.9
        for pattern in xi[r]:
            if rule == "softmax":
                due["fixed_patterns"] += (attention(xi[r], pattern, case["memory_gain"]) * pattern > 0).all()
            else:
                asked = [one_step(rule, W, b, xi[r], pattern.copy(), i, case) for i in range(neurons)]
                due["fixed_patterns"] += (np.array(asked) == np.sign(pattern)).all()
        for name, value in due.items():
            assert row[name] == value, (name, r)
        for name, values in sums.items():
            close(row[f"{name}_sum"], math.fsum(values), name)
            close(row[f"{name}_square_sum"], math.fsum(v * v for v in values), name)
        assert row["steps_sum"] == ends.steps.sum()
        close(row["time_sum"], ends.time.sum(), "time_sum")
        close(row["dt"], float(ends.dt), "dt")
        assert sum(row[name] for name in OUTCOMES) == row["cues"] == cues
        said = (
            neurons,
            patterns,
            patterns / neurons,
            rule,
            kind,
            rank,
            case.get("bias", 0.0),
            case.get("threshold", 0.0),
        )
        names = ("neurons", "patterns", "load", "rule", "pattern_kind", "rank", "bias", "threshold")
        assert tuple(row[name] for name in names) == said
