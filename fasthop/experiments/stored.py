"""What is stored and what it is recalled from: the patterns, weights and cues of a task, as a spec names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fasthop.activations import spelled_out
from fasthop.experiments.experiment import Field, Task
from fasthop.learning import covariance, hebb, maximal_stability, projector, storkey
from fasthop.patterns import (
    add_noise,
    correlated_patterns,
    digit_choice,
    digit_means,
    flip,
    flip_exactly,
    hide,
    hide_last,
    random_patterns,
)

RULES = ("hebb", "pseudo-inverse", "storkey", "covariance", "maximal-stability")
KINDS = ("random", "correlated", "digit-means", "digit-images")

#: Ways to spoil a cue, each a field of [cues]; a task has at most one of them.
NOISES = ("flip", "flips", "sigma", "hidden", "hidden_last")

FIELDS = (
    Field("memory", "neurons", "neurons", int, None, True, least=1, doc="N; for digits it is 64"),
    Field("memory", "rule", "rule", str, "hebb", True, choices=RULES, doc="learning rule"),
    Field("memory", "self_coupling", "self_coupling", bool, False, True, doc="keep the diagonal of W"),
    Field(
        "memory",
        "activation",
        "activation",
        dict,
        {"name": "tanh", "beta": 8.0},
        True,
        doc="tanh and its gain",
        complete=spelled_out,
    ),
    Field("patterns", "kind", "pattern_kind", str, "random", False, choices=KINDS, doc="what is stored"),
    Field("patterns", "load", "load", float, None, True, least=0, doc="patterns per neuron"),
    Field("patterns", "count", "patterns", int, None, True, least=1, doc="patterns, instead of a load"),
    Field("patterns", "bias", "bias", float, 0.0, True, least=-1, most=1, doc="mean of an entry of a random pattern"),
    Field("patterns", "correlation", "correlation", float, 0.0, True, least=0, most=1, doc="overlap of any two"),
    Field("cues", "flip", "flip", float, 0.0, True, least=0, most=1, doc="probability that an entry is flipped"),
    Field("cues", "flips", "flips", int, 0, True, least=0, doc="entries that are flipped, exactly"),
    Field("cues", "sigma", "sigma", float, 0.0, True, least=0, doc="standard deviation of Gaussian noise"),
    Field("cues", "hidden", "hidden", int, 0, True, least=0, doc="entries that are hidden, at random"),
    Field("cues", "hidden_last", "hidden_last", int, 0, True, least=0, doc="last entries that are hidden"),
)


class Size(NamedTuple):
    """N and P of a task."""

    neurons: int
    patterns: int


def size_of(task: Task) -> Size:
    """Return the numbers of neurons and patterns, which digits or a load may decide."""
    if task["pattern_kind"] == "digit-means":
        return Size(64, 10)
    neurons = 64 if task["pattern_kind"] == "digit-images" else task["neurons"]
    count = task["patterns"]
    return Size(neurons, count if count is not None else max(1, round(task["load"] * neurons)))


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with these values taken together, as `(section.key, sentence)`."""
    found = []
    kind, neurons, load, count = (task[name] for name in ("pattern_kind", "neurons", "load", "patterns"))
    random = kind in ("random", "correlated")
    if not random and neurons not in (None, 64):
        found.append(("memory.neurons", f"must be 64, or left out, for patterns.kind = {kind!r}; got {neurons}."))
    if random and neurons is None:
        found.append(("memory.neurons", f'is missing; patterns.kind = "{kind}" needs it.'))
    if kind != "random" and task["bias"]:
        found.append(("patterns.bias", f'must be 0 for kind = "{kind}"; got {task["bias"]:g}.'))
    if kind != "correlated" and task["correlation"]:
        found.append(("patterns.correlation", f'must be 0 for kind = "{kind}"; got {task["correlation"]:g}.'))
    if kind == "digit-means":
        if load is not None or count not in (None, 10):
            found.append(("patterns", 'must have neither load nor count for kind = "digit-means": there are 10.'))
    elif (load is None) == (count is None):
        found.append(("patterns", "must have either load or count."))
    given = [f"{name} = {task[name]:g}" for name in NOISES if task[name]]
    if len(given) > 1:
        found.append(("cues", f"must have one kind of noise; got {' and '.join(given)}."))
    if found:
        return found
    size = size_of(task)
    found += [
        (f"cues.{name}", f"must be at most {size.neurons}, the neurons; got {task[name]}.")
        for name in ("flips", "hidden", "hidden_last")
        if task[name] > size.neurons
    ]
    if kind == "digit-images" and size.patterns > 1797:
        found.append(("patterns.count", f"must be at most 1797, the number of images; got {size.patterns}."))
    if task["rule"] == "pseudo-inverse" and size.patterns > size.neurons:
        most = f"at most {size.neurons}, the number of neurons, for the pseudo-inverse"
        found.append(("patterns", f"must be {most}; got {size.patterns}."))
    if task["rule"] == "maximal-stability" and size.neurons == 1 and not task["self_coupling"]:
        found.append(("memory.neurons", "must be at least 2 for maximal-stability without self_coupling; got 1."))
    if task["rule"] == "covariance" and (abs(task["bias"]) == 1 or size.neurons * size.patterns == 1):
        found.append(("patterns", "must differ from their mean for the covariance rule: more of them, |bias| below 1."))
    return found


def draw_patterns(task: Task, realisations: Sequence[int], seed: int) -> np.ndarray:
    """Return the patterns of every realisation, shape (R, P, N)."""
    size, kind = size_of(task), task["pattern_kind"]
    if kind == "random":
        return random_patterns(size.patterns, size.neurons, bias=task["bias"], seed=seed, realisations=realisations)
    if kind == "correlated":
        return correlated_patterns(
            size.patterns, size.neurons, task["correlation"], seed=seed, realisations=realisations
        )
    if kind == "digit-images":
        return digit_choice(size.patterns, seed=seed, realisations=realisations)
    return np.broadcast_to(digit_means(), (len(realisations), 10, 64))


class Learnt(NamedTuple):
    """What a rule has made of the patterns of R realisations.

    Attributes
    ----------
    W : float64 array, shape (R, N, N)
    b : float64 array, shape (R, N)
        0 but for the covariance rule: a(1 − Σ_j W_ij) with a the mean of the patterns, so that their fields are the
        patterns themselves, and not ξ − a, up to what the others add.
    rank : int64 array, shape (R,)
        Of the patterns, looked at by the pseudo-inverse alone, which random patterns of few neurons, that coincide,
        would stop.
    """

    W: np.ndarray
    b: np.ndarray
    rank: np.ndarray


def learn(task: Task, xi: np.ndarray) -> Learnt:
    """Return the weights and biases that a task's rule makes of patterns of shape (R, P, N)."""
    rule, kept = task["rule"], task["self_coupling"]
    count, patterns, neurons = xi.shape
    rank, b = np.full(count, patterns), np.zeros((count, neurons))
    if rule == "pseudo-inverse":
        W, rank = projector(xi, self_coupling=kept)
    elif rule == "maximal-stability":
        W = maximal_stability(xi, self_coupling=kept)[0]
    elif rule == "covariance":
        W = covariance(xi, self_coupling=kept)
        b = xi.mean(axis=(1, 2))[:, None] * (1 - W.sum(axis=2))
    else:
        W = {"hebb": hebb, "storkey": storkey}[rule](xi, self_coupling=kept)
    return Learnt(W, b, rank)


def draw_cues(task: Task, xi: np.ndarray, cues: range, realisations: Sequence[int], seed: int) -> np.ndarray:
    """Return the cues of these numbers, shape (R, C, N): cue c is pattern c mod P with the task's noise."""
    given: dict[str, Any] = {"cues": cues, "seed": seed, "realisations": realisations}
    if task["flips"]:
        return flip_exactly(xi, task["flips"], **given)
    if task["sigma"]:
        return add_noise(xi, task["sigma"], **given)
    if task["hidden"]:
        return hide(xi, task["hidden"], **given)
    clean = flip(xi, task["flip"], **given)
    return hide_last(clean, task["hidden_last"]) if task["hidden_last"] else clean
