"""Mutated files of a sweep under every command of the command line.

The few thousand of a usual run take some seconds; `pytest tests/sweep/test_fuzz.py -m long -rP` takes 10 000 of each
kind, and prints how many were caught by what.
"""

import contextlib
import io
import random
import re
import shutil
from collections import Counter

import pytest

from fasthop.cli import main
from fasthop.sweep import store
from fasthop.sweep.columns import file_name
from fasthop.sweep.run import run
from mutations import mutated
from sweep.coins import REGISTRY

TOML = "experiment='coins'\nseed=7\n[coin]\nbias=[0.2,0.5]\n[run]\nrealisations=12\n"
COMMANDS = ("status", "read", "run", "compact", "merge", "verify", "plot")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", REGISTRY)
    monkeypatch.setattr(store, "FLUSH_ROWS", 15)
    monkeypatch.setattr("os.fsync", lambda handle: None)  # of a hundred thousand files
    (tmp_path / "sweep.toml").write_text(TOML)
    run(tmp_path / "sweep.toml", tmp_path / "a", False)
    return tmp_path / "a"


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def restore(folder, sound):
    there = contents(folder)
    for path in there.keys() - sound.keys():
        path.unlink()
    for path, content in sound.items():
        if there.get(path) != content:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)


def told_by(command, folder):
    """Return the exit code of a command, what it printed, and what it said on stderr."""
    spec, merged = folder.parent / "sweep.toml", folder.parent / "merged"
    arguments = {
        "run": [str(spec), "--out", str(folder)],
        "merge": [str(folder), "--out", str(merged)],
        "read": [str(folder), "--csv"],
        "verify": [str(folder), "--sample", "1"],
    }.get(command, [str(folder)])
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(io.StringIO()) as errors:
        code = main([command, *arguments])
    shutil.rmtree(merged, ignore_errors=True)
    return code, output.getvalue(), errors.getvalue()


def reason(errors):
    """Return what is said of a file without its name and the details."""
    text = re.sub(r"\S*/\S+", "…", errors.splitlines()[0].removeprefix("fasthop: "))
    return re.split(r"[:;(\[]", text)[0].strip()[:60]


KINDS = ("manifest", "table", "manifest that says it is sound", "table that says it is sound")


@pytest.mark.parametrize(
    "count", [pytest.param(100, id="some"), pytest.param(10_000, id="many", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_every_command_says_in_sentences_what_it_does_not_take(folder, kind, count):
    """Only malice can make a file that says it is sound: its numbers are its own, and it makes no traceback either."""
    chance, sound = random.Random(kind), contents(folder)
    tables, manifest = store.table_files(folder), folder / "manifest.json"
    caught = {command: Counter() for command in COMMANDS}
    for number in range(count):
        victim = manifest if kind.startswith("manifest") else tables[number % len(tables)]
        data = mutated(sound[victim], chance)
        place = victim
        if kind.startswith("manifest that"):
            data = store._signed(data.rpartition(store._SIGNATURE)[0])
        elif kind.startswith("table that"):
            first, last = victim.name.split("-")[1:3]
            place = victim.with_name(file_name(int(first), int(last), data))
        for command in COMMANDS:
            restore(folder, sound)
            victim.unlink()
            place.write_bytes(data)
            code, output, errors = told_by(command, folder)
            assert code in (0, 1, 2), (command, errors)
            assert all(line.startswith("fasthop: ") for line in errors.splitlines()), errors
            if code:
                assert errors
                caught[command][reason(errors)] += 1
            elif data == sound[victim]:
                caught[command]["nothing was changed"] += 1
            else:
                assert "that says it is sound" in kind, (command, output)
                caught[command]["taken at its word"] += 1
    for command, reasons in caught.items():
        print(f"{kind}, {command}: " + ", ".join(f"{times} × {what}" for what, times in reasons.most_common()))
