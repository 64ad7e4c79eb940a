"""Flipped bits and lost ends in every file of a sweep, under every command: never a wrong number, never a traceback."""

import json
import random
import shutil

import pandas as pd
import pytest

from fasthop.cli import main
from fasthop.sweep import store
from fasthop.sweep.errors import FolderError
from fasthop.sweep.merge import compact, merge
from fasthop.sweep.read import read
from fasthop.sweep.run import run, table
from fasthop.sweep.status import status
from fasthop.sweep.verify import verify
from sweep.coins import REGISTRY, spec
from sweep.damage import alter, alter_manifest

SPEC = spec(realisations=12)

#: Of each kind of file: tables, manifest, summary, picture.
FLIPS = {"tables": 200, "manifest.json": 100, "summary.parquet": 40, "coins.png": 10}


NOT_PARQUET = {"manifest.json", "lock", "coins.png"}


@pytest.fixture(autouse=True)
def coins(monkeypatch):
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", REGISTRY)
    monkeypatch.setattr(store, "FLUSH_ROWS", 15)
    monkeypatch.setattr("os.fsync", lambda handle: None)  # a thousand of them


@pytest.fixture
def folder(tmp_path):
    run(SPEC, tmp_path / "a", registry=REGISTRY)
    return tmp_path / "a"


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damage(data, chance):
    """Flip one bit, or cut the end off."""
    if chance.random() < 0.8:
        changed = bytearray(data)
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    return data[: chance.randrange(len(data))]


def refused(command, *arguments):
    """Whether a command says in one sentence why it does nothing; anything but that sentence is a failure."""
    sentence = ""
    try:
        command(*arguments)
    except FolderError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert sentence[-1:] in ("", ".")
    return sentence


@pytest.mark.parametrize("kind", FLIPS)
def test_no_command_takes_a_damaged_file_for_a_sound_one(folder, tmp_path, kind):
    chance, sound = random.Random(kind), contents(folder)
    rows, told = read(folder), status(folder)
    manifest = folder / "manifest.json"
    files = [path for path in sound if kind in (path.parent.name, path.name)]
    changing = [lambda: run(SPEC, folder, False, REGISTRY), lambda: compact(folder)]
    changing.append(lambda: merge([folder], tmp_path / "merged"))
    for number in range(FLIPS[kind]):
        victim = files[number % len(files)]
        victim.write_bytes(damage(sound[victim], chance))
        if kind in ("tables", "manifest.json"):
            for command in (read, status, *changing):
                sentence = refused(command, *[folder] * (command in (read, status)))
                assert str(victim) in sentence or "another version" in sentence, (command, sentence)
            problems = refused(verify, folder) if kind != "tables" else verify(folder, 0).problems[0]
            assert str(victim) in problems or "another version" in problems
            assert {path.name for path in tmp_path.rglob("*.parquet")} == {path.name for path in sound} - NOT_PARQUET
            for path in sound:  # that a run was tried is noted, and nothing else
                assert path in (victim, manifest) or path.read_bytes() == sound[path]
            for path in (victim, manifest):
                path.write_bytes(sound[path])
        else:  # made of the rows: nobody reads it, and the next run makes it anew
            pd.testing.assert_frame_equal(read(folder), rows, check_exact=True)
            assert verify(folder, 0).problems == (
                f"{victim} is not what was made of the rows: run again to make it anew.",
            )
            changing[number % 2]()
            assert victim.read_bytes() == sound[victim]
            assert verify(folder, 0).problems == ()
    pd.testing.assert_frame_equal(status(folder).tasks, told.tasks, check_exact=True)
    pd.testing.assert_frame_equal(table(SPEC, REGISTRY), read(folder), check_exact=True)


def test_damage_is_one_line_of_the_command_line(folder, tmp_path, capsys):
    path = store.table_files(folder)[0]
    path.write_bytes(path.read_bytes()[:-9])
    toml = tmp_path / "sweep.toml"
    toml.write_text(f"experiment='coins'\nseed={SPEC['seed']}\n[coin]\nbias=[0.2,0.5]\n[run]\nrealisations=12\n")
    for arguments in (
        ["read", str(folder)],
        ["status", str(folder)],
        ["compact", str(folder)],
        ["merge", str(folder), "--out", str(tmp_path / "merged")],
        ["plot", str(folder)],
        ["run", str(toml), "--out", str(folder)],
    ):
        assert main(arguments) == 2
        output, errors = capsys.readouterr()
        assert output == ""
        assert errors == (
            f"fasthop: {path} is not what its name says: it was truncated, changed or renamed, or is no file of a "
            "sweep; move it away and run again to compute its rows anew.\n"
        )
    path.unlink()
    assert main(["run", str(toml), "--out", str(folder)]) == 0
    pd.testing.assert_frame_equal(read(folder), table(SPEC, REGISTRY), check_exact=True)


def test_rows_of_a_folder_without_a_sound_manifest_are_saved_as_it_says(folder, tmp_path):
    (folder / "manifest.json").write_bytes(b"{")
    assert "run its spec in a new folder, copy" in refused(read, folder)
    run(spec(realisations=1), tmp_path / "new", registry=REGISTRY)
    for path in store.table_files(folder):
        shutil.copy(path, tmp_path / "new" / "tables")
    assert run(SPEC, tmp_path / "new", registry=REGISTRY).chunks == 0
    pd.testing.assert_frame_equal(read(tmp_path / "new"), table(SPEC, REGISTRY), check_exact=True)


@pytest.mark.parametrize("column", ["schema_version", "stream_version", "kernel_version", "seed"])
def test_rows_of_another_seed_or_version_are_refused_by_all(folder, tmp_path, column):
    path = alter(store.table_files(folder)[0], column, lambda values: [value + 1 for value in values])
    for command in (
        lambda: read(folder),
        lambda: status(folder),
        lambda: run(SPEC, folder, registry=REGISTRY),
        lambda: compact(folder),
        lambda: merge([folder], tmp_path / "merged"),
    ):
        assert refused(command).startswith(f"{path} has {column} [")
    assert verify(folder).problems[0].startswith(f"{path} has {column} [")


def random_change(value, chance):
    """Put something else in the place of a part of JSON, anywhere in it."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(sorted(value))
        if chance.random() < 0.2:
            return {name: part for name, part in value.items() if name != key}
        return {**value, key: random_change(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        return [*value[:place], random_change(value[place], chance), *value[place + 1 :]]
    return chance.choice([None, True, -1, 2**70, 1.5, float("nan"), "", "\x1b[2J", "\udcff", [], [[]], {}, {"a": []}])


def test_no_manifest_makes_a_traceback(folder, capsys):
    """Not even one whose digest fits, which only malice can make."""
    chance, sound = random.Random(3), (folder / "manifest.json").read_bytes()
    for number in range(250):
        (folder / "manifest.json").write_bytes(sound)
        if number % 2:
            key = chance.choice(["spec", "source", "tasks", "runs", "derived"])
            alter_manifest(
                folder, lambda manifest, key=key: manifest.update({key: random_change(manifest[key], chance)})
            )
        else:
            (folder / "manifest.json").write_text(json.dumps(random_change(json.loads(sound), chance)))
        for command in ("read", "status", "verify", "plot"):
            code = main([command, str(folder)])
            output, errors = capsys.readouterr()
            assert code in (0, 1, 2)
            assert (errors == "") == (code == 0)
            assert "\x1b" not in output + errors
