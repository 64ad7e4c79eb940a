"""The rows of the shipped specs, in small, are to the last bit those of their version.

Where one differs and should, raise KERNEL_VERSION and run this file: it writes `frozen.json` anew. Left out are the
specs in whose rows a BLAS has a say (least squares, eigenvalues, inverses), and those that take long.
"""

import hashlib
import json
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest

from fasthop.sweep.columns import IDENTITY
from fasthop.sweep.machine import instruction_set
from fasthop.sweep.plan import KERNEL_VERSION
from fasthop.sweep.run import table

SPECS = Path(__file__).resolve().parents[2] / "data" / "specs"
FROZEN = Path(__file__).with_name("frozen.json")
LEFT_OUT = {
    *(
        "classification",
        "completion",
        "dense",
        "ends",
        "pseudo_inverse",
        "pseudo_inverse_gain",
        "radii",
        "saddles",
        "slices",
    ),
}
NAMES = sorted(path.stem for path in SPECS.glob("*.toml") if path.stem not in LEFT_OUT)

#: Where the same bits are known to come out.
KNOWN = {"avx512", "avx2"}


def small(entry):
    """The first and the last of a list of values; what is inside of tables too."""
    if isinstance(entry, dict):
        return {key: small(value) for key, value in entry.items()}
    swept = isinstance(entry, list) and not isinstance(entry[0], list)
    return [entry[0], entry[-1]] if swept and len(entry) > 2 else entry


def rows_of(name):
    spec = small(tomllib.loads((SPECS / f"{name}.toml").read_text(encoding="utf-8")))
    neurons = spec.get("memory", {}).get("neurons", 0)
    least = min(neurons) if isinstance(neurons, list) else neurons
    if least:
        spec["memory"]["neurons"] = min(least, 800)
    if "starts" in spec:
        spec["starts"]["count"] = 100
    if "cues" in spec:
        spec["cues"]["per_realisation"] = 5
    spec["run"] = spec.get("run", {}) | {"realisations": 1 if least >= 400 else 2}
    spec["run"].pop("stop", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return table(spec)


def digest(frame):
    sha = hashlib.sha256()
    for name, column in frame.items():
        if name in IDENTITY.names and name != "seed":
            continue
        sha.update(name.encode())
        for value in column.to_list():
            sha.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return sha.hexdigest()[:16]


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_those_of_their_version(name):
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    assert frozen["kernel_version"] == KERNEL_VERSION
    assert frozen["specs"].keys() == set(NAMES)
    found = digest(rows_of(name))
    if instruction_set().partition("+")[0] in KNOWN:
        assert found == frozen["specs"][name]


if __name__ == "__main__":
    found = {"kernel_version": KERNEL_VERSION, "specs": {name: digest(rows_of(name)) for name in NAMES}}
    FROZEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
