"""What a capacity curve costs: time, and the lane-steps that are paid beside those that the trajectories need.

`pytest bench/bench_capacity.py`; `python bench/bench_capacity.py` runs the whole curve of N = 400, 20 loads, 50
realisations of 100 cues each, and prints both.
"""

import time

import pytest

import fasthop as fh
from fasthop.experiments import capacity


def curve(loads, realisations, monkeypatched):
    """The rows of a Hebb curve; every call of `settle` is counted in `monkeypatched`."""

    def counted(*args, **options):
        ends = fh.settle(*args, **options)
        monkeypatched.append((ends.paid, int(ends.steps.sum()) + ends.steps.size))
        return ends

    original, capacity.settle = capacity.settle, counted
    try:
        return fh.capacity(
            memory={"neurons": 400},
            patterns={"load": loads},
            cues={"per_realisation": 100},
            run={"realisations": realisations, "tolerance": 1e-6, "t_max": 320.0},
        )
    finally:
        capacity.settle = original


@pytest.mark.parametrize("load", [0.05, 0.15])
def test_a_point_of_the_curve(benchmark, load):
    counts = []
    benchmark.pedantic(lambda: curve([load], 4, counts), rounds=2, warmup_rounds=1)
    benchmark.extra_info["paid_over_needed"] = sum(paid for paid, _ in counts) / sum(needed for _, needed in counts)


def main():
    counts = []
    begun = time.perf_counter()
    curve([round(0.01 * k, 2) for k in range(1, 21)], 50, counts)
    seconds = time.perf_counter() - begun
    paid, needed = (sum(column) for column in zip(*counts, strict=True))
    print(
        f"20 loads × 50 realisations × 100 cues, N = 400: {seconds:.0f} s; paid / needed lane-steps {paid / needed:.3f}"
    )


if __name__ == "__main__":
    main()
