#!/usr/bin/env python3
"""Set up .venv beside this file where needed, then run something in it.

usage: python3 dev.py run [ARG ...]    the demo: fasthop demo ARG ...
       python3 dev.py test [all]       the tests but for the slow ones, or all, on up to four cores
       python3 dev.py test ARG ...     any tests: pytest ARG ...
       python3 dev.py check            ruff, mypy and the import contracts
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
# A process takes a gigabyte, and all tests of a file, whose fixtures are then made once.
PARALLEL = ["--numprocesses=logical", "--maxprocesses=4", "--dist=loadfile"]
TESTS = {(): [*PARALLEL, "-m", "not slow"], ("all",): PARALLEL}
CHECKS = ["ruff check .", "ruff format --check .", "mypy", "lint-imports"]


def tool(name):
    return str(VENV / "Scripts" / (name + ".exe") if os.name == "nt" else VENV / "bin" / name)


def set_up():
    # What the environment depends on; the place is part of it, because an editable install points back here.
    parts = [(ROOT / "pyproject.toml").read_bytes(), sys.version.encode(), sys.base_prefix.encode(), os.fsencode(VENV)]
    made_of, stamp = hashlib.sha256(b"\0".join(parts)).hexdigest(), VENV / "stamp"
    if stamp.is_file() and stamp.read_text() == made_of:
        return
    print("dev.py: setting up", VENV, "(once; about a minute)", file=sys.stderr, flush=True)
    stamp.unlink(missing_ok=True)  # first of all, so that an interrupted set-up never passes for a finished one
    base = getattr(sys, "_base_executable", sys.executable)  # below any environment that this file is started from
    subprocess.run([base, "-m", "venv", "--clear", "--without-pip", str(VENV)], check=True)
    # Debian splits both pip and ensurepip from Python: take whichever is there.
    if subprocess.run([base, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        pip = [base, "-m", "pip", "--python", tool("python")]
    elif subprocess.run([tool("python"), "-m", "ensurepip"], capture_output=True).returncode == 0:
        pip = [tool("python"), "-m", "pip"]
    else:
        sys.exit("dev.py: this Python has neither pip nor ensurepip; install pip (on Debian: apt install python3-pip).")
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *quiet, "--editable", ".[test]"], cwd=ROOT, check=True)
    stamp.with_suffix(".new").write_text(made_of)
    stamp.with_suffix(".new").replace(stamp)


def become(command):
    if os.name != "nt":
        os.execv(command[0], command)  # signals and the exit code are the command's own
    sys.exit(subprocess.run(command).returncode)


def main(what="", *rest):
    if what in ("-h", "--help"):
        return print(__doc__.strip())
    if what not in ("run", "test", "check") or (what == "check" and rest):
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    if sys.version_info < (3, 11):
        sys.exit("dev.py: fasthop needs Python 3.11 or newer; this one is " + sys.version.split()[0] + ".")
    try:
        set_up()
    except (subprocess.CalledProcessError, KeyboardInterrupt) as error:
        print("dev.py: the set-up did not finish; the next start begins it anew.", file=sys.stderr)
        sys.exit(getattr(error, "returncode", 130))
    if what == "run":
        become([tool("fasthop"), "demo", *rest])  # from where the caller stands: ARG may name files
    os.chdir(ROOT)
    if what == "test":
        become([tool("pytest"), *TESTS.get(rest, rest)])
    failed = 0
    for check in CHECKS:
        print("$", check, flush=True)
        name, *arguments = check.split()
        failed |= subprocess.run([tool(name), *arguments]).returncode != 0
    sys.exit(failed)


if __name__ == "__main__":
    main(*sys.argv[1:])
