"""Files of a user's own: what is taken, what is refused in which sentence, and that a changed file is seen."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import fasthop as fh
from fasthop.storage import inputs

SIGNS = np.array([[1, -1, 1, 1], [-1, -1, 1, -1], [1, 1, -1, -1]])


def saved(path, array):
    np.save(path, array)
    return path


def lists(path, rows, kind=None):
    pq.write_table(pa.table({"pattern": pa.array(rows, kind or pa.list_(pa.int8()))}), path)
    return path


def images(folder, *arrays):
    folder.mkdir()
    for index, array in enumerate(arrays):
        Image.fromarray(np.asarray(array, np.uint8)).save(folder / f"{index}.png")
    return folder


def test_npy_parquet_and_images_give_the_same_patterns(tmp_path):
    grey = [np.where(row.reshape(2, 2) > 0, 128, 127) for row in SIGNS]
    frame = pd.DataFrame(SIGNS, columns=list("abcd"))
    frame.to_parquet(tmp_path / "signs.parquet")
    for path in (
        saved(tmp_path / "signs.npy", SIGNS.astype(float)),
        saved(tmp_path / "whole.npy", SIGNS.astype(np.int8).reshape(3, 2, 2)),
        saved(tmp_path / "zeros.npy", (SIGNS + 1) / 2),
        saved(tmp_path / "booleans.npy", SIGNS > 0),
        tmp_path / "signs.parquet",
        lists(tmp_path / "lists.parquet", SIGNS.tolist()),
        lists(tmp_path / "large.parquet", SIGNS.tolist(), pa.large_list(pa.float64())),
        lists(tmp_path / "fixed.parquet", SIGNS.tolist(), pa.list_(pa.int64(), 4)),
        images(tmp_path / "images", *grey),
    ):
        found = fh.load_patterns(path)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, SIGNS, err_msg=str(path))


def test_colours_become_grey(tmp_path):
    bright, dark = [255, 255, 0], [0, 0, 255]  # luminance 226 and 29
    folder = images(tmp_path / "colours", [[bright, dark]])
    assert fh.load_patterns(folder).tolist() == [[1, -1]]


def broken(path):
    path.write_bytes(b"PAR1 is not enough")
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda at: at / "none.npy", "none.npy cannot be read: No such file"),
        (lambda at: at / "a.csv", "must be a .npy or .parquet file or a folder of images"),
        (lambda at: saved(at / "a.npy", np.empty((0, 4))), "shape (P, N) with P, N ≥ 1; got shape (0, 4)"),
        (lambda at: saved(at / "a.npy", np.ones(4)), "got shape (4,)"),
        (lambda at: saved(at / "a.npy", SIGNS * 2), "must hold ±1, or 0 and 1; pattern 0 has 2 at 0"),
        (lambda at: saved(at / "a.npy", np.array([[1, 0, -1]])), "pattern 0 has -1 at 2"),
        (lambda at: saved(at / "a.npy", np.array([[1, np.nan]])), "pattern 0 has nan at 1"),
        (lambda at: saved(at / "a.npy", np.array([["a", "b"]])), "must hold real numbers"),
        (
            lambda at: saved(at / "a.npy", np.array([[1], [1, 2]], dtype=object)),
            "it holds Python objects, as rows of unequal length do",
        ),
        (lambda at: lists(at / "a.parquet", [[1, -1], [1, 1], [1]]), "pattern 0 has 2 entries and pattern 2 has 1"),
        (lambda at: lists(at / "a.parquet", []), "must hold patterns"),
        (lambda at: broken(at / "a.npy"), "cannot be read"),
        (lambda at: broken(at / "a.parquet"), "cannot be read"),
        (lambda at: images(at / "none"), "must hold images"),
        (lambda at: images(at / "two", np.zeros((2, 3)), np.zeros((4, 3))), "0.png has 3 × 2 pixels, 1.png 3 × 4"),
    ],
)
def test_what_is_no_pattern_is_refused_in_one_sentence(tmp_path, make, words):
    with pytest.raises(ValueError, match=r"\.$") as refusal:
        fh.load_patterns(make(tmp_path))
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_no_image_is_named(tmp_path):
    folder = images(tmp_path / "images", np.zeros((2, 2)))
    broken(folder / "9.png")
    with pytest.raises(ValueError, match=r"9\.png is no image that can be read"):
        fh.load_patterns(folder)


def test_nulls_are_named(tmp_path):
    pd.DataFrame({"a": [1.0, None], "b": [1.0, -1.0]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="column 'a' has nulls"):
        fh.load_patterns(tmp_path / "a.parquet")


def test_weights_are_square_and_finite(tmp_path):
    W = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(fh.load_weights(saved(tmp_path / "W.npy", W)), W)
    for wrong, words in (
        (np.ones((2, 3)), "square matrix"),
        (np.ones(4), "square matrix"),
        (np.array([[1, np.inf], [0, 1]]), "finite"),
        (np.array([["a"]]), "real numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            fh.load_weights(saved(tmp_path / "wrong.npy", wrong))
    with pytest.raises(ValueError, match=r"must be a \.npy file"):
        fh.load_weights(tmp_path / "W.txt")


def test_a_name_says_what_a_file_holds_and_notices_a_change(tmp_path):
    path = str(saved(tmp_path / "signs.npy", SIGNS))
    name = inputs.named(path)
    assert name.startswith(f"{path}#")
    assert inputs.named(name) == name
    np.testing.assert_array_equal(inputs.patterns_of(name), SIGNS)
    saved(path, -SIGNS)
    assert inputs.named(path) != name
    with pytest.raises(ValueError, match="has changed since"):
        inputs.named(name)
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        inputs.named(str(tmp_path / "none.npy"))
    folder = images(tmp_path / "images", np.zeros((2, 2)), np.ones((2, 2)))
    before = inputs.named(str(folder))
    (folder / "0.png").rename(folder / "2.png")
    assert inputs.named(str(folder)) != before


def test_a_sweep_takes_patterns_and_weights_from_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    xi = fh.random_patterns(12, 60, seed=9)
    saved("mine.npy", xi)
    saved("W.npy", fh.hebb(xi[:4]))
    run = {"realisations": 2}
    everything = fh.capacity(
        memory={"rule": "pseudo-inverse"},
        patterns={"kind": "file", "file": "mine.npy"},
        cues={"per_realisation": 24, "flip": 0.05},
        run=run,
    )
    assert everything["patterns"].tolist() == [12, 12]
    assert everything["neurons"].tolist() == [60, 60]
    assert (everything["exact"] > 20).all()
    assert everything["pattern_file"].str.startswith("mine.npy#").all()
    own = fh.capacity(
        memory={"rule": "file", "weights": "W.npy"},
        patterns={"kind": "file", "file": "mine.npy", "count": [4, 12]},
        cues={"per_realisation": 24},
        run=run,
    )
    # The four that W was made of are among the twelve, and only they come back.
    assert own.loc[own["patterns"] == 12, "retrieved"].between(8, 9).all()
    for patterns, memory, words in (
        ({"kind": "file", "file": "none.npy"}, {}, "patterns.file cannot be"),
        ({"kind": "file", "file": "mine.npy", "count": 13}, {}, "patterns.count must be at most 12"),
        ({"kind": "file", "file": "mine.npy"}, {"neurons": 61}, "memory.neurons must be 60, or left out"),
        ({"count": 3}, {"neurons": 59, "rule": "file", "weights": "W.npy"}, "must be for 59 neurons"),
    ):
        with pytest.raises(ValueError, match=words):
            fh.capacity(memory=memory, patterns=patterns, cues={"per_realisation": 2}, run=run)
    saved("twice.npy", np.concatenate([xi[:3], xi[:3]]))
    with pytest.raises(
        ValueError, match=r"at most 3, the rank of patterns\.kind = 'file', for the pseudo-inverse; got 6"
    ):
        fh.capacity(
            memory={"rule": "pseudo-inverse"},
            patterns={"kind": "file", "file": "twice.npy"},
            cues={"per_realisation": 2},
            run=run,
        )
