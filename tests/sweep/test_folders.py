"""Folders that others read, move, fill or have prepared while a sweep is in them."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import threading

import pandas as pd
import pytest

from fasthop import files
from fasthop.cli import main
from fasthop.sweep import store
from fasthop.sweep.errors import FolderError
from fasthop.sweep.merge import compact, merge
from fasthop.sweep.read import read
from fasthop.sweep.run import run, table
from fasthop.sweep.status import status
from fasthop.sweep.summary import plot
from fasthop.sweep.verify import verify
from sweep.coins import COINS, REGISTRY, spec

SPEC = spec(realisations=30, bias=[0.2, 0.5, 0.7])

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have other files")


@pytest.fixture(autouse=True)
def coins(monkeypatch):
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", REGISTRY)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FLUSH_ROWS", 15)
    run(SPEC, tmp_path / "a", registry=REGISTRY)
    return tmp_path / "a"


def same(one, two):
    pd.testing.assert_frame_equal(one, two, check_exact=True)


# --- read while others write ----------------------------------------------------------------------------------------


@pytest.fixture(params=["in one step", "in two steps"])
def switching(request, monkeypatch):
    if request.param == "in two steps":
        monkeypatch.setattr(store, "exchange", lambda one, two: False)
    return request.param


def test_reader_sees_all_rows_at_every_moment(folder, monkeypatch, switching):
    """While another compacts the folder again and again, into other files each time."""
    monkeypatch.setattr("os.fsync", lambda handle: None)
    expected, reads, errors = table(SPEC, REGISTRY), 0, []

    def compacting():
        try:
            for number in range(30):
                store.FLUSH_ROWS = (15, 40, 90)[number % 3]
                compact(folder)
        except BaseException as error:
            errors.append(error)

    other = threading.Thread(target=compacting)
    other.start()
    while other.is_alive() or reads < 3:
        same(read(folder), expected)
        assert status(folder).rows == len(expected)
        assert [problem for problem in verify(folder, sample=0).problems if "not what was made" not in problem] == []
        reads += 1
    other.join()
    assert errors == []
    assert reads >= 3


@linux
def test_tables_are_never_gone_nor_doubled(folder, tmp_path, monkeypatch):
    """Not for readers that know nothing of fasthop either: they see the old files, then the new ones."""
    assert files.exchange(tmp_path / "a", tmp_path / "a")
    seen = []

    def looking(inner):
        def function(*arguments):
            seen.append(sorted(path.name for path in (folder / "tables").iterdir()))
            result = inner(*arguments)
            seen.append(sorted(path.name for path in (folder / "tables").iterdir()))
            return result

        return function

    before = [path.name for path in store.table_files(folder)]
    for name in ("exchange", "write_new", "sync_folder", "_put_away"):
        monkeypatch.setattr(store, name, looking(getattr(store, name)))
    monkeypatch.setattr(store, "FLUSH_ROWS", 1000)
    compact(folder)
    after = [path.name for path in store.table_files(folder)]
    assert {tuple(names) for names in seen} == {tuple(before), tuple(after)}
    assert len(after) == 1 < len(before)


def test_kill_between_two_steps_hides_nothing(folder, monkeypatch):
    """Where the system has no single step."""
    monkeypatch.setattr(store, "exchange", lambda one, two: False)
    monkeypatch.setattr(store, "FLUSH_ROWS", 1000)
    rename, renamed = os.rename, []

    def killed(one, two):
        if len(renamed) == 1:
            raise KeyboardInterrupt
        renamed.append(rename(one, two))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            compact(folder)
    assert not (folder / "tables").exists()
    same(read(folder), table(SPEC, REGISTRY))
    assert status(folder).left == 0
    assert run(SPEC, folder, registry=REGISTRY).chunks == 0
    assert len(store.table_files(folder)) == 1
    assert list((folder / "partial").iterdir()) == []


def test_pictures_are_drawn_while_a_sweep_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FLUSH_SECONDS", 0)
    monkeypatch.setattr("os.fsync", lambda handle: None)
    run(spec(realisations=4, bias=[0.2, 0.5, 0.7]), tmp_path, registry=REGISTRY)
    drawn, errors, done = [], [], threading.Event()

    def drawing():
        try:
            while not done.is_set():
                drawn.append(plot(tmp_path))
        except BaseException as error:
            errors.append(error)

    other = threading.Thread(target=drawing)
    other.start()
    while not drawn and other.is_alive():
        pass
    for realisations in (30, 60, 90):
        run({**SPEC, "run": {"realisations": realisations}}, tmp_path, registry=REGISTRY)
    done.set()
    other.join()
    assert errors == []
    assert list((tmp_path / "partial").iterdir()) == []


# --- moved, or filled by others -------------------------------------------------------------------------------------


def test_sweep_whose_folder_was_moved_writes_nothing_to_its_successor(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FLUSH_SECONDS", 0)
    asked, other = [], {**SPEC, "seed": 8}

    def rows(task, realisations, seed):
        asked.append(realisations)
        if len(asked) == 3:
            (tmp_path / "a").rename(tmp_path / "moved")
            run(other, tmp_path / "a", registry=REGISTRY)
        return COINS.rows(task, realisations, seed)

    with pytest.raises(FolderError, match="was moved or replaced while its sweep ran: nothing more is written to it"):
        run(SPEC, tmp_path / "a", registry={"coins": COINS._replace(rows=rows)})
    same(read(tmp_path / "a"), table(other, REGISTRY))
    assert len(store.read_manifest(tmp_path / "a")["runs"]) == 1
    assert run(SPEC, tmp_path / "moved", registry=REGISTRY).skipped == 2
    same(read(tmp_path / "moved"), table(SPEC, REGISTRY))


@pytest.mark.parametrize("command", ["compact", "merge"])
def test_what_others_put_beside_the_tables_stays(folder, tmp_path, monkeypatch, switching, command):
    monkeypatch.setattr(store, "FLUSH_ROWS", 1000)
    tables = folder / "tables"
    (tables / "notes.txt").write_text("mine")
    (tables / "more").mkdir()
    (tables / "more" / "data.csv").write_text("1,2")
    (tables / "link").symlink_to(tmp_path)
    run(spec(realisations=30, bias=[0.2, 0.5, 0.7]), tmp_path / "b", registry=REGISTRY)
    compact(folder) if command == "compact" else merge([tmp_path / "b"], folder)
    assert (tables / "notes.txt").read_text() == "mine"
    assert (tables / "more" / "data.csv").read_text() == "1,2"
    assert os.readlink(tables / "link") == str(tmp_path)
    assert len(store.table_files(folder)) == 1
    same(read(folder), table(SPEC, REGISTRY))
    assert list((folder / "partial").iterdir()) == []


def test_what_a_killed_compaction_leaves_is_put_back(folder, tmp_path, monkeypatch):
    """The old files, after the switch, with what others had put beside them."""
    (folder / "tables" / "notes.txt").write_text("mine")
    monkeypatch.setattr(store, "FLUSH_ROWS", 1000)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_put_away", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            compact(folder)
    assert run(SPEC, folder, registry=REGISTRY).chunks == 0
    assert (folder / "tables" / "notes.txt").read_text() == "mine"
    assert len(store.table_files(folder)) == 1
    same(read(folder), table(SPEC, REGISTRY))


def test_rows_that_are_there_twice_count_once(folder, tmp_path, monkeypatch):
    """As where two processes have written at once because nothing kept one of them out."""
    monkeypatch.setattr(store, "FLUSH_ROWS", 1000)
    run(spec(realisations=11, bias=[0.2, 0.5, 0.7]), tmp_path / "b", registry=REGISTRY)
    shutil.copy(*store.table_files(tmp_path / "b"), folder / "tables")
    found = status(folder)
    assert (found.rows, found.left) == (180, 0)
    assert found.tasks["realisations"].tolist() == [30] * 3
    same(read(folder), table(SPEC, REGISTRY))


# --- disks that cannot lock -----------------------------------------------------------------------------------------


def no_lock(number):
    def flock(handle, operation):
        if number is not None:
            raise OSError(number, os.strerror(number))

    return flock


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, None])
def unlocked(request, monkeypatch):
    """A disk that says that it cannot lock, or only pretends to."""
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", no_lock(request.param))


@pytest.mark.usefixtures("unlocked")
def test_disk_that_cannot_lock_holds_a_sweep_and_says_so(tmp_path):
    report = run(SPEC, tmp_path, registry=REGISTRY)
    assert report.notes == (
        f"{tmp_path} is on a disk that cannot lock: no other process may write to it at the same time.",
    )
    same(read(tmp_path), table(SPEC, REGISTRY))
    assert compact(tmp_path).notes == report.notes
    assert [entry["locked"] for entry in store.read_manifest(tmp_path)["runs"]] == [False, False]


@pytest.mark.usefixtures("unlocked")
def test_second_process_is_noticed_without_a_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FLUSH_SECONDS", 0)
    asked = []

    def rows(task, realisations, seed):
        asked.append(realisations)
        if len(asked) == 3:
            run(SPEC, tmp_path, registry=REGISTRY)
        return COINS.rows(task, realisations, seed)

    with pytest.raises(FolderError, match=r"is in use: another process has written rows-.*parquet meanwhile"):
        run(SPEC, tmp_path, registry={"coins": COINS._replace(rows=rows)})
    same(read(tmp_path), table(SPEC, REGISTRY))
    assert len(pd.read_parquet(tmp_path / "tables")) == 180


# --- folders that others have prepared ------------------------------------------------------------------------------


def outside(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    return victim


@linux
@pytest.mark.parametrize(
    "name", ["summary.parquet", "coins.png", "manifest.json", "partial/coins.png", "partial/x", "tables/x"]
)
def test_nothing_is_written_through_a_link(folder, tmp_path, name):
    victim = outside(tmp_path)
    (folder / name).unlink(missing_ok=True)
    if name == "manifest.json":
        victim.write_bytes(b"precious")
    (folder / name).symlink_to(victim)
    for arguments in (["plot", str(folder)], ["compact", str(folder)]):
        main(arguments)
    with pytest.raises(FolderError) if name == "manifest.json" else contextlib.nullcontext():
        run(SPEC, folder, registry=REGISTRY)
    assert victim.read_text() == "precious"


def test_folders_in_the_place_of_what_is_made_of_the_rows_end_nothing(folder):
    for name in ("summary.parquet", "coins.png"):
        (folder / name).unlink()
        (folder / name).mkdir()
    report = run(SPEC, folder, registry=REGISTRY)
    assert [note.split(" could not")[0] for note in report.notes] == [str(folder / "summary.parquet")]
    same(read(folder), table(SPEC, REGISTRY))


@linux
@pytest.mark.parametrize("name", ["lock", "tables", "partial"])
def test_links_in_the_place_of_its_own_are_refused(folder, tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    victim = outside(tmp_path)
    (folder / name).rename(tmp_path / "kept")
    (folder / name).symlink_to(victim if name == "lock" else tmp_path / "elsewhere")
    with pytest.raises(FolderError, match=rf"{name} is a link: fasthop writes only to what lies in the folder itself"):
        run(SPEC, folder, registry=REGISTRY)
    if name == "partial":
        with pytest.raises(FolderError, match="partial is a link"):
            plot(folder)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert victim.read_text() == "precious"


@linux
@pytest.mark.parametrize(
    "name", ["manifest.json", "lock", "tables/rows-0000000-0000001-0123456789ab.parquet", "coins.png"]
)
def test_pipes_do_not_hang_anything(folder, name, capsys):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    for command in ("read", "status", "verify", "plot", "compact"):
        code = main([command, str(folder)])
        errors = capsys.readouterr().err
        assert code in (0, 1, 2)
        assert errors.count("\n") <= 2
    if name in ("manifest.json", "lock"):
        with pytest.raises(FolderError, match="plain file"):
            run(SPEC, folder, registry=REGISTRY)


@linux
def test_folder_whose_name_is_no_text(tmp_path):
    """In a process of its own, whose output is text all the same."""
    out = os.fsencode(tmp_path) + b"/\xff\x1b[2J"
    toml = tmp_path / "sweep.toml"
    toml.write_text("experiment='coins'\n[coin]\nbias=0.5\n[run]\nrealisations=3\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    shown = f"{tmp_path}/\\udcff\\x1b[2J"

    def command(*arguments):
        done = subprocess.run([sys.executable, "-m", "sweep.coins", *arguments], capture_output=True, env=environment)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    code, output, errors = command("run", toml, "--out", out)
    assert (code, errors) == (0, "")
    assert output.startswith(f"{shown}: 6 rows in 1 chunks computed")
    code, output, errors = command("merge", out, "-o", out + b"2")
    assert (code, errors) == (0, "")
    for name, last in {"status": f"{shown}: 1 of 1 chunks, 6 rows in 1 files", "plot": f"{shown}/coins.png"}.items():
        code, output, errors = command(name, out)
        assert (code, output.splitlines()[-1], errors) == (0, last, "")
    assert command("read", out + b"3") == (
        2,
        "",
        f"fasthop: {shown}3 holds no sweep: there is no {shown}3/manifest.json.\n",
    )


def test_output_needs_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (lambda: run(SPEC, "", registry=REGISTRY), lambda: merge(["a"], ""), lambda: read("")):
        with pytest.raises(FolderError, match="a folder must have a name"):
            command()
    assert list(tmp_path.iterdir()) == []
