import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels"


@pytest.fixture(scope="session")
def start_python():
    """Start a fresh Python on some code: of this process's settings of numba only the folder for code is inherited."""

    def start(code, *arguments, path=KERNELS, **environment):
        ours = {key for key in os.environ if key.startswith("NUMBA_") and key != "NUMBA_CACHE_DIR"}
        settings = {key: value for key, value in os.environ.items() if key not in ours}
        settings["PYTHONPATH"] = os.pathsep.join([str(path), str(KERNELS.parent), settings.get("PYTHONPATH", "")])
        settings |= {key: str(value) for key, value in environment.items()}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=settings, text=True, stdin=pipe, stdout=pipe, stderr=pipe)

    return start


@pytest.fixture(scope="session")
def finish():
    """Wait for a process; return what it printed."""

    def wait(process):
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        return output

    return wait


@pytest.fixture(scope="session")
def run_python(start_python, finish):
    return lambda *arguments, **environment: finish(start_python(*arguments, **environment))


@pytest.fixture
def numba_cache(request):
    """A folder for compiled code that outlives the tests, apart for every way of compiling."""
    return lambda name: request.config.cache.mkdir(f"numba-{name}")
