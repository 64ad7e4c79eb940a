"""The memories of a task: what a learning rule makes of the patterns of every realisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fasthop.dynamics.discrete import Attention, Energy, Rule, Signs
from fasthop.experiments import fields
from fasthop.experiments.experiment import Field, Task
from fasthop.experiments.stored.patterns import SIZES, choice, draw_patterns, size_of
from fasthop.model.activations import as_activation
from fasthop.model.memory import Memory
from fasthop.models import dense_associative_memory, exponential_memory, softmax_memory
from fasthop.storage import inputs
from fasthop.storage.rules import covariance, hebb, maximal_stability, projector, storkey
from fasthop.storage.wear import dilute, dilute_one_way, quantise

#: Rules that make one matrix of couplings between the neurons: of patterns, (R, P, N), and a task, W or W and more.
COUPLED: dict[str, Callable[[np.ndarray, Task], Any]] = {
    "hebb": lambda xi, task: hebb(xi, self_coupling=task["self_coupling"]),
    "pseudo-inverse": lambda xi, task: projector(xi, self_coupling=task["self_coupling"]),
    "storkey": lambda xi, task: storkey(xi, self_coupling=task["self_coupling"]),
    "covariance": lambda xi, task: covariance(xi, activity=_activity(task), self_coupling=task["self_coupling"]),
    "maximal-stability": lambda xi, task: maximal_stability(xi, self_coupling=task["self_coupling"])[0],
    "file": lambda xi, task: _own(xi, task),
}


class _Grouped(NamedTuple):
    """How a task says what `memory` is made with, and the discrete rule of the same name for N neurons."""

    memory: Callable[..., Memory]
    options: Callable[[Task], dict[str, Any]]
    discrete: Callable[[np.ndarray, Task], Rule]


#: Rules that add a memory neuron for each pattern; the neurons of the patterns are features.
GROUPED = {
    "dense": _Grouped(
        dense_associative_memory,
        lambda task: {"power": task["power"], "rectified": task["rectified"]},
        lambda xi, task: Energy(
            partial(_whole_power, power=task["power"], rectified=task["rectified"]), xi, -task["threshold"]
        ),
    ),
    "exponential": _Grouped(
        exponential_memory,
        lambda task: {},
        lambda xi, task: Energy(partial(_exponential, neurons=xi.shape[1]), xi, -task["threshold"]),
    ),
    "softmax": _Grouped(
        softmax_memory,
        lambda task: {"beta": task["memory_gain"]},
        lambda xi, task: Attention(task["memory_gain"], xi, -task["threshold"]),
    ),
}

RULES = (*COUPLED, *GROUPED)

FIELDS = (
    Field("memory", "neurons", "neurons", int, None, True, least=1, doc="N; digits and files have theirs", shown=SIZES),
    Field("memory", "rule", "rule", str, "hebb", True, choices=RULES, doc="learning rule"),
    Field("memory", "self_coupling", "self_coupling", bool, False, True, doc="keep the diagonal of W"),
    fields.activation({"name": "tanh", "beta": 8.0}, "beta", doc="tanh and its gain"),
    Field(
        "memory",
        "weights",
        "weights_file",
        str,
        None,
        True,
        doc='a .npy file with W, for rule = "file"',
        complete=inputs.named,
    ),
    Field("memory", "power", "power", int, 3, True, least=2, most=64, doc='n, for rule = "dense"'),
    Field(
        "memory", "rectified", "rectified", bool, False, True, doc='whether overlaps below 0 count as 0, for "dense"'
    ),
    Field("memory", "memory_gain", "memory_gain", float, 1.0, True, least=1e-6, doc='β of the memories of "softmax"'),
    Field("memory", "dilution", "dilution", float, 0.0, True, least=0, most=0.999, doc="share of pairs that are cut"),
    Field("memory", "asymmetry", "asymmetry", float, 0.0, True, least=0, most=0.999, doc="share cut in one direction"),
    Field("memory", "levels", "levels", int, 0, True, least=0, most=256, doc="values of W; 0: not quantised"),
    Field("memory", "threshold", "threshold", float, 0.0, True, doc="θ, taken from the bias of every neuron"),
)


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with these values taken together, as `(section.key, sentence)`."""
    rule, activation = task["rule"], as_activation(task["activation"])
    size, kind = size_of(task), task["pattern_kind"]
    found = []
    allowed = ("tanh", "identity") if rule == "softmax" else ("tanh",)
    if activation.name not in allowed:
        found.append(("memory.activation", f"must be {' or '.join(allowed)} for {rule!r}; got {activation.name!r}."))
    if kind == "spherical" and (rule, activation.name) != ("softmax", "identity"):
        due = 'rule = "softmax" and activation = "identity"'
        found.append(("patterns.kind", f'must be of ±1, not "spherical", without {due}: others saturate.'))
    if (rule == "file") != (task["weights_file"] is not None):
        found.append(("memory.weights", 'must be given for rule = "file", and for no other.'))
    elif rule == "file":
        found += _wrong_weights(task["weights_file"], size.neurons)
    if rule in GROUPED:
        found += [
            (f"memory.{name}", f"must be left out for rule = {rule!r}, which has no couplings between neurons.")
            for name in ("self_coupling", "dilution", "asymmetry", "levels")
            if task[name]
        ]
    elif task["levels"] == 1:
        found.append(("memory.levels", "must be 0 or at least 2; got 1."))
    if rule == "pseudo-inverse" and size.patterns > (rank := _greatest_rank(task)):
        what = "the number of neurons" if rank == size.neurons else f"the rank of patterns.kind = {kind!r}"
        found.append(("patterns", f"must be at most {rank}, {what}, for the pseudo-inverse; got {size.patterns}."))
    if rule == "maximal-stability" and size.neurons == 1 and not task["self_coupling"]:
        found.append(("memory.neurons", "must be at least 2 for maximal-stability without self_coupling; got 1."))
    return found


def _wrong_weights(name: str, neurons: int) -> list[tuple[str, str]]:
    try:
        W = inputs.weights_of(name)
    except ValueError as error:
        return [("memory.weights", f"cannot be used: {error}")]
    if len(W) != neurons:
        return [("memory.weights", f"must be for {neurons} neurons, as the patterns are; it has {len(W)}.")]
    return []


def _greatest_rank(task: Task) -> int:
    """Return how many independent patterns there can be."""
    there = choice(task)
    return size_of(task).neurons if there is None else int(np.linalg.matrix_rank(there))


class Stored(NamedTuple):
    """Memories of R realisations and what they have stored.

    Attributes
    ----------
    memory : Memory
        R memories together. The first N neurons are those of the patterns; memory neurons may follow.
    patterns : float64 array, shape (R, P, N)
    rank : int64 array, shape (R,)
        Of the patterns, looked at by the pseudo-inverse alone, which random patterns of few neurons, that coincide,
        would stop.
    """

    memory: Memory
    patterns: np.ndarray
    rank: np.ndarray

    def start(self, cues: np.ndarray) -> np.ndarray:
        """Return the states that cues of shape (R, C, N) start from: y = cue, memory neurons where it drives them."""
        n = self.patterns.shape[2]
        if self.memory.neurons == n:
            return cues
        hidden = np.matmul(self.outputs(cues), np.swapaxes(self._feedforward, 1, 2)) + self.memory.b[:, None, n:]
        return np.concatenate([cues, hidden], axis=2)

    def start_at(self, places: np.ndarray, owner: np.ndarray) -> np.ndarray:
        """Return the same states for places of shape (M, N) that belong to these memories, shape (M,)."""
        n = self.patterns.shape[2]
        if self.memory.neurons == n:
            return places
        hidden = np.empty((len(places), self.memory.neurons - n))
        for r in np.unique(owner):
            rows = owner == r
            # No BLAS, whose last bits depend on how many rows are asked about together.
            hidden[rows] = np.einsum("mn,pn->mp", self.outputs(places[rows]), self._feedforward[r])
            hidden[rows] += self.memory.b[r, n:]
        return np.concatenate([places, hidden], axis=1)

    def outputs(self, states: np.ndarray) -> np.ndarray:
        """Return g of the neurons of the patterns, shape (R, C, N), of states or cues."""
        return self.memory.spans[0][1].g(states[..., : self.patterns.shape[2]])

    def alone(self, index: int) -> Memory:
        """Return the memory of one realisation."""
        weights = self.memory.weights.replaced(self.memory.weights.stored[index : index + 1], None)
        return Memory(weights, self.memory.b[index], layers=self.memory.layers, dtype=self.memory.dtype)

    @property
    def _feedforward(self) -> np.ndarray:
        """The weights from features to memory neurons, shape (R, P, N)."""
        count, patterns, n = self.patterns.shape
        return self.memory.weights.stored.reshape(count, patterns, n)


def store(task: Task, realisations: Sequence[int], seed: int) -> Stored:
    """Draw the patterns of a task and learn them; realisation and seed alone decide the draws.

    Parameters
    ----------
    task : mapping
        States are float64 where it has no `dtype`.
    realisations : sequence of int
    seed : int

    Returns
    -------
    Stored
    """
    xi = draw_patterns(task, realisations, seed)
    if task["rule"] in GROUPED:
        return Stored(_grouped(task, xi), xi, np.full(len(xi), xi.shape[1]))
    W, rank = _learn(task, xi)
    W = _worn(task, W, realisations, seed)
    b = np.full(xi.shape[::2], -task["threshold"])
    if task["rule"] == "covariance":
        # With a the mean of the patterns, their fields are the patterns themselves and not ξ − a, but for the others.
        given = _activity(task)
        a = xi.mean(axis=(1, 2)) if given is None else np.full(len(xi), given)
        b += a[:, None] * (1 - W.sum(axis=2))
    return Stored(Memory(W, b, task["activation"], dtype=task.get("dtype", np.float64)), xi, rank)


def _activity(task: Task) -> float | None:
    """Return the mean that random patterns are drawn with, which few of them need not have; others have their own."""
    return float(task["bias"]) if task["pattern_kind"] == "random" else None


def _own(xi: np.ndarray, task: Task) -> np.ndarray:
    W = np.array(np.broadcast_to(inputs.weights_of(task["weights_file"]), (len(xi), *(xi.shape[2],) * 2)))
    index = np.arange(0 if task["self_coupling"] else W.shape[1])
    W[:, index, index] = 0.0
    return W


def _learn(task: Task, xi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return W and the rank of the patterns, of every realisation."""
    made = COUPLED[task["rule"]](xi, task)
    return made if isinstance(made, tuple) else (made, np.full(len(xi), xi.shape[1]))


def _worn(task: Task, W: np.ndarray, realisations: Sequence[int], seed: int) -> np.ndarray:
    """Return the weights as dilution and quantisation leave them."""
    if task["dilution"]:
        W = dilute(W, task["dilution"], seed=seed, realisations=realisations)
    if task["asymmetry"]:
        W = dilute_one_way(W, task["asymmetry"], seed=seed, realisations=realisations)
    return quantise(W, task["levels"]) if task["levels"] else W


def _grouped(task: Task, xi: np.ndarray) -> Memory:
    rule = GROUPED[task["rule"]]
    options = rule.options(task) | {"features": task["activation"], "bias": -task["threshold"]}
    return rule.memory(xi, **options, dtype=task.get("dtype", np.float64))


def width_of(task: Task) -> int:
    """Return how many neurons a memory of a task has, memory neurons too."""
    neurons, patterns = size_of(task)
    return neurons + patterns if task["rule"] in GROUPED else neurons


def discrete_rules(task: Task, stored: Stored) -> list[Rule]:
    """Return the discrete rules of the same name for the neurons of the patterns, of every realisation.

    Signs of fields for couplings, the lower energy for dense and exponential memories, attention for softmax.
    """
    if task["rule"] not in GROUPED:
        W, b = (np.asarray(part, np.float64) for part in (stored.memory.W, stored.memory.b))
        return [Signs(*pair) for pair in zip(W, b, strict=True)]
    return [GROUPED[task["rule"]].discrete(xi, task) for xi in stored.patterns]


def _exponential(overlap: np.ndarray, *, neurons: int) -> np.ndarray:
    # Any factor will do: the one that keeps most overlaps from 0 and all of them from infinity.
    return np.asarray(np.exp(overlap - max(neurons / 2, neurons - 700)))


def _whole_power(overlap: np.ndarray, *, power: int, rectified: bool) -> np.ndarray:
    # Scaled by a power of two, which is exact, so that no power overflows.
    scaled = overlap / 2.0 ** np.ceil(np.log2(np.abs(overlap).max()))
    return np.asarray((np.maximum(scaled, 0) if rectified else scaled) ** power)
