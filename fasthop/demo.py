"""The demo: digits recalled, a capacity curve, and the basins of a two-neuron network, from the shipped specs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from fasthop.dynamics.jacobians import residual
from fasthop.energies.energy import energy
from fasthop.files import shipped
from fasthop.model.memory import Memory
from fasthop.sweep.read import read
from fasthop.sweep.run import run


def main(out: Path) -> None:
    """Run the three specs into folders below `out` and print what came out."""
    began = time.perf_counter()
    # On a new machine compiling takes most of the time, and Numba compiles one kernel at a time in a process. What the
    # second process has not finished when it is needed, this one compiles itself.
    command = [sys.executable, "-c", f"from {__name__} import compile_ahead; compile_ahead()"]
    ahead = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for name, tell in (("digits", _digits), ("capacity", _capacity), ("basins", _basins)):
            run(shipped(f"specs/{name}.toml"), out / name)
            print(f"{tell(read(out / name, summary=True))}\n  → {out / name}\n", flush=True)
    finally:
        ahead.kill()
        ahead.wait()
    took = time.perf_counter() - began
    print(f"{took:.1f} s. Tables are Parquet, pictures PNG. To see the rows: fasthop read {out / 'digits'}", flush=True)


def compile_ahead() -> None:
    """Compile what the last of the three tables needs beside trajectories, or find it compiled."""
    memory, states = Memory([[0.0]]), [[0.0]]
    energy(memory, states)
    residual(memory, states)


def _digits(summary: pd.DataFrame) -> str:
    rates = summary.pivot(index="flip", columns="rule", values="exact")[["pseudo-inverse", "hebb"]]
    noisy = summary[(summary["flip"] == 0.1) & (summary["rule"] == "pseudo-inverse")].iloc[0]
    return (
        "Ten handwritten digits of 64 pixels, share of noisy cues recalled exactly:\n"
        + _indented(rates.to_string(float_format="{:.3f}".format))
        + f"\n  pseudo-inverse at 10 % flips: {noisy['exact']:.3f}"
        f" [{noisy['exact_low']:.3f}, {noisy['exact_high']:.3f}]. The digits are correlated, so Hebb mixes them."
    )


def _capacity(summary: pd.DataFrame) -> str:
    summary = summary.assign(load=summary["load"].round(2))
    rates = summary.pivot(index="load", columns="neurons", values="retrieved").add_prefix("N = ")
    rates.columns.name = None
    return "Random patterns, Hebb, share of clean cues retrieved (overlap ≥ 0.9) over the load P/N:\n" + _indented(
        rates.iloc[1::2].to_string(float_format="{:.3f}".format)
    )


def _basins(summary: pd.DataFrame) -> str:
    lines = []
    for row in summary.to_dict("records"):
        where = f"({', '.join(f'{value:.4f}' for value in row['state'])})" if row["kind"] == "settled" else row["kind"]
        lines.append(f"{where:22s} {row['share']:.4f} [{row['share_low']:.4f}, {row['share_high']:.4f}]")
    return "Two ReLU neurons as in Figure 1, share of uniform starts that end there:\n" + _indented("\n".join(lines))


def _indented(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())
