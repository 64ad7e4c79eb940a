"""fasthop beside its peers: RK4 for ẏ = W tanh(y) − y + b with one W for all trajectories.

Run `python bench/compare.py`. Everything is timed in one process, in turns, so that what else the machine does falls
on all alike; the best of several rounds counts, compilation does not. Every result is first compared with the others.
"""

import argparse
import platform
import time

import numba
import numpy as np
import peers
from threadpoolctl import threadpool_limits

import fasthop as fh
from fasthop_kernels.machine.lanes import instruction_set

#: Neurons, trajectories, steps.
SHAPES = [(16, 2048, 200), (64, 1024, 100), (128, 512, 100), (256, 512, 50), (512, 512, 20), (1024, 256, 10)]
H = 0.05
STAGES = 4
GEMM = 2048


def problem(neurons, batch):
    """W symmetric and strong enough for several memories, b, starts."""
    rng = np.random.default_rng(neurons)
    W = rng.normal(size=(neurons, neurons)) * np.sqrt(2 / neurons)
    return (W + W.T) / 2, rng.normal(size=neurons) / 10, rng.normal(size=(batch, neurons))


def contestants(neurons, batch, steps):
    """What is timed: name → call without arguments that returns the final states."""
    W, b, starts = problem(neurons, batch)
    calls = {}
    for dtype in ("float64", "float32"):
        memory = fh.Memory(W, b, dtype=dtype)
        own = starts.astype(dtype)
        calls[f"fasthop {dtype}"] = lambda memory=memory, own=own: (
            fh.simulate(memory, own, t_end=steps * H, dt=H, method="rk4").state
        )
    for name, solve in peers.solvers().items():
        calls[name] = lambda solve=solve: solve(W, b, starts, H, steps)
    return calls


def check(calls):
    """Call everything once, which compiles it, and refuse results that differ."""
    ends = {name: call() for name, call in calls.items()}
    due = ends["NumPy"]
    for name, state in ends.items():
        tolerance = 1e-3 if "float32" in name else 1e-9
        if not np.abs(state - due).max() <= tolerance * max(1.0, np.abs(due).max()):
            raise SystemExit(f"{name} differs from NumPy by {np.abs(state - due).max():.2g}.")


def best_times(calls, rounds):
    """Seconds of the best of `rounds` turns for each call."""
    best = dict.fromkeys(calls, np.inf)
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def gemm_call():
    """The machine's own product of large matrices, on as many threads as numba has."""
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(2, GEMM, GEMM))
    out = np.empty((GEMM, GEMM))
    return lambda: np.matmul(A, B, out=out)


def table(rounds, shapes):
    threads = numba.get_num_threads()
    rows = []
    with threadpool_limits(limits=threads, user_api="blas"):
        gemm = gemm_call()
        gemm()
        gemm_seconds = np.inf
        for neurons, batch, steps in shapes:
            calls = contestants(neurons, batch, steps)
            check(calls)
            best = best_times({**calls, "dgemm": gemm}, rounds)
            gemm_seconds = min(gemm_seconds, best.pop("dgemm"))
            rows.append((neurons, batch, steps, best))
    peak = 2 * GEMM**3 / gemm_seconds / 1e9
    lines = [
        f"{threads} threads, {instruction_set()}, numba {numba.__version__}, NumPy {np.__version__}, "
        f"Python {platform.python_version()}; dgemm {GEMM} × {GEMM}: {peak:.1f} GFLOP/s; best of {rounds}.",
        "",
        "| N | B | steps | who | ms | × naive | × JAX | ns per neuron and stage | GFLOP/s | of dgemm |",
        "|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for neurons, batch, steps, best in rows:
        stages = STAGES * steps * batch
        for name, seconds in best.items():
            rate = 2 * neurons**2 * stages / seconds / 1e9
            jax = f"{best['JAX'] / seconds:.2f}" if "JAX" in best else "–"
            pace = 1e9 * seconds / (neurons * stages)
            lines.append(
                f"| {neurons} | {batch} | {steps} | {name} | {1e3 * seconds:.2f} | {best['naive'] / seconds:.1f} "
                f"| {jax} | {pace:.3f} | {rate:.1f} | {rate / peak:.0%} |"
            )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="Time fasthop beside its peers and print a table in Markdown.")
    parser.add_argument("--rounds", type=int, default=7, help="turns of which the best counts (default 7)")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="only the first so many sizes")
    given = parser.parse_args()
    print(table(given.rounds, SHAPES[: given.shapes]))


if __name__ == "__main__":
    main()
