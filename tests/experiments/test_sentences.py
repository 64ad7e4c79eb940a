"""Tables say what the sentences of data/columns.md say, computed again by plain NumPy from the ends of `settle`."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

import fasthop as fh
from fasthop.experiments.capacity import EXPERIMENT
from fasthop.experiments.memories import networks as memory_networks
from fasthop.experiments.networks import goe_networks, positive_definite
from fasthop.experiments.recall import OUTCOMES
from fasthop.sweep.run import table

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
            "dense": lambda: fh.models.dense_associative_memory(
                xi, options.get("power", 3), activation, rectified=options.get("rectified", False), bias=-theta
            ),
            "exponential": lambda: fh.models.exponential_memory(xi, activation, bias=-theta),
            "softmax": lambda: fh.models.softmax_memory(xi, options["memory_gain"], activation, bias=-theta),
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
    found = fh.capacity(
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
        "correlated": lambda: fh.storage.correlated_patterns(patterns, neurons, case.get("correlation"), **given),
        "spherical": lambda: fh.storage.spherical_patterns(patterns, neurons, **given),
        "digit-means": lambda: np.repeat(fh.digit_means()[None], realisations, axis=0),
        **{name: lambda: fh.storage.choose(there[kind](), patterns, **given) for name in ("file", "digit-images")},
    }
    xi = draw[kind]()
    drawn = {"cues": cues, **given}
    if case.get("flips"):
        starts = fh.storage.flip_exactly(xi, case["flips"], **drawn)
    elif case.get("hidden"):
        starts = fh.storage.hide(xi, case["hidden"], **drawn)
    elif case.get("sigma"):
        starts = fh.add_noise(xi, case["sigma"], **drawn)
    else:
        starts = fh.flip(xi, flip, **drawn)
    assert set(EXPERIMENT.schema.names) <= set(found)
    for r, row in found.set_index("realisation").iterrows():
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


# --- the other tables -------------------------------------------------------------------------------------------------


def rows_of(experiment, **sections):
    return table({"experiment": experiment, "seed": SEED, **sections})


@pytest.mark.parametrize(("bias", "rule"), [(0.0, "hebb"), (-0.4, "covariance")])
def test_dead_rows_are_what_their_sentences_say(bias, rule):
    gain, count, patterns, n = 1.6, 12, 6, 40
    found = rows_of(
        "dead",
        memory={"neurons": n, "rule": rule, "activation": "hard_tanh", "gain": gain},
        patterns={"count": patterns, "bias": bias},
        cues={"flip": 0.15, "per_realisation": count},
        run={"realisations": 3},
    ).set_index("realisation")
    given = {"seed": SEED, "realisations": range(3)}
    xi = fh.random_patterns(patterns, n, bias=bias, **given)
    cues = fh.flip(xi, 0.15, cues=count, **given)
    for r, row in found.iterrows():
        W, b = (fh.hebb(xi[r]), np.zeros(n)) if rule == "hebb" else (fh.covariance(xi[r], activity=bias), None)
        b = bias * (1 - W.sum(axis=1)) if b is None else b
        memory = fh.Memory(gain * W, gain * b, "hard_tanh")
        ends = fh.settle(memory, gain * cues[r], tolerance=row["tolerance"], t_max=row["t_max"], dt=row["dt"])
        due = dict.fromkeys(("retrieved", "lost", "collapsed", "open", "all_dead"), 0)
        dead = dict.fromkeys(("retrieved", "lost", "collapsed"), 0)
        for c in range(count):
            y, g = ends.state[c], memory.layers[0].activation.g(ends.state[c])
            kind, _ = fate(ends.kind[c], g, xi[r], c % patterns, row["criterion"], bias != 0)
            if ends.kind[c] != "settled":
                due["open"] += 1
                continue
            group = kind if kind in ("retrieved", "collapsed") else "lost"
            due[group] += 1
            dead[group] += (abs(y) >= 1).sum()
            due["all_dead"] += (abs(y) >= 1).all()
        assert {name: row[name] for name in due} == due
        assert {name: row[f"dead_{name}"] for name in dead} == dead
        assert row["retrieved"] + row["lost"] + row["collapsed"] + row["open"] == row["cues"] == count


def steady_states(W, b):
    """Steady states of a ReLU network by all supports, whether each is stable, and its dead neurons."""
    n = len(b)
    for alive in itertools.product([False, True], repeat=n):
        S = np.array(alive)
        y = b.copy()
        if S.any():
            inner = np.eye(S.sum()) - W[np.ix_(S, S)]
            y[S] = np.linalg.solve(inner, b[S])
            y[~S] = W[np.ix_(~S, S)] @ y[S] + b[~S]
        if (y[S] > 0).all() and (y[~S] <= 0).all():
            stable = not S.any() or np.linalg.eigvalsh(W[np.ix_(S, S)]).max() < 1
            yield y, stable, int((~S).sum())


def test_memories_rows_are_what_their_sentences_say():
    n, count = 5, 30
    found = rows_of(
        "memories",
        network={"kind": "goe", "neurons": n, "radius": 3.0, "mean": -0.8, "bias": 1.0},
        starts={"count": count},
        run={"realisations": 12},
    )
    W, b = goe_networks(n, 3.0, -0.8, 1.0, seed=SEED, realisations=range(12))
    for r, row in found.set_index("realisation").iterrows():
        states = list(steady_states(W[r], b[r]))
        memories = [y for y, stable, _ in states if stable]
        assert (row["steady"], row["stable"], row["degenerate"]) == (len(states), len(memories), 0)
        assert row["dead"] == sum(dead for _, stable, dead in states if stable)
        starts = fh.Uniform(row["low"], row["high"]).draw(count, n, seed=SEED, realisation=r)
        ends = fh.settle(fh.Memory(W[r], b[r], "relu"), starts, tolerance=row["tolerance"], t_max=row["t_max"])
        near = [
            next((m for m, y in enumerate(memories) if np.abs(np.maximum(y, 0) - np.maximum(end, 0)).max() < 1e-5), -1)
            for end in ends.state[ends.settled]
        ]
        assert (row["found"], row["astray"]) == (len(set(near) - {-1}), near.count(-1))
        assert (row["starts"], row["settled"]) == (count, ends.settled.sum())
        assert row["dead_settled"] == (ends.state[ends.settled] <= 0).sum()
        assert (row["unsettled"], row["diverged"]) == tuple((ends.kind == k).sum() for k in ("unsettled", "diverged"))
    assert (found["stable"] > 1).any()


@pytest.mark.parametrize("bias", [0.0, -0.4])
def test_ends_rows_are_what_their_sentences_say(bias):
    n, patterns, count = 30, 6, 40
    found = rows_of(
        "ends",
        memory={"neurons": n, "activation": {"name": "tanh", "beta": 4.0}},
        patterns={"count": patterns, "bias": bias},
        cues={"flip": 0.4},
        starts={"kind": "cues", "count": count},
        run={"realisations": 3},
    )
    given = {"seed": SEED, "realisations": range(3)}
    xi = fh.random_patterns(patterns, n, bias=bias, **given)
    cues = fh.flip(xi, 0.4, cues=count, **given)
    for r, group in found.groupby("realisation"):
        W = fh.hebb(xi[r])
        memory = fh.Memory(W, activation={"name": "tanh", "beta": 4.0})
        ends = fh.settle(memory, cues[r], tolerance=1e-10, t_max=1e4, dt=group["dt"].iloc[0])
        distinct = []  # states and hits
        for y in ends.state[ends.settled]:
            same = next(
                (k for k, (z, _) in enumerate(distinct) if np.abs(np.tanh(4 * y) - np.tanh(4 * z)).max() < 1e-5), None
            )
            if same is None:
                distinct.append([y, 1])
            else:
                distinct[same][1] += 1
        distinct.sort(key=lambda pair: -pair[1])
        settled = group[group["end"] >= 0]
        assert settled["hits"].tolist() == [hits for _, hits in distinct]
        assert settled["end"].tolist() == list(range(len(distinct)))
        assert group["hits"].sum() == count
        for (y, _), row in zip(distinct, settled.to_dict("records"), strict=True):
            g = np.tanh(4 * y)
            overlaps = [overlap(list(np.sign(g)), pattern, bias != 0) for pattern in xi[r]]
            nearest = max(range(patterns), key=lambda p: abs(overlaps[p]))
            close(abs(row["overlap"]), abs(overlaps[nearest]), "overlap")
            close(row["overlap"], overlaps[row["nearest"]], "overlap")
            kind, _ = fate("settled", g, xi[r], row["nearest"], 0.9, bias != 0)
            words = {"retrieved": "pattern", "inverted": "inverse", "other_memory": "pattern", "spurious": "other"}
            assert row["kind"].split("-")[0] == words.get(kind, kind)
            L = np.logaddexp(4 * y, -4 * y) / 4 - math.log(2) / 4
            close(row["energy"], (y * g - L).sum() - g @ W @ g / 2, "energy")
            assert row["k"] == (abs(4 * y) > 18.8).sum()
            spectrum = np.linalg.eigvals(W * (4 / np.cosh(4 * y) ** 2) - np.eye(n)).real.max()
            assert row["largest"] == pytest.approx(spectrum, abs=1e-7)
            assert (row["verdict"] == "stable") == (spectrum < 0)


def test_basins_rows_are_what_their_sentences_say():
    W, b, count = np.array([[0.0, -1.5, 0.2], [-1.5, 0.0, 0.2], [0.2, 0.2, 0.3]]), np.array([1.0, 1.0, 0.5]), 200
    found = rows_of(
        "basins",
        memory={"weights": W.tolist(), "bias": b.tolist(), "activation": "relu"},
        starts={"low": -3.0, "high": 3.0, "count": count},
        run={"realisations": 2},
    )
    for r, group in found.groupby("realisation"):
        starts = fh.Uniform(-3, 3).draw(count, 3, seed=SEED, realisation=r)
        first = group.iloc[0]
        ends = fh.settle(fh.Memory(W, b, "relu"), starts, tolerance=1e-10, t_max=1e4, dt=first["dt"])
        owner = np.full(count, -1)
        for row in group.to_dict("records"):
            y = np.array(row["state"])
            mine = ends.settled & (np.abs(np.maximum(ends.state, 0) - np.maximum(y, 0)).max(axis=1) < 1e-6)
            owner[mine] = row["attractor"]
            assert (row["hits"], row["starts"], row["kind"]) == (mine.sum(), count, "settled")
            low, high = stats.binomtest(int(mine.sum()), count).proportion_ci(0.95, method="wilson")
            for name, due in (("share", mine.mean()), ("share_low", low), ("share_high", high)):
                close(row[name], due, name)
            close(row["mean_time"], ends.time[mine].mean(), "mean_time")
            close(row["worst_residual"], ends.residual[mine].max(), "worst_residual")
            g = np.maximum(y, 0)
            close(row["energy"], (g * g / 2).sum() - b @ g - g @ W @ g / 2, "energy")
            A = W * (y > 0)
            assert row["under_1"] == ("stable" if np.linalg.eigvals(A - np.eye(3)).real.max() < 0 else "unstable")
        assert group["attractor"].tolist() == list(range(len(group)))
        hits = group["hits"].tolist()
        assert hits == sorted(hits, reverse=True)
        assert (owner >= 0).all()


def test_radii_rows_are_what_their_sentences_say():
    n, patterns = 50, 3
    found = rows_of(
        "radii",
        memory={"neurons": n},
        patterns={"count": patterns},
        rays={"random": 3, "memories": 2, "aimed": 2, "bound": 2.0},
        run={"realisations": 2, "tolerance": 1e-8},
    )
    xi = fh.random_patterns(patterns, n, seed=SEED, realisations=range(2))
    for r, group in found.groupby("realisation"):
        memory = fh.Memory(fh.hebb(xi[r]), activation=fh.Tanh(8.0))
        ends = fh.settle(memory, xi[r], tolerance=1e-8)
        back = [np.mean(np.sign(y) * p) >= 0.9 for y, p in zip(ends.state, xi[r], strict=True)]
        assert (group["kept"] == sum(back)).all()
        for row in group.to_dict("records"):
            home = ends.state[row["pattern"]]
            assert row["censored"] == np.isinf(row["upper"])
            if row["direction"] != "memory":
                assert np.isinf(row["distance"])
                continue
            goal = ends.state[row["target"]]
            close(row["distance"], np.linalg.norm(goal - home), "distance")
            unit = (goal - home) / row["distance"]
            inside = home + row["lower"] * unit
            close(row["overlap"], np.mean(np.sign(inside) * np.sign(home)), "overlap")
            there = fh.settle(memory, [inside], tolerance=1e-8, dt=row["dt"]).state[0]
            assert np.abs(np.tanh(8 * there) - np.tanh(8 * home)).max() < 1e-5
            if not row["censored"]:
                out = fh.settle(memory, [home + row["upper"] * unit], tolerance=1e-8, dt=row["dt"])
                assert out.kind[0] == row["outside"]
                near = [
                    k
                    for k in range(patterns)
                    if np.abs(np.tanh(8 * out.state[0]) - np.tanh(8 * ends.state[k])).max() < 1e-5
                ]
                assert near == ([] if row["neighbour"] < 0 else [row["neighbour"]])


def test_slices_rows_are_what_their_sentences_say():
    n, side = 40, 32
    found = rows_of(
        "slices",
        memory={"neurons": n},
        patterns={"count": 3},
        plane={"resolution": side, "extent": 1.5, "box": 4, "check": 0},
        run={"realisations": 2, "tolerance": 1e-8},
    )
    xi = fh.random_patterns(3, n, seed=SEED, realisations=range(2))
    places = 1.5 * (2 * (np.arange(side) + 0.5) / side - 1)
    for r, row in found.set_index("realisation").iterrows():
        memory = fh.Memory(fh.hebb(xi[r]), activation=fh.Tanh(8.0))
        image = np.array(row["labels"]).reshape(side, side)
        assert row["ends"] == len(np.unique(image[image >= 0]))
        starts = [a * xi[r][0] + b * xi[r][1] for a in places for b in places]
        ends = fh.settle(memory, starts, tolerance=1e-8)
        overlaps = np.sign(ends.state) @ xi[r].T / n
        clear = (np.abs(np.abs(places)[:, None] - np.abs(places)) > 0.01).ravel()  # on diagonals rounding decides
        for label, m in zip(image.ravel()[clear], overlaps[clear], strict=True):
            due = next((p for p in range(3) if m[p] >= 0.9), next((3 + p for p in range(3) if m[p] <= -0.9), 6))
            assert min(label, 6) == due
        for name, labels in (("pattern", (0, 1, 2)), ("inverse", (3, 4, 5))):
            close(row[name], np.isin(image, labels).mean(), name)
        close(row["mixture"] + row["collapsed"] + row["other"], (image >= 6).mean(), "other")
        entropies = []
        for i in range(0, side, 4):
            for j in range(0, side, 4):
                _, counts = np.unique(image[i : i + 4, j : j + 4], return_counts=True)
                entropies.append(-sum(c / 16 * math.log(c / 16) for c in counts))
        mixed = [e for e in entropies if e > 1e-12]
        close(row["entropy"], np.mean(entropies), "entropy")
        close(row["boundary_entropy"], np.mean(mixed), "boundary_entropy")
        close(row["boundary_boxes"], len(mixed) / len(entropies), "boundary_boxes")
        assert row["fractal"] == (np.mean(mixed) > math.log(2))


def test_certainty_rows_are_what_their_sentences_say():
    n, count = 5, 20
    found = rows_of(
        "certainty",
        network={"kind": "clique", "neurons": n, "edges": 0.5, "inhibition": 1.5},
        starts={"count": count},
        run={"realisations": 6, "loose": 1e-2},
    )
    W, b = memory_networks({"network": "clique", "neurons": n, "edges": 0.5, "inhibition": 1.5}, range(6), SEED)
    W, b = positive_definite(W, b, 0.1)
    for r, row in found.set_index("realisation").iterrows():
        memory = fh.Memory(W[r], b[r], "relu")
        memories = [np.maximum(y, 0) for y, stable, _ in steady_states(W[r], b[r]) if stable]
        starts = fh.Uniform(row["low"], row["high"]).draw(count, n, seed=SEED, realisation=r)
        how = {"t_max": row["t_max"], "dt": float(fh.default_step(memory))}
        ends, loose = (fh.settle(memory, starts, tolerance=row[name], **how) for name in ("tolerance", "loose"))

        def nearest(state, memories=memories):
            return min(range(len(memories)), key=lambda m: np.abs(np.maximum(state, 0) - memories[m]).max())

        assert (row["stable"], row["settled"]) == (len(memories), ends.settled.sum())
        assert row["steps"] == ends.steps[ends.settled].sum()
        assert row["steps_loose"] == loose.steps[ends.settled].sum()
        wrong = sum(
            loose.settled[k] and (not ends.settled[k] or nearest(loose.state[k]) != nearest(ends.state[k]))
            for k in range(count)
        )
        assert row["wrong_loose"] == wrong
        assert row["wrong"] == 0
        assert row["certain_by_energy"] <= row["certain"] <= row["settled"]
        assert row["steps_certain"] <= row["steps_by_energy"] <= row["steps"]
