"""Whatever a registry has, every product test has: what is added without an oracle is named, and where it is to go."""

import dataclasses
import functools
import runpy
from pathlib import Path

import numpy as np
import pytest

import fasthop as fh
from fasthop.dynamics import ensemble
from fasthop.equilibrium import gradients
from fasthop.equilibrium.adjoints import SOLVERS
from fasthop.equilibrium.clamping import Clamped
from fasthop.equilibrium.parameter_slopes import parameter_slopes
from fasthop.experiments.stored import patterns
from fasthop.experiments.stored.memories import RULES
from fasthop.model import systems
from fasthop.model.activations import ACTIVATIONS, as_activation
from fasthop.model.scope import SCOPES
from fasthop.model.weights import Weights
from fasthop_kernels.dynamics import activations as kernels
from fasthop_kernels.dynamics import products
from fasthop_kernels.linear import adjoint

TESTS = Path(__file__).parent


@functools.cache
def module(file):
    return runpy.run_path(str(TESTS / file))


def named(kinds):
    return {as_activation(kind).name for kind in kinds}


def covers(file, table, found, due):
    """Say in one sentence what a table of a product test lacks, or has too much."""
    missing, strange = sorted(set(due) - set(found), key=str), sorted(set(found) - set(due), key=str)
    assert not missing, f"{missing} has no case in tests/{file}: add it to {table}, with its right values."
    assert not strange, f"{strange} in {table} of tests/{file} is in no registry."


def reachable(function):
    """The systems that a function takes, but for the orthogonal factor, which jumps and has tests of its own."""
    scope = SCOPES[function]
    return {
        (variable, R)
        for variable, R in systems.ALL
        if variable in scope.variables and R in scope.factors and R != "orthogonal factor"
    }


def subclasses(kind):
    return {kind, *(deeper for part in kind.__subclasses__() for deeper in subclasses(part))}


# --- activations ------------------------------------------------------------------------------------------------------

#: By file the tables, and how the activations are named there.
ACTIVATED = [
    ("complex_g.py", "G", lambda t: t["G"]),
    ("model/test_activations.py", "NAMES", lambda t: t["NAMES"]),
    ("kernels/test_magnitudes.py", "ELEMENTWISE or BLOCKS", lambda t: named([*t["ELEMENTWISE"], *t["BLOCKS"]])),
    ("dynamics/test_every_memory.py", "TRAJECTORIES", lambda t: {name for name, *_ in t["TRAJECTORIES"]}),
    ("dynamics/test_every_memory.py", "STABILITIES", lambda t: {name for name, *_ in t["STABILITIES"]}),
    ("energies/test_every_energy.py", "CASES", lambda t: {name for name, *_ in t["CASES"]}),
    ("energies/test_lyapunov.py", "KINDS", lambda t: named(t["KINDS"])),
    ("equilibrium/test_every_activation.py", "CASES", lambda t: {name for name, *_ in t["CASES"]}),
    ("model/test_orthogonal_factor.py", "ACTIVATIONS", lambda t: named(t["ACTIVATIONS"])),
]


@pytest.mark.parametrize(("file", "table", "names"), ACTIVATED)
def test_every_activation_is_in_every_product(file, table, names):
    covers(file, table, names(module(file)), ACTIVATIONS)


def test_activations_by_their_blocks_have_their_oracles():
    for blockwise, file in ((False, "kernels/test_activations.py"), (True, "kernels/test_blockwise.py")):
        due = {name for name, kind in ACTIVATIONS.items() if kind.blockwise == blockwise}
        covers(file, "ALL", named(module(file)["ALL"]), due)


def test_every_activation_with_parameters_has_an_example_of_others():
    given = module("complex_g.py")["EXAMPLES"]
    covers("complex_g.py", "EXAMPLES", given, {name for name, kind in ACTIVATIONS.items() if dataclasses.fields(kind)})
    others = {name for name, theta in given.items() if as_activation({"name": name, **theta}) != ACTIVATIONS[name]()}
    assert others == given.keys()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_parameter_that_is_no_whole_number_has_a_gradient(name):
    kind = ACTIVATIONS[name]()
    due = {field.name for field in dataclasses.fields(kind) if field.type in ("float", float)}
    assert set(parameter_slopes(kind, np.array([[0.3, -0.7, 1.1]]))) == due


def test_every_code_of_the_kernels_has_its_activation():
    codes = {"TANH", "SIGMOID", "RELU", "LEAKY_RELU", "SMOOTH_LEAKY_RELU", "SOFTPLUS", "EXP", "GELU", "SILU", "SELU"}
    codes |= {"GAUSSIAN", "RECTIFIED_POWER", "HARD_TANH", "SOFT_THRESHOLD", "SOFTMAX", "LAYER_NORM", "SPHERE", "POWER"}
    assert sorted({getattr(kernels, code) for code in codes}) == sorted({kind.code for kind in ACTIVATIONS.values()})
    assert {kind.code for kind in ACTIVATIONS.values()} == set(range(len(codes)))


# --- systems and energies ---------------------------------------------------------------------------------------------


def of_memories(memories):
    return {(memory.variable, memory.system.factor.name) for memory in memories}


SYSTEMS = [
    ("dynamics/test_every_memory.py", "SYSTEMS", lambda t: {case[1:] for case in t["TRAJECTORIES"]}, "simulate"),
    ("dynamics/test_every_memory.py", "STABILITIES", lambda t: {case[1:] for case in t["STABILITIES"]}, "stability"),
    ("dynamics/test_jacobians.py", "CASES", lambda t: {case for case in t["CASES"] if case[1] != "tau"}, "polish"),
    ("equilibrium/test_every_activation.py", "SYSTEMS", lambda t: t["SYSTEMS"], "gradient"),
]


@pytest.mark.parametrize(("file", "table", "pairs", "function"), SYSTEMS)
def test_every_system_is_in_every_product(file, table, pairs, function):
    covers(file, table, pairs(module(file)), reachable(function))


def test_every_system_is_in_the_products_that_have_the_orthogonal_factor_too():
    W = 0.1 * np.eye(3)
    drives = module("energies/test_lyapunov.py")["drives"]
    made = [fh.Memory(W, variable=variable, **options) for variable in "yuv" for options in drives(W, variable)]
    covers("energies/test_lyapunov.py", "drives", of_memories(made), systems.ALL)
    scope = module("model/test_scope.py")
    made = [fh.Memory(scope["WEIGHTS"]["symmetric"], **options) for options in scope["SYSTEMS"].values()]
    covers("model/test_scope.py", "SYSTEMS", of_memories(made), systems.ALL)


def test_every_system_has_a_record_and_every_record_a_system():
    assert {variable for variable, _ in systems.ALL} == systems.RESIDUALS.keys()
    assert {R for _, R in systems.ALL} == systems.FACTORS.keys()
    assert set(systems.SYSTEMS.values()) <= set(systems.ALL)
    assert subclasses(systems.Residual) - {systems.Residual} == {type(kind) for kind in systems.RESIDUALS.values()}
    assert subclasses(systems.Factor) - {systems.Factor} == set(systems.FACTORS.values())
    for base in (systems.Residual, systems.Factor):
        with pytest.raises(TypeError, match="abstract"):
            type("Unfinished", (base,), {})()


def test_every_energy_is_in_every_product():
    due = {(variable, kind) for variable, residual in systems.RESIDUALS.items() for kind in residual.energies}
    file = "energies/test_every_energy.py"
    covers(file, "CASES", {case[1:] for case in module(file)["CASES"]}, due)
    file = "energies/test_lyapunov.py"
    forms = module(file)["forms"]
    covers(file, "forms", {(v, kind) for v in "yuv" for kind in forms(3, v) if isinstance(kind, str)}, due)
    for residual in systems.RESIDUALS.values():
        assert set(residual.natural) <= residual.energies.keys()


# --- structures, rules, methods ---------------------------------------------------------------------------------------


def test_every_structure_is_in_every_product():
    due = subclasses(Weights) - {Weights, Clamped}  # what is clamped is made of the others
    of_scope = [fh.Memory(W).weights for W in module("model/test_scope.py")["WEIGHTS"].values()]
    covers("model/test_scope.py", "WEIGHTS", {type(weights) for weights in of_scope}, due)
    kinds = {int(kind) for weights in of_scope for kind in weights.blocks[:, 5]}
    assert kinds == {products.PLAIN, products.TRANSPOSED, products.LOW_RANK, products.DIAGONAL}
    structures = module("equilibrium/test_gradient.py")["STRUCTURES"].values()
    rng = np.random.default_rng(1)
    made = [make(*(rng.standard_normal(shape) for shape in shapes)) for shapes, make, *_ in structures]
    covers("equilibrium/test_gradient.py", "STRUCTURES", {type(fh.Memory(weights).weights) for weights in made}, due)


def test_every_rule_and_kind_of_pattern_is_in_the_product():
    file = "experiments/test_every_rule.py"
    covers(file, "RULES", module(file)["RULES"], RULES)
    covers(file, "KINDS", module(file)["KINDS"], patterns.KINDS)


def test_every_method_is_in_the_oracle():
    covers("naive.py", "METHODS", module("naive.py")["METHODS"], ensemble.METHODS)
    file = "equilibrium/test_every_activation.py"
    covers(file, "SOLVERS", module(file)["SOLVERS"], ["auto", *SOLVERS])


def test_the_words_of_codes_are_in_the_order_of_the_kernels():
    for kinds, of in ((ensemble.KINDS, ensemble.kernels), (gradients.KINDS[:3], adjoint)):
        assert [getattr(of, kind.upper()) for kind in kinds] == list(range(len(kinds)))


# --- the check itself -------------------------------------------------------------------------------------------------


def test_what_has_no_oracle_is_named_with_its_place(monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "swish", fh.SiLU)
    with pytest.raises(AssertionError, match=r"^\['swish'\] has no case in tests/complex_g.py: add it to G, with its "):
        covers("complex_g.py", "G", module("complex_g.py")["G"], ACTIVATIONS)
    monkeypatch.delitem(ACTIVATIONS, "tanh")
    monkeypatch.delitem(ACTIVATIONS, "swish")
    with pytest.raises(AssertionError, match=r"^\['tanh'\] in G of tests/complex_g.py is in no registry"):
        covers("complex_g.py", "G", module("complex_g.py")["G"], ACTIVATIONS)
