"""The command line: what it prints where, and how it exits."""

import csv
import io
import json
import os
import subprocess
import sys

import numba
import pytest

import fasthop
from fasthop.cli import _duration, main
from fasthop.sweep.read import read
from sweep.coins import COINS, REGISTRY

TOML = """
experiment = "coins"
[coin]
bias = [0.2, 0.5]
[run]
realisations = {}
"""


@pytest.fixture(autouse=True)
def coins(monkeypatch):
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", REGISTRY)


@pytest.fixture
def toml(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(TOML.format(10))
    return str(path)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "runs" / "a"


@pytest.fixture
def swept(toml, out, capsys):
    assert main(["run", toml, "--out", str(out)]) == 0
    capsys.readouterr()
    return out


def test_run_says_what_it_did(toml, out, capsys):
    assert main(["run", toml, "--out", str(out)]) == 0
    output, errors = capsys.readouterr()
    assert output.startswith(f"{out}: 40 rows in 6 chunks computed, 0 chunks were there already; ")
    assert errors == ""
    assert main(["run", toml, "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 0 rows in 0 chunks computed, 6 chunks were there already; ")


def test_dry_run_creates_nothing(toml, out, capsys):
    assert main(["run", toml, "--out", str(out), "--dry-run"]) == 0
    output, errors = capsys.readouterr()
    first, second, third = output.splitlines()
    assert first == "tasks: 2, realisations: 20, chunks: 6"
    assert second == "still to be computed: 6 chunks, about 40 rows"
    assert third.startswith("time on this machine: about ")
    assert third.endswith(" s, from 6 chunks timed")
    assert errors == ""
    assert not out.exists()
    assert main(["run", toml, "--dry-run"]) == 0


def test_shard_computes_its_part(toml, out, capsys):
    assert main(["run", toml, "--out", str(out), "--shard", "2/3"]) == 0
    assert " 2 chunks computed, 0 chunks were there already" in capsys.readouterr().out
    assert main(["run", toml, "--out", str(out), "--shard", "2/3"]) == 0
    assert " 0 chunks computed, 2 chunks were there already" in capsys.readouterr().out
    assert main(["run", toml, "--out", str(out), "--shard", "2/3", "--dry-run"]) == 0
    assert "still to be computed: 0 chunks\n" in capsys.readouterr().out


def test_log_json_goes_to_stderr(toml, out, capsys):
    assert main(["run", toml, "--out", str(out), "--log-json"]) == 0
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert events == ["begin", *["chunk"] * 6, "end"]


def test_status(swept, capsys):
    assert main(["status", str(swept)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["task_id", "task", "realisations", "failed", "left", "rate", "low", "high"]
    assert lines[-1] == f"{swept}: 6 of 6 chunks, 40 rows in 1 files"
    assert lines[-2].startswith("run of 20")
    assert lines[-2].endswith(", 6 chunks, done")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "0.012 s"),
        (59, "59 s"),
        (119, "119 s"),
        (150, "2.5 min"),
        (3600, "60 min"),
        (9e4, "25 h"),
        (2e6, "23 d"),
    ],
)
def test_durations(seconds, text):
    assert _duration(seconds) == text


def test_threads_are_set(toml, out, monkeypatch):
    seen = []

    def rows(task, realisations, seed):
        seen.append(numba.get_num_threads())
        return COINS.rows(task, realisations, seed)

    monkeypatch.setitem(REGISTRY, "coins", COINS._replace(rows=rows))
    before = numba.get_num_threads()
    try:
        assert main(["run", toml, "--out", str(out), "--threads", "1"]) == 0
    finally:
        numba.set_num_threads(before)
    assert set(seen) == {1}


def test_every_problem_of_a_spec_is_a_line(toml, out, tmp_path, capsys):
    (tmp_path / "sweep.toml").write_text('experiment = "coins"\n[coin]\nbais = 0.5\n[run]\nrealisations = 0\n')
    assert main(["run", toml, "--out", str(out)]) == 2
    assert capsys.readouterr() == (
        "",
        "fasthop: coin.bais is no key of this experiment; did you mean coin.bias?\n"
        "fasthop: coin.bias is missing; it must be a finite number from 0 to 1.\n"
        "fasthop: run.realisations must be a whole number of at least 1; got 0.\n",
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "absent.toml", "--out", "x"], "absent.toml cannot be read: No such file or directory."),
        (["run", "{toml}"], "run needs --out DIR, the folder for its tables."),
        (["run", "{toml}", "--out", "{toml}"], "{toml} cannot hold a sweep: it is a file."),
        (["run", "{toml}", "--out", "x", "--threads", "0"], "--threads must be a whole number from 1 to "),
        (["run", "{toml}", "--out", "x", "--threads", "9999"], "--threads must be a whole number from 1 to "),
        (["read", "absent"], "absent holds no sweep: there is no absent/manifest.json."),
        (["plot", "absent"], "absent holds no sweep: there is no absent/manifest.json."),
    ],
)
def test_wrong_input_is_one_sentence(toml, tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert main([argument.format(toml=toml) for argument in arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(f"fasthop: {sentence.format(toml=toml)}")
    assert errors.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.toml"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["walk"],
        ["run"],
        ["run", "a", "--threads", "two"],
        ["run", "a", "--shard", "0/3"],
        ["run", "a", "--shard", "4/3"],
        ["read"],
        ["merge", "a"],
    ],
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    usage, sentence = capsys.readouterr().err.strip().rsplit("\n", 1)
    assert usage.startswith("usage: fasthop")
    assert sentence.startswith("fasthop: ")


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "1/0", "-1/3", "a/b", "1/99999999999999999999"])
def test_shards_that_are_none(shard, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["run", "a", f"--shard={shard}"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith(f"--shard: must be I/N with 1 ≤ I ≤ N ≤ 1000000, as 1/3; got {shard}.\n")


def test_failures_from_outside_are_one_sentence(toml, out, monkeypatch, capsys):
    def failing(error):
        def rows(task, realisations, seed):
            raise error

        return COINS._replace(rows=rows)

    again = f"what is finished is kept, go on with: fasthop run {toml} --out {out}"
    for error, code, sentence in [
        (OSError(5, "Input/output error", "cues.npy"), 1, f"cues.npy: Input/output error; {again}"),
        (OSError("no such driver"), 1, f"no such driver; {again}"),
        (MemoryError("Unable to allocate 9 TiB"), 1, f"out of memory: Unable to allocate 9 TiB; {again}"),
        (KeyboardInterrupt(), 130, f"interrupted; {again}"),
    ]:
        monkeypatch.setitem(REGISTRY, "coins", failing(error))
        assert main(["run", toml, "--out", str(out)]) == code
        assert capsys.readouterr().err == f"fasthop: {sentence}\n"


def test_bug_is_told_with_its_place(toml, out, monkeypatch, capsys):
    monkeypatch.setitem(REGISTRY, "coins", COINS._replace(rows=lambda *_: 1 / 0))
    assert main(["run", toml, "--out", str(out)]) == 1
    output, errors = capsys.readouterr()
    assert output.startswith(f"{out}: 0 rows in 6 chunks computed, ")
    assert errors.startswith("fasthop: 20 realisations have no rows: realisation 0 of the task ")
    assert " failed: ZeroDivisionError: division by zero (test_cli.py:" in errors


def test_experiment_that_breaks_its_promise(toml, out, monkeypatch, capsys):
    monkeypatch.setitem(REGISTRY, "coins", COINS._replace(rows=lambda *_: {}))
    assert main(["run", toml, "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith("fasthop: coins must return the columns ['realisation', ")


@pytest.mark.parametrize("summary", [False, True])
def test_read_as_csv_gives_the_same_numbers(swept, summary, capsys):
    assert main(["read", str(swept), "--csv", *["--summary"] * summary]) == 0
    text = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(text)))
    expected = read(swept, summary)
    assert list(rows[0]) == list(expected)
    for name in expected.columns.drop("weights", errors="ignore"):
        values = expected[name].tolist()
        assert [type(values[0])(row[name]) for row in rows] == values


def test_read_for_the_eye(swept, capsys):
    assert main(["read", str(swept), "--summary"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["task_id", "bias", "heads"]
    assert lines[-1] == "2 rows, 3 columns"


def test_plot(swept, capsys):
    (swept / "coins.png").unlink()
    assert main(["plot", str(swept)]) == 0
    assert capsys.readouterr().out == f"{swept / 'coins.png'}\n"
    assert (swept / "coins.png").exists()


def test_demo_goes_where_it_is_told(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("fasthop.demo.main", seen.append)
    assert main(["demo", "--out", str(tmp_path)]) == 0
    assert seen == [tmp_path]


def test_info(capsys):
    assert main(["info"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.count(" ") > 0)
    assert lines["fasthop"].strip() == fasthop.__version__
    assert lines["numba"].strip() == numba.__version__
    assert int(lines["threads"]) == numba.get_num_threads()


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert (caught.value.code, capsys.readouterr().out) == (0, f"fasthop {fasthop.__version__}\n")


def test_python_m_fasthop():
    done = subprocess.run(
        [sys.executable, "-m", "fasthop", "--version"], capture_output=True, text=True, env=environment()
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"fasthop {fasthop.__version__}\n", "")


def test_reader_that_has_seen_enough(toml, out, tmp_path):
    (tmp_path / "sweep.toml").write_text(TOML.format(1000))  # more than a pipe holds
    assert main(["run", toml, "--out", str(out)]) == 0
    command = [sys.executable, "-m", "sweep.coins", "read", str(out), "--csv"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as reading:
        assert reading.stdout.readline().startswith("task_id,")
        reading.stdout.close()
        assert (reading.stderr.read(), reading.wait()) == ("", 0)


def test_folder_without_a_name_is_refused(toml, capsys):
    """It would be the current one."""
    for arguments in (["run", toml, "--out", ""], ["read", ""], ["merge", "", "-o", "a"], ["merge", "a", "-o", ""]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "must be the path of a folder; got an empty text" in capsys.readouterr().err


@pytest.mark.parametrize("reads", ["a line", "nothing"])
def test_sweep_goes_on_where_nobody_reads_its_log_any_more(toml, out, reads):
    """As in `fasthop run … --log-json 2>&1 >/dev/null | head -1`."""
    command = [sys.executable, "-m", "sweep.coins", "run", toml, "--out", str(out), "--log-json"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **streams, text=True, env={**environment(), "COINS_PAUSE": "0.05"}) as running:
        if reads == "a line":
            assert json.loads(running.stderr.readline())["event"] == "begin"
        running.stderr.close()
        assert " 40 rows in 6 chunks computed" in running.stdout.read()
        assert running.wait() == 0
    assert len(read(out)) == 40


def test_failure_keeps_its_exit_code_where_nobody_reads_it(toml, out, tmp_path):
    command = [sys.executable, "-m", "sweep.coins", "read", str(tmp_path / "absent")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment()) as running:
        running.stderr.close()
        assert running.wait() == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no such disk")
def test_output_that_is_lost_is_a_failure(swept):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "sweep.coins", "read", str(swept)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment())
    assert done.returncode != 0
    assert "No space left on device" in done.stderr


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
