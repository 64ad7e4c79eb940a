"""Codes are names, and their order says nothing: no source compares one by more or less."""

import ast
from pathlib import Path

import pytest

import fasthop
import fasthop_kernels

FILES = sorted(path for package in (fasthop, fasthop_kernels) for path in Path(package.__file__).parent.rglob("*.py"))
ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
#: What holds a code, wherever it stands.
HOLDERS = {"code", "drive", "factor", "system", "kind", "kinds", "variable"}


def codes_of(tree):
    """Names that a module numbers through: A, B, C = range(3)."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            numbered = getattr(node.value.func, "id", None) == "range"
            names = [target.elts for target in node.targets if isinstance(target, ast.Tuple)]
            found |= {name.id for group in names for name in group} if numbered else set()
    return found


def name_of(node):
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)


def ordered(tree, codes):
    """Every comparison by more or less in which a code has part."""
    compared = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    by_order = [node for node in compared if any(isinstance(operator, ORDER) for operator in node.ops)]
    sides = [(ast.unparse(node), [name_of(side) for side in (node.left, *node.comparators)]) for node in by_order]
    return [text for text, names in sides if {*names} & (codes | HOLDERS)]


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
CODES = set().union(*map(codes_of, TREES.values()))


def test_codes_are_known():
    assert {"TANH", "SOFTMAX", "POWER", "OUTSIDE", "GRADIENT", "LOW_RANK", "MINRES", "SOLVED"} <= CODES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_code_is_compared_by_its_order(path):
    assert ordered(TREES[path], CODES) == []


@pytest.mark.parametrize(
    "source", ["code < SOFTMAX", "SOFTMAX <= x", "0 < code", "tables.layers[0] > kernels.POWER", "TANH <= x < SPHERE"]
)
def test_an_order_of_codes_is_seen(source):
    assert ordered(ast.parse(source), CODES) == [source]
    assert ordered(ast.parse("x < y or code == SOFTMAX"), CODES) == []
