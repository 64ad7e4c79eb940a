"""A tiny experiment for the engine's tests: coins whose tosses are a pure function of the seed and the realisation.

Run as a program it is the command line of fasthop with this experiment alone: `python -m sweep.coins run SPEC …`.
"""

import hashlib
import itertools
import os
import sys
import time
from types import SimpleNamespace

from fasthop.experiments.experiment import NO_COLUMNS, REQUIRED, Columns, Experiment, Field, realisations_field

SHAPE = Columns({"shape": str, "size": float}, lambda task: (task["shape"]["name"], task["shape"].get("size", 1.0)))

FIELDS = (
    Field("coin", "bias", "bias", float, REQUIRED, True, least=0, most=1),
    Field("coin", "sides", "sides", int, 2, True, least=1, most=1000),
    Field("coin", "metal", "metal", str, "copper", True, choices=("copper", "silver")),
    Field("coin", "fair", "fair", bool, False, True, shown=NO_COLUMNS),
    Field("coin", "shape", "shape", dict, "disc", True, choices=("disc", "square"), shown=SHAPE),
    Field("coin", "weights", "weights", list, None, False, least=0),
    Field("run", "tosses", "tosses", int, 16, False, least=1, most=32, shown=NO_COLUMNS),
    realisations_field("throws of each coin"),
)

MEASURED = {"realisation": int, "side": str, "count": int, "heads": int, "lost": int, "thrown": int}


def problems(task):
    if task["fair"] and task["bias"] != 0.5:
        return [("coin.bias", f"must be 0.5 for a fair coin; got {task['bias']}.")]
    return []


CHUNKS = itertools.count(1)


def rows(task, realisations, seed):
    """Two rows for each realisation; tails stand before heads, which no sorting would do."""
    time.sleep(float(os.environ.get("COINS_PAUSE", 0)))
    while next(CHUNKS) > float(os.environ.get("COINS_CHUNKS", "inf")):
        time.sleep(1e6)  # it is to be killed before the end, however late that is
    columns = {name: [] for name in MEASURED}
    for realisation in realisations:
        bytes_ = hashlib.sha256(f"{seed} {realisation}".encode()).digest()[: task["tosses"]]
        heads = sum(byte < 256 * task["bias"] for byte in bytes_)
        for side, count in (("tails", task["tosses"] - heads), ("heads", heads)):
            row = {"realisation": realisation, "side": side, "count": count}
            last = side == "heads"  # counts are summed over the rows of a realisation
            row |= {"heads": heads * last, "lost": 0, "thrown": task["tosses"] * last}
            for name in columns:
                columns[name].append(row[name])
    return columns


def summarise(frame):
    heads = frame[frame["side"] == "heads"]
    return heads.groupby("task_id", sort=False).agg(bias=("bias", "first"), heads=("count", "sum")).reset_index()


def plot(summary, path):
    path.write_bytes(b"\x89PNG" + str(len(summary)).encode())


COUNTS = "heads", "lost", "thrown"
COINS = Experiment("coins", FIELDS, MEASURED, problems, lambda task: 4, rows, summarise, plot, COUNTS)
REGISTRY = {"coins": COINS}


def spec(realisations=10, **coin):
    return {
        "experiment": "coins",
        "seed": 7,
        "coin": {"bias": [0.2, 0.5], **coin},
        "run": {"realisations": realisations},
    }


if __name__ == "__main__":
    sys.modules["fasthop.experiments"] = SimpleNamespace(EXPERIMENTS=REGISTRY)

    from fasthop.cli import main
    from fasthop.sweep import store

    if "COINS_FILE_SIZE" in os.environ:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["COINS_FILE_SIZE"]),) * 2)
    store.FLUSH_SECONDS = float(os.environ.get("COINS_FLUSH", store.FLUSH_SECONDS))
    sys.exit(main())
