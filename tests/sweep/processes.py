"""A sweep of coins in a process of its own."""

import os
import subprocess
import sys

TOML = """
experiment = "coins"
seed = 7
[coin]
bias = { from = 0.1, to = 0.9, by = 0.1 }
[run]
realisations = 40
"""


def start(*arguments, **environment):
    """Start the command line of fasthop with coins for its experiment."""
    environment = {name: str(value) for name, value in environment.items()}
    return subprocess.Popen(
        [sys.executable, "-m", "sweep.coins", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
