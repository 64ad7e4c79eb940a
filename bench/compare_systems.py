"""What the systems and structures cost beside system (1) with dense weights, and what an activation costs a number.

Run `python bench/compare_systems.py`, with `--million` for a million trajectories of every system. Everything is timed
in one process, in turns; the best of several rounds counts.
"""

import argparse
import resource
import time

import numba
import numpy as np
from compare import best_times

import fasthop as fh
from fasthop.model.activations import ACTIVATIONS
from fasthop_kernels.dynamics import activations as kernels
from fasthop_kernels.machine.lanes import LINE, MAX_LINES, instruction_set, lane_line

H = 0.05
SYSTEMS = {
    "(1)": {},
    "(1), τ": {"tau": 2.0},
    "simplest": {"variable": "v"},
    "(5), R = I": {"variable": "u"},
    "(5), R = W": {"variable": "u", "R": "weights"},
    "(5), R = sign W": {"variable": "u", "R": "polar"},
    "(5), I − WᵀΛ": {"variable": "u", "R": "gradient"},
    "(5), Λ": {"variable": "u", "R": "hessian"},
    "(9), I − ΛWᵀ": {"R": "gradient"},
    "(9), as printed": {"R": "gradient-as-printed"},
}


def symmetric(neurons):
    W = np.random.default_rng(neurons).normal(size=(neurons, neurons)) / np.sqrt(2 * neurons)
    return (W + W.T) / 2


def run(memory, batch, steps):
    """A call without arguments that integrates `batch` starts over `steps` steps."""
    starts = np.random.default_rng(0).normal(size=(batch, memory.neurons))
    return lambda: fh.simulate(memory, starts, t_end=steps * H, dt=H).state


def systems(neurons, batch, steps):
    """Every system on the same weights: name → call."""
    W = symmetric(neurons)
    return {name: run(fh.Memory(W, 0.1, **options), batch, steps) for name, options in SYSTEMS.items()}


def layered(sizes=(784, 256, 64), batch=384, steps=5):
    """A chain of layers beside one dense memory of as many neurons; the share of W's entries that it stores."""
    chain = fh.Blocks.chain(sizes, seed=0)
    layers = [(size, "tanh") for size in sizes]
    share = 2 * chain.stored.size / chain.neurons**2
    calls = {
        "dense": run(fh.Memory(symmetric(chain.neurons)), batch, steps),
        "layered": run(fh.Memory(chain, layers=layers), batch, steps),
    }
    return calls, share


def low_rank(neurons=1000, load=0.1, batch=384, steps=5):
    """Hebb's weights formed and never formed."""
    patterns = fh.random_patterns(round(load * neurons), neurons, seed=1)
    weights = {"dense": fh.hebb(patterns), "low rank": fh.LowRank(patterns)}
    return {name: run(fh.Memory(W, activation=fh.Tanh(8.0)), batch, steps) for name, W in weights.items()}


def elementary(dtype, repeats):
    """Nanoseconds of g, Λ, L and φ for one number of every activation, on one thread, within a first-level cache."""
    neurons, lanes = 16, MAX_LINES * lane_line(dtype)
    raw = np.empty(2 * neurons * lanes * np.dtype(dtype).itemsize + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    state, out = raw[start : raw.size - LINE + start].view(dtype).reshape(2, -1)
    state[:] = 2 * np.random.default_rng(0).normal(size=state.size)
    parts = {"g": kernels.activate, "Λ": kernels.slope, "L": kernels.lagrangian, "φ": kernels.legendre}
    costs = {}
    for name, kind in ACTIVATIONS.items():
        layers, parameters = np.array([[0, neurons, kind.code]]), np.array([kind().parameters], dtype)

        def call(part, layers=layers, parameters=parameters):
            for _ in range(repeats):
                part(layers, parameters, state, out, lanes)

        calls = {symbol: (lambda part=part: call(part)) for symbol, part in parts.items()}
        for once in calls.values():
            once()
        best = best_times(calls, 5)
        costs[name] = {symbol: 1e9 * seconds / (repeats * state.size) for symbol, seconds in best.items()}
    return costs


def report(rounds):
    print(f"{numba.get_num_threads()} threads, {instruction_set()}; best of {rounds} rounds, in turns.\n")
    shapes = [(16, 4096, 50), (64, 2048, 25), (256, 768, 10)]
    columns = []
    for shape in shapes:
        calls = systems(*shape)
        for call in calls.values():
            call()
        best = best_times(calls, rounds)
        columns.append({name: seconds / best["(1)"] for name, seconds in best.items()})
    print("| system | " + " | ".join(f"N = {shape[0]}" for shape in shapes) + " |\n|---|" + "--:|" * len(shapes))
    for name in SYSTEMS:
        print(f"| {name} | " + " | ".join(f"{column[name]:.2f}" for column in columns) + " |")
    calls, share = layered()
    hebb = low_rank()
    for call in (*calls.values(), *hebb.values()):
        call()
    best, rank = best_times(calls, rounds), best_times(hebb, rounds)
    print(f"\n784–256–64: {best['layered'] / (share * best['dense']):.2f} × what {share:.1%} of the dense time implies")
    print(f"low rank, N = 1000, load .1: {rank['dense'] / rank['low rank']:.1f} × faster than dense\n")
    for dtype in ("float64", "float32"):
        print(f"| ns a number, {dtype} | g | Λ | L | φ |\n|---|--:|--:|--:|--:|")
        for name, cost in elementary(dtype, 200).items():
            print(f"| {name} | " + " | ".join(f"{cost[symbol]:.2f}" for symbol in "gΛLφ") + " |")
        print()


def million():
    """Settle a million starts of every system; the cost in time and memory."""
    A = np.random.default_rng(3).normal(size=(16, 16))
    W = A @ A.T / 160 + 0.2 * np.eye(16)  # well conditioned, and so is I − WΛ: no system is slow on it
    starts = fh.Uniform(-3, 3).draw(1_000_000, 16, seed=1)
    print("| system | s | steps a start | settled | unsettled | false | GiB |\n|---|--:|--:|--:|--:|--:|--:|")
    for name, options in SYSTEMS.items():
        memory = fh.Memory(W, 0.1, **options)
        begin = time.perf_counter()
        ends = fh.settle(memory, starts, tolerance=1e-8, t_max=300)
        seconds = time.perf_counter() - begin
        shares = [np.mean(ends.kind == kind) for kind in ("settled", "unsettled", "false_memory")]
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"| {name} | {seconds:.1f} | {ends.steps.mean():.0f} | "
            + " | ".join(f"{share:.4f}" for share in shares)
            + f" | {used:.1f} |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of which the best counts (default 7)")
    parser.add_argument("--million", action="store_true", help="settle a million starts of every system instead")
    given = parser.parse_args()
    if given.million:
        million()
    else:
        report(given.rounds)


if __name__ == "__main__":
    main()
