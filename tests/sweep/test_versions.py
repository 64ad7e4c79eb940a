"""Names of tasks change where their numbers do: a change here without a new version would mix two kinds of rows."""

import hashlib

import numpy as np

import fasthop as fh
from fasthop.sweep.machine import instruction_set, kernel_digest, machine
from fasthop.sweep.plan import KERNEL_VERSION, STREAM_VERSION
from fasthop.sweep.run import table

#: Digests of the numbers below by version. Where one differs, raise the version in `fasthop/sweep/plan.py`, and put the
#: new version and its digest in the place of the old.
STREAM = {1: "37e190f767708251"}
#: The same bits with AVX-512 and with AVX2; elsewhere there is nothing to compare with.
KERNEL = {5: {"avx512": "894a98a01c9fe789", "avx2": "894a98a01c9fe789"}}

SETTINGS = {
    "memory": {"neurons": [16, 33], "rule": "hebb"},
    "patterns": {"count": 3},
    "cues": {"flip": 0.2, "per_realisation": 10},
    "run": {"realisations": 3},
}


def digest(arrays):
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return sha.hexdigest()[:16]


def random_numbers():
    patterns = fh.random_patterns(3, 37, seed=5, realisations=[0, 1, 9])
    return [
        patterns,
        fh.flip(patterns, 0.3, cues=7, seed=5, realisations=[0, 1, 9]),
        fh.Uniform(0.0, 1.0).draw(5, 11, seed=5, realisation=3),
    ]


def numbers():
    """What two memories give with every stepper, and what counts in a sweep."""
    patterns = fh.random_patterns(4, 33, seed=5)
    tanh = fh.Memory(fh.hebb(patterns), activation=fh.Tanh(beta=4.0))
    relu = fh.Memory([[0.2, -1.5], [-1.5, 0.1]], [1.0, 0.8], "relu")
    for memory, starts in (
        (tanh, fh.flip(patterns, 0.2, cues=9, seed=5)),
        (relu, fh.Uniform(-3, 3).draw(9, 2, seed=5)),
    ):
        for method in ("rk4", "euler"):
            ends = fh.settle(memory, starts, method=method, dt=0.05)
            yield from (ends.state, ends.time)
            # LAPACK is in it: its last bits are not ours.
            yield np.round(fh.default_step(memory, method), 9)
    rows = table({"experiment": "capacity", "seed": 5, **SETTINGS})
    yield from (rows[name].to_numpy() for name in ("patterns", "cues", "exact", "retrieved", "collapsed", "discrete"))


def test_random_numbers_are_those_of_their_version():
    assert {STREAM_VERSION: digest(random_numbers())} == STREAM


def test_rows_are_those_of_their_version():
    found = digest(numbers())
    assert list(KERNEL) == [KERNEL_VERSION]
    assert KERNEL[KERNEL_VERSION].get(instruction_set().partition("+")[0], found) == found


def test_digest_notices_the_last_bit():
    one = np.ones(3)
    assert digest([one]) != digest([np.nextafter(one, 2)])
    assert digest([one]) == digest([one.copy()])


def test_manifest_names_the_sources_of_the_kernels(tmp_path, monkeypatch):
    assert machine()["kernel_digest"] == kernel_digest()
    import fasthop_kernels

    for name in ("__init__.py", "other.py"):
        (tmp_path / name).write_text(f"# {name}\n")
    monkeypatch.setattr(fasthop_kernels, "__file__", str(tmp_path / "__init__.py"))
    first = kernel_digest.__wrapped__()
    (tmp_path / "other.py").write_text("# changed\n")
    assert kernel_digest.__wrapped__() != first != kernel_digest()
