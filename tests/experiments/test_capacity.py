import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import integrate

import fasthop as fh
import naive
from fasthop.experiments import capacity, recall, stored
from fasthop.plots import figures as plot
from rows import rows_of


def task(**changes):
    given = {
        "neurons": 40,
        "rule": "hebb",
        "self_coupling": False,
        "activation": {"name": "tanh", "beta": 8.0},
        "pattern_kind": "random",
        "load": None,
        "patterns": 5,
        "relative_load": None,
        "pattern_file": None,
        "weights_file": None,
        "power": 3,
        "rectified": False,
        "memory_gain": 1.0,
        "dilution": 0.0,
        "asymmetry": 0.0,
        "levels": 0,
        "threshold": 0.0,
        "anneal_from": 0.0,
        "anneal_stages": 8,
        "anneal_time": 10.0,
        "bias": 0.0,
        "correlation": 0.0,
        "flip": 0.1,
        "flips": 0,
        "sigma": 0.0,
        "hidden": 0,
        "hidden_last": 0,
        "cues": 12,
        "criterion": 0.9,
        "method": "rk4",
        "tolerance": 1e-8,
        "t_max": 1000.0,
        "dtype": "float64",
    }
    assert set(changes) <= set(given)
    return given | changes


def rate(column, **changes):
    chosen = task(**changes)
    rows = rows_of(capacity, chosen, range(20), 1)
    return rows[column].sum() / rows["cues"].sum()


def test_a_row_is_what_numpy_finds():
    chosen = task()
    rows = rows_of(capacity, chosen, [3], 7)
    xi = fh.random_patterns(5, 40, seed=7, realisations=[3])[0]
    W = xi.T @ xi / 40
    np.fill_diagonal(W, 0)
    cues = fh.flip(xi[None], 0.1, cues=12, seed=7, realisations=[3])[0]
    h, steps, overlaps = float(rows["dt"].iloc[0]), 0, []
    counts = dict.fromkeys(["retrieved", "exact", "few_errors", "close"], 0)
    for c, cue in enumerate(cues):
        end, taken = naive.settle(W, 0, lambda y: naive.tanh(y, 8.0), cue, h, 1e-8, 10_000, naive.rk4)
        overlap = np.mean(np.sign(end) * xi[c % 5])
        alive = np.abs(np.tanh(8 * end)).mean() >= 0.5
        counts["retrieved"] += alive and overlap >= 0.9
        counts["exact"] += alive and overlap == 1
        counts["few_errors"] += alive and overlap >= 0.96
        counts["close"] += alive and np.mean((np.tanh(8 * end) - xi[c % 5]) ** 2) <= 0.05
        overlaps += [(overlap, np.mean(np.tanh(8 * end) * xi[c % 5]))] if alive and overlap >= 0.9 else []
        steps += taken
    row = rows.iloc[0]
    assert {name: row[name] for name in counts} == counts
    assert row["steps_sum"] == steps
    assert row["sign_overlap_sum"] == pytest.approx(sum(pair[0] for pair in overlaps), rel=1e-14)
    assert row["overlap_sum"] == pytest.approx(sum(pair[1] for pair in overlaps), rel=1e-13)
    assert row["overlap_square_sum"] == pytest.approx(sum(pair[1] ** 2 for pair in overlaps), rel=1e-13)
    assert row["fixed_patterns"] == (np.sign(xi @ W) == xi).all(axis=1).sum()
    found = 0
    for c, sigma in enumerate(cues.copy()):
        for _ in range(20):
            for i in range(40):
                sigma[i] = np.sign(W[i] @ sigma)
        found += np.mean(sigma * xi[c % 5]) >= 0.9
    assert row["discrete"] == found


def test_every_cue_has_one_outcome_and_rows_fit_the_schema():
    rows = rows_of(capacity, task(patterns=9), range(4), 0)
    assert (rows[list(capacity.OUTCOMES)].sum(axis=1) == rows["cues"]).all()


RULES = {
    "hebb": {},
    "pseudo-inverse": {},
    "storkey": {},
    "covariance": {"bias": 0.4},
    "maximal-stability": {},
}


@pytest.mark.parametrize(
    "changes",
    [
        *({"rule": rule, **more} for rule, more in RULES.items()),
        {"dtype": "float32", "tolerance": 1e-5},
        {"pattern_kind": "correlated", "correlation": 0.2},
        *({"flip": 0.0, noise: amount} for noise, amount in (("flips", 4), ("sigma", 0.7), ("hidden", 10))),
        {"flip": 0.0, "hidden_last": 20},
        {"dilution": 0.3},
        {"asymmetry": 0.3},
        {"levels": 3},
        {"rule": "dense", "patterns": 60},
        {"rule": "exponential", "patterns": 60, "neurons": 12},
        {"rule": "softmax", "patterns": 60, "activation": {"name": "identity"}},
        {"anneal_from": 1.2, "anneal_stages": 3},
        {"rule": "covariance", "bias": -0.5, "threshold": 0.1},
    ],
    ids=str,
)
def test_a_realisation_does_not_depend_on_its_chunk(changes):
    chosen = task(**changes)
    together = rows_of(capacity, chosen, range(5), 2)
    apart = pd.concat([rows_of(capacity, chosen, [r], 2) for r in range(5)], ignore_index=True)
    pd.testing.assert_frame_equal(together, apart, check_exact=True)


def test_unsettled_cues_are_counted_as_such_and_bound_the_rate():
    rows = rows_of(capacity, task(t_max=5.0), range(3), 2)
    assert rows["unsettled"].sum() > 0
    summary = capacity.summarise(rows).iloc[0]
    assert summary["retrieved_worst"] < summary["retrieved_best"]
    assert summary["retrieved_best"] - summary["retrieved_worst"] == pytest.approx(summary["unsettled"])


def test_half_of_the_patterns_of_a_hebb_memory_come_back_at_the_known_load():
    # P½/N = .1888 ± .0013 at N = 100, β = 8, clean cues, overlap ≥ .9: measured beforehand with an independent script.
    loads = np.array([0.15, 0.17, 0.19, 0.21, 0.23])
    rates = [
        rate("retrieved", neurons=100, patterns=None, load=load, flip=0.0, cues=50, tolerance=1e-6) for load in loads
    ]
    assert np.all(np.diff(rates) < 0)
    half = np.interp(0.5, rates[::-1], loads[::-1])
    assert half == pytest.approx(0.189, abs=0.012)


def test_digits_come_back_from_the_pseudo_inverse_and_not_from_hebb():
    # Exact recall .993 / .885 at 10 / 20 % flips: measured beforehand with an independent script.
    digits = {"neurons": None, "patterns": None, "pattern_kind": "digit-means", "cues": 100}
    assert rate("exact", **digits, rule="pseudo-inverse") == pytest.approx(0.993, abs=0.01)
    assert rate("exact", **digits, rule="pseudo-inverse", flip=0.2) == pytest.approx(0.885, abs=0.03)
    assert rate("exact", **digits, rule="hebb") < 0.3


def test_a_state_that_kept_its_signs_but_collapsed_is_no_memory():
    # Above β (1 − P/N) = 1 the stored pattern decays: 60 of 64 dimensions leave nothing of it at β = 8.
    crowded = {"neurons": 64, "patterns": 60, "rule": "pseudo-inverse", "flip": 0.0, "cues": 20}
    assert rate("collapsed", **crowded) > 0.9
    assert rate("retrieved", **crowded) == 0.0
    assert rate("retrieved", **crowded | {"patterns": 30}) == 1.0


@pytest.mark.parametrize(
    ("neurons", "faint", "alive"), [(64, 1, True), (64, 2, False), (300, 3, True), (300, 4, False)]
)
def test_a_faint_neuron_in_a_hundred_or_one_is_no_collapse(neurons, faint, alive):
    xi = fh.random_patterns(2, neurons, seed=1)
    states = xi[:1].copy()
    states[0, :faint] *= 0.05
    assert classify(states, xi, np.zeros(1, int)) == ["retrieved" if alive else "collapsed"]


def classify(states, patterns, which, least=0.9, kind="settled"):
    found = recall.classify(np.full((1, len(states)), kind), np.array([states]), np.array([patterns]), which, least)
    return found.outcome[0].tolist()


def test_every_way_to_fail_has_its_name():
    xi = fh.random_patterns(9, 200, seed=3)
    three, five = (np.sign(xi[:count].sum(axis=0)) for count in (3, 5))
    signed = np.sign(xi[0] - xi[4] + xi[7])
    spurious = np.sign(xi.sum(axis=0))
    states = [xi[1], -xi[1], xi[2], -xi[2], three, five, -signed, spurious, 0.01 * xi[1]]
    due = [
        "retrieved",
        "inverted",
        "other_memory",
        "other_memory",
        "mixture",
        "mixture",
        "mixture",
        "spurious",
        "collapsed",
    ]
    assert classify(states, xi, np.ones(9, int)) == due
    for kind in ("unsettled", "diverged", "not_finite", "false_memory", "kink"):
        assert classify(states[:1], xi, np.array([1]), kind=kind) == [kind]
    # A stricter criterion, and a looser one.
    noisy = fh.storage.flip_exactly(xi, 9, seed=1)  # overlap .91
    assert classify(noisy, xi, np.arange(9)) == ["retrieved"] * 9
    assert classify(noisy, xi, np.arange(9), least=0.95) == ["spurious"] * 9


def test_a_mixture_that_a_network_settles_in_is_found():
    xi = fh.random_patterns(3, 400, seed=1)
    memory = fh.Memory(fh.hebb(xi), activation=fh.Tanh(8.0))
    ends = fh.settle(memory, [np.sign(xi.sum(axis=0))])
    assert classify(np.tanh(8 * ends.state), xi, np.zeros(1, int)) == ["mixture"]


def test_turns_are_added_up_to_the_same_rows(monkeypatch):
    chosen = task(cues=50, patterns=7)
    whole = rows_of(capacity, chosen, range(3), 2)
    monkeypatch.setattr(capacity, "_TURN", 40 * 11)
    turns = rows_of(capacity, chosen, range(3), 2)
    assert capacity._turn(chosen) == 11
    sums = [name for name in whole if name.endswith(("overlap_sum", "square_sum", "time_sum"))]
    pd.testing.assert_frame_equal(whole.drop(columns=sums), turns.drop(columns=sums), check_exact=True)
    pd.testing.assert_frame_equal(whole[sums], turns[sums], rtol=1e-14)


def test_memory_does_not_grow_with_the_cues():
    few, many = (task(neurons=1000, patterns=20, cues=cues) for cues in (10**6, 10**9))
    assert capacity._turn(few) == capacity._turn(many)
    assert capacity.per_chunk(few) == capacity.per_chunk(many) == 1
    assert capacity.problems(many) == []


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "covariance"])
@pytest.mark.parametrize("column", ["retrieved", "discrete"])
def test_every_rule_recalls_a_light_load(rule, column):
    assert rate(column, rule=rule, neurons=100, patterns=5) > 0.97


def test_biased_patterns_need_the_covariance_rule():
    biased = {"neurons": 200, "patterns": 10, "bias": 0.5, "flip": 0.05}
    for column in ("retrieved", "discrete"):
        assert rate(column, **biased, rule="covariance") > 0.9
        assert rate(column, **biased, rule="hebb") < 0.5
    # The bias makes the field at a single stored pattern that pattern.
    one = task(rule="covariance", neurons=50, patterns=1, bias=0.4, self_coupling=True)
    xi = fh.random_patterns(1, 50, bias=0.4, seed=1)[None]
    there = stored.store(one, [0], 1)
    np.testing.assert_array_equal(there.patterns, xi)
    np.testing.assert_allclose(there.memory.W[0] @ xi[0, 0] + there.memory.b[0], xi[0, 0], atol=1e-12)


def test_harder_cues_come_back_less():
    base = {"neurons": 100, "patterns": 10, "flip": 0.0}
    for noise, (some, much) in {
        "flips": (5, 40),
        "sigma": (0.3, 3.0),
        "hidden": (20, 90),
        "hidden_last": (20, 95),
    }.items():
        rates = [rate("retrieved", **base, **{noise: amount}) for amount in (some, much)]
        assert rates[0] > rates[1] + 0.1


GAIN = ("patterns.relative_load", "gain above 1")
DIGIT_RANK = (
    "patterns",
    "must be at most 55, the rank of patterns.kind = 'digit-images', for the pseudo-inverse; got 56",
)


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"activation": {"name": "relu"}}, "memory.activation", "must be tanh"),
        ({"neurons": None}, "memory.neurons", "is missing"),
        ({"load": 0.1}, "patterns", "one of load, relative_load and count; got load and count"),
        ({"patterns": None}, "patterns", "a load, a relative_load or a count"),
        ({"patterns": None, "load": 0.01}, "patterns.load", "at least 1 pattern; 0.01 of 40 is none"),
        ({"patterns": None, "load": 0.0}, "patterns.load", "at least 1 pattern; 0 of 40 is none"),
        ({"patterns": None, "relative_load": 0.05}, "patterns.relative_load", "at least 1 pattern"),
        ({"patterns": None, "relative_load": 1.0, "rule": "storkey"}, "patterns.relative_load", "Hebb's rule"),
        ({"patterns": None, "relative_load": 1.0, "activation": {"name": "tanh", "beta": 1.0}}, *GAIN),
        ({"patterns": 41, "rule": "pseudo-inverse"}, "patterns", "at most 40"),
        ({"pattern_kind": "digit-means", "patterns": None}, "memory.neurons", "must be 64"),
        ({"pattern_kind": "digit-images", "neurons": 64, "patterns": 1798}, "patterns.count", "at most 1797"),
        ({"neurons": 10**6}, "memory.neurons", "too large"),
        ({"dtype": "float32"}, "run.tolerance", "at least 1e-6"),
        ({"sigma": 0.5}, "cues", "one kind of noise; got flip = 0.1 and sigma = 0.5"),
        ({"flip": 0.0, "flips": 41}, "cues.flips", "at most 40, the neurons; got 41"),
        ({"flip": 0.0, "hidden": 41}, "cues.hidden", "at most 40"),
        ({"correlation": 0.5}, "patterns.correlation", 'must be 0 for kind = "random"'),
        ({"pattern_kind": "correlated", "bias": 0.5}, "patterns.bias", 'must be 0 for kind = "correlated"'),
        ({"bias": 1.0}, "patterns.bias", "store nothing"),
        ({"pattern_kind": "digit-images", "neurons": 64, "patterns": 56, "rule": "pseudo-inverse"}, *DIGIT_RANK),
        ({"pattern_kind": "spherical"}, "patterns.kind", 'must be of ±1, not "spherical"'),
        ({"pattern_kind": "file"}, "patterns.file", 'must be given for kind = "file"'),
        ({"rule": "file"}, "memory.weights", 'must be given for rule = "file"'),
        ({"rule": "dense", "dilution": 0.5}, "memory.dilution", "must be left out for rule = 'dense'"),
        ({"rule": "dense", "levels": 2}, "memory.levels", "must be left out"),
        ({"levels": 1}, "memory.levels", "0 or at least 2"),
        ({"rule": "softmax", "activation": {"name": "relu"}}, "memory.activation", "must be tanh or identity"),
        ({"anneal_from": 9.0}, "run.anneal_from", "below the gain 8"),
        ({"anneal_from": 1.0, "rule": "dense"}, "run.anneal_from", "couples the neurons"),
        ({"rule": "dense", "patterns": 10**8}, "memory.neurons", "N = 40 and P = 100000000"),
        ({"rule": "maximal-stability", "neurons": 1, "patterns": 1}, "memory.neurons", "at least 2"),
    ],
)
def test_what_does_not_go_together_is_named(changes, path, words):
    [(where, sentence)] = capacity.problems(task(**changes))
    assert where == path
    assert words in sentence


def test_a_good_task_has_no_problems():
    assert capacity.problems(task()) == []


def test_the_summary_pools_counts():
    rows = rows_of(capacity, task(patterns=9), range(4), 0)
    summary = capacity.summarise(rows).iloc[0]
    assert summary["retrieved"] == rows["retrieved"].sum() / rows["cues"].sum()
    assert summary["retrieved_low"] <= summary["retrieved"] <= summary["retrieved_high"]
    assert summary["realisations"] == 4


def test_the_picture_is_a_png(tmp_path):
    rows = pd.concat(
        [
            rows_of(capacity, task(flip=p, rule=rule), range(3), 0)
            for p in (0.0, 0.2)
            for rule in ("hebb", "pseudo-inverse")
        ]
    )
    capacity.plot(capacity.summarise(rows), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("swept", "axis", "label", "lines"),
    [
        (
            {"flip": [0.0, 0.2, 0.4], "patterns": [2, 4]},
            "flip",
            "probability that an entry",
            ["load = 0.05", "load = 0.1"],
        ),
        ({"flip": [0.0, 0.2], "patterns": [2, 4]}, "load", "load α", ["flips = 0", "flips = 0.2"]),
        ({"dilution": [0.0, 0.3, 0.6], "flip": [0.1, 0.2]}, "dilution", "disconnected", ["flips = 0.1", "flips = 0.2"]),
        ({"neurons": [20, 40, 80]}, "neurons", "neurons N", [""]),
        ({"neurons": [9, 30], "load": [0.1, 0.2, 0.3], "patterns": [None]}, "load", "load α", ["N = 9", "N = 30"]),
        ({"activation": [{"name": "tanh", "beta": beta} for beta in (2.0, 8.0, 50.0)]}, "beta", "gain β", [""]),
    ],
)
def test_what_is_swept_most_finely_is_the_axis_of_the_picture(monkeypatch, tmp_path, swept, axis, label, lines):
    figures = []
    monkeypatch.setattr(plot, "save", lambda figure, path: figures.append(figure))
    combinations = [dict(zip(swept, values, strict=True)) for values in itertools.product(*swept.values())]
    rows = pd.concat([rows_of(capacity, task(**some), range(3), 0) for some in combinations])
    summary = capacity.summarise(rows)
    capacity.plot(summary, tmp_path / "a.png")
    [figure] = figures
    shares, times = figure.axes
    assert label in times.get_xlabel()
    assert len(lines) == 1 or [line.get_label() for line in times.lines] == lines
    for column, panel in (("retrieved", shares), ("retrieval_time", times)):
        drawn = [line for line in panel.lines if len(line.get_xdata()) > 1 and line.get_linestyle() == "-"]
        assert len(drawn) == len(lines)
        # Every task is a point of exactly one line.
        found = np.concatenate([line.get_xydata() for line in drawn])
        due = summary[[axis, column]].to_numpy(float)
        order = [np.lexsort(points.T[::-1]) for points in (found, due)]
        np.testing.assert_array_equal(found[order[0]], due[order[1]])
    assert (times.get_xscale() == "log") == (axis == "beta")


def test_constant_patterns_and_weights_that_are_all_cut_do_not_end_a_sweep():
    for changes in ({"rule": "covariance", "bias": -0.9}, {"levels": 2, "dilution": 0.95}):
        rows = rows_of(capacity, task(neurons=3, patterns=1, **changes), range(40), 0)
        assert (rows[list(capacity.OUTCOMES)].sum(axis=1) == rows["cues"]).all()
        assert rows["sign_overlap_sum"].notna().all()


def test_patterns_that_coincide_do_not_end_a_sweep():
    rows = rows_of(capacity, task(neurons=3, patterns=3, rule="pseudo-inverse"), range(40), 0)
    assert rows["rank"].min() < 3
    assert rows["rank"].max() == 3


# --- worn weights ----------------------------------------------------------------------------------------------------


def test_diluted_weights_have_the_share_that_was_asked_for_and_keep_the_signal():
    xi = fh.random_patterns(8, 300, seed=4)
    W = fh.hebb(xi)
    some, more = (fh.storage.dilute(W, share, seed=1) for share in (0.3, 0.6))
    np.testing.assert_array_equal(some, some.T)
    off = ~np.eye(300, dtype=bool)
    kept = [(part[off] != 0).sum() / (W[off] != 0).sum() for part in (some, more)]
    assert kept == pytest.approx([0.7, 0.4], abs=0.02)
    assert not ((more != 0) & (some == 0)).any()
    there = some != 0
    np.testing.assert_allclose(some[there], W[there] / 0.7)
    one_way = fh.storage.dilute_one_way(W, 0.5, seed=1)
    cut = (one_way == 0) & (W != 0)
    assert (cut & cut.T).sum() / cut.sum() == pytest.approx(0.5, abs=0.02)
    # The same cuts whatever stands beside them, and others for another realisation.
    many = fh.storage.dilute(np.stack([W, W]), 0.3, seed=1, realisations=[5, 0])
    np.testing.assert_array_equal(many[1], some)
    assert not np.array_equal(many[0], some)
    np.testing.assert_array_equal(fh.storage.dilute(W, 0.0), W)
    with pytest.raises(ValueError, match="share must be below 1"):
        fh.storage.dilute(W, 1.0)
    with pytest.raises(ValueError, match=r"W must have shape \(N, N\); got \(2, 300, 300\)"):
        fh.storage.dilute(np.stack([W, W]), 0.5)


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 16])
def test_quantised_weights_are_few_values_whose_part_along_w_is_w(levels):
    W = fh.hebb(fh.random_patterns(40, 200, seed=4))
    coarse = fh.storage.quantise(np.stack([W, 3 * W]), levels)
    off = ~np.eye(200, dtype=bool)
    there = off & (W != 0)
    values = np.unique(np.round(coarse[0][there], 12))
    assert len(values) <= levels
    np.testing.assert_allclose(np.diff(values), np.diff(values)[0], rtol=1e-9)
    np.testing.assert_allclose(values, -values[::-1], atol=1e-12)
    np.testing.assert_allclose((coarse[0] * W).sum(), (W * W).sum(), rtol=1e-12)
    np.testing.assert_allclose(coarse[1], 3 * coarse[0], rtol=1e-12)
    if levels == 2:
        np.testing.assert_array_equal(np.sign(coarse[0][there]), np.sign(W[there]))
    noise = np.mean((coarse[0] - W)[off] ** 2) / np.mean(W[off] ** 2)
    assert noise < {2: 0.7, 3: 0.3, 4: 0.25, 5: 0.2, 16: 0.02}[levels]


def test_quantising_needs_something_to_quantise():
    np.testing.assert_array_equal(fh.storage.quantise(np.eye(3), 2), np.eye(3))
    with pytest.raises(ValueError, match="levels must be at least 2 and at most 256; got 1"):
        fh.storage.quantise(np.ones((3, 3)), 1)


@pytest.mark.slow
def test_clipped_and_diluted_memories_hold_less():
    """Signs of Hebb's weights hold about .10 N patterns at N → ∞, its own .138 N (Sompolinsky 1986)."""
    base = {"neurons": 200, "flip": 0.0, "patterns": 30, "cues": 30, "tolerance": 1e-6}
    whole = rate("retrieved", **base)
    assert whole > 0.5
    for worn in ({"levels": 2}, {"dilution": 0.5}):
        assert rate("retrieved", **base, **worn) < whole - 0.25
        assert rate("retrieved", **base | {"patterns": 12}, **worn) > 0.97
    assert 0.5 < rate("retrieved", **base | {"patterns": 18, "cues": 10}, asymmetry=0.3) < 0.99


# --- dense memories --------------------------------------------------------------------------------------------------


def count_fixed(chosen, there):
    rules = stored.discrete_rules(chosen, there)
    return [rule.fixed(xi).sum() for rule, xi in zip(rules, there.patterns, strict=True)]


def single_flips(F, xi):
    """Which patterns no single flip improves, by trying every one."""
    fixed = []
    for pattern in xi:
        energies = []
        for i in range(xi.shape[1]):
            flipped = pattern.copy()
            flipped[i] *= -1
            energies.append(-F(xi @ flipped).sum())
        fixed.append(min(energies) > -F(xi @ pattern).sum())
    return fixed


@pytest.mark.parametrize(
    ("changes", "F"),
    [
        ({"rule": "dense", "power": 3}, lambda h: h**3),
        ({"rule": "dense", "power": 3, "rectified": True}, lambda h: np.maximum(h, 0) ** 3),
        ({"rule": "dense", "power": 4, "patterns": 200}, lambda h: h**4),
        ({"rule": "exponential", "neurons": 9, "patterns": 60}, lambda h: np.exp(h)),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_fixed_patterns_of_dense_memories_are_those_of_the_discrete_rule(changes, F):
    chosen = task(**{"neurons": 16, "patterns": 50} | changes)
    there = stored.store(chosen, range(3), 5)
    due = [sum(single_flips(F, xi)) for xi in there.patterns]
    assert count_fixed(chosen, there) == due
    assert 0 < sum(due) < 3 * there.patterns.shape[1]


def test_fixed_patterns_of_softmax_memories_are_those_of_one_step_of_attention():
    chosen = task(rule="softmax", memory_gain=0.1, neurons=16, patterns=50)
    there = stored.store(chosen, range(2), 5)
    due = []
    for xi in there.patterns:
        weight = np.exp(0.1 * xi @ xi.T)
        due.append(((weight / weight.sum(axis=1, keepdims=True) @ xi) * xi > 0).all(axis=1).sum())
    assert count_fixed(chosen, there) == due
    assert 0 < sum(due) < 100


@pytest.mark.parametrize("neurons", [1300, 1600])
def test_the_discrete_rule_of_exponential_memories_knows_cues_far_from_their_patterns(neurons):
    """e^(ξ·σ − N) is 0 in floating point at their overlap of .3 N, and infinite at N without the −N."""
    far = {"rule": "exponential", "neurons": neurons, "patterns": 20, "cues": 20, "flips": neurons * 35 // 100}
    chosen = task(**far, flip=0.0)
    there = stored.store(chosen, [0], 1)
    cues = stored.draw_cues(chosen, there.patterns, range(20), [0], 1)
    [rule] = stored.discrete_rules(chosen, there)
    states, done = rule.settle(cues[0])
    assert done.all()
    np.testing.assert_array_equal(states, there.patterns[0])
    assert rule.fixed(there.patterns[0]).all()


def test_a_dense_memory_starts_its_memory_neurons_where_the_cue_drives_them():
    there = stored.store(task(rule="dense", threshold=0.25, patterns=30), range(2), 1)
    cues = fh.flip(there.patterns, 0.1, seed=1, realisations=range(2))
    starts = there.start(cues)
    np.testing.assert_array_equal(starts[..., :40], cues)
    field = fh.residual(there.memory, starts)
    np.testing.assert_allclose(field[..., 40:], 0, atol=1e-13)
    np.testing.assert_allclose(there.outputs(starts), np.tanh(8 * cues), rtol=1e-14)
    np.testing.assert_array_equal(there.memory.b[:, :40], -0.25)


def test_dense_memories_retrieve_what_scipy_retrieves():
    """Near P½: of each clean cue LSODA finds the same end, be it the pattern or not."""
    chosen = task(rule="dense", neurons=32, patterns=82, cues=20, flip=0.0, criterion=0.95, tolerance=1e-6, t_max=320.0)
    rows = rows_of(capacity, chosen, [0], 1)
    xi = fh.random_patterns(82, 32, seed=1, realisations=[0])[0]
    X, found = 32 ** (1 / 3 - 1) * xi, 0

    def flow(_, y):
        return np.concatenate([X.T @ y[32:] ** 2 - y[:32], X @ np.tanh(8 * y[:32]) - y[32:]])

    for cue in xi[:20]:
        start = np.concatenate([cue, X @ np.tanh(8 * cue)])
        end = integrate.solve_ivp(flow, (0, 320), start, method="LSODA", rtol=1e-9, atol=1e-10).y[:32, -1]
        g = np.abs(np.tanh(8 * end))
        alive = g.mean() >= 0.5 and (g < 0.1).sum() <= 1
        found += alive and np.mean(np.sign(end) * cue) >= 0.95
    assert 4 < found < 16
    assert rows["retrieved"].tolist() == [found]


@pytest.mark.slow
def test_dense_memories_hold_what_the_discrete_rule_holds():
    """P½/N² of h³ energies from clean cues, overlap ≥ .95: .085 at N = 32 by flipping one neuron at a time, to rest."""
    dense = {"neurons": 32, "rule": "dense", "power": 3, "flip": 0.0, "tolerance": 1e-6, "t_max": 320.0}
    dense |= {"criterion": 0.95, "cues": 60}
    loads = np.array([65, 85, 105])
    for column in ("retrieved", "discrete"):
        rates = [rate(column, **dense, patterns=count) for count in loads.tolist()]
        assert np.interp(0.5, rates[::-1], loads[::-1]) / 32**2 == pytest.approx(0.085, abs=0.006)
    # Rectified, the self-coupling through the memories keeps nearly every clean cue, however many there are; a neuron
    # that is compared with its flip does not see itself.
    many = dense | {"patterns": 300}
    assert rate("retrieved", **many) < 0.05
    assert rate("retrieved", **many, rectified=True) > 0.95
    assert rate("discrete", **many, rectified=True) < 0.2


def test_softmax_memories_recall_patterns_of_the_sphere():
    sphere = {"rule": "softmax", "activation": {"name": "identity"}, "pattern_kind": "spherical", "neurons": 24}
    easy = sphere | {"memory_gain": 1.0, "patterns": 100, "flip": 0.0, "sigma": 0.5}
    assert rate("retrieved", **easy) > 0.95
    assert rate("close", **easy) > 0.95
    assert rate("discrete", **easy) > 0.95
    # A low gain averages over the patterns.
    for column in ("retrieved", "discrete"):
        assert rate(column, **easy | {"memory_gain": 0.05}) < 0.05


# --- sparse patterns, annealing, gains -------------------------------------------------------------------------------


def test_overlaps_of_biased_patterns_do_not_count_what_silence_has():
    xi = fh.random_patterns(4, 400, bias=-0.9, seed=2)
    silence = -np.ones(400)
    assert np.mean(silence * xi[0]) > 0.85
    found = recall.classify(
        np.full((1, 2), "settled"), np.array([[silence, xi[0]]]), xi[None], np.zeros(2, int), 0.9, True
    )
    assert found.outcome[0].tolist() == ["spurious", "retrieved"]
    assert recall.overlap_of(np.array([silence, xi[0]]), xi[0], True) == pytest.approx([0, 1], abs=1e-12)
    assert found.sign_overlap[0].tolist() == [np.mean(silence * xi[0]), 1]  # what is told is not centred
    assert recall.overlap_of(-xi[0], xi[0], True) == pytest.approx(-1)
    assert recall.overlap_of(xi[1], xi[0], False) == np.mean(xi[1] * xi[0])


@pytest.mark.slow
def test_sparse_patterns_hold_more_with_a_threshold():
    sparse = {"rule": "covariance", "bias": -0.8, "neurons": 300, "patterns": 60, "cues": 30, "flip": 0.02}
    rates = [rate("retrieved", **sparse, threshold=theta) for theta in (-0.8, 0.0, 0.8)]
    assert rates[1] > 0.9
    assert max(rates[0], rates[2]) < rates[1] - 0.3


def test_annealing_forgets_what_a_low_gain_cannot_hold_and_adds_up_its_time():
    base = {"neurons": 100, "patterns": 8, "flip": 0.2, "cues": 40, "tolerance": 1e-6}
    plain, warm, hot = (rate("retrieved", **base, anneal_from=gain, anneal_stages=4) for gain in (0.0, 4.0, 1.1))
    assert hot < warm - 0.2  # α_c is .04 at a gain of 1.5, and .118 at 4
    assert warm == pytest.approx(plain, abs=0.05)
    chosen = task(**base, anneal_from=2.0, anneal_stages=2, anneal_time=3.0)
    row = rows_of(capacity, chosen, [1], 4).iloc[0]
    there = stored.store(chosen, [1], 4)
    states, steps = fh.flip(there.patterns, 0.2, cues=40, seed=4, realisations=[1]), 0
    for beta, t_max in ((2.0, 3.0), (4.0, 3.0), (8.0, 1000.0)):
        memory = fh.Memory(there.memory.W, activation=fh.Tanh(beta))
        ends = fh.settle(memory, states, tolerance=1e-6, t_max=t_max)
        states, steps = ends.state, steps + ends.steps.sum()
    assert row["steps_sum"] == steps
    assert row["unsettled"] == (~ends.settled).sum()


def test_retrieval_time_is_that_of_the_retrieved():
    rows = rows_of(capacity, task(patterns=9, flip=0.2), range(6), 0)
    assert 0 < rows["retrieved"].sum() < rows["cues"].sum()
    summary = capacity.summarise(rows).iloc[0]
    assert summary["time"] == pytest.approx(rows["time_sum"].sum() / rows["cues"].sum())
    assert 0 < summary["retrieval_time"] < summary["time"]  # what fails wanders for longer
    assert rows["time_sum"].sum() == pytest.approx((rows["steps_sum"] * rows["dt"]).sum())
    # The interval, against a bootstrap over realisations.
    rng = np.random.default_rng(1)
    many = rows_of(capacity, task(patterns=9, flip=0.2), range(60), 0)
    sums, counts = (many[name].to_numpy(float) for name in ("retrieval_time_sum", "retrieved"))
    drawn = rng.integers(0, 60, (4000, 60))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [0.025, 0.975])
    found = capacity.summarise(many).iloc[0]
    assert found["retrieval_time"] == pytest.approx(sums.sum() / counts.sum())
    assert found["retrieval_time_low"] == pytest.approx(low, abs=0.2 * (high - low))
    assert found["retrieval_time_high"] == pytest.approx(high, abs=0.2 * (high - low))


def test_relative_loads_are_in_units_of_theory():
    chosen = task(patterns=None, relative_load=1.2, neurons=1000, activation={"name": "tanh", "beta": 4.0})
    assert stored.size_of(chosen).patterns == round(1.2 * fh.theory.hebb_capacity(4.0) * 1000)
    dense = task(patterns=None, relative_load=0.05, neurons=100, rule="dense", power=4)
    assert stored.size_of(dense).patterns == 50_000
