"""Files that a user names: whatever they are, numbers or one sentence; no wait, no memory, no traceback."""

import ast
import io
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import fasthop as fh
from fasthop.cli import main
from fasthop.files import read_file
from fasthop.npy import array_of
from fasthop.storage import inputs
from fasthop.sweep import cluster as clusters
from fasthop.sweep.errors import ClusterError, SpecError
from fasthop.sweep.spec import Spec, load_spec
from fasthop.sweep.tls import security_fields
from fasthop.training import learning as fit
from mutations import mutated

PEM = Path(__file__).parent / "sweep" / "tls"
XI = np.array([[1, -1, 1, 1, -1, 1], [-1, -1, 1, -1, 1, 1], [1, 1, -1, -1, 1, -1]])
W = np.arange(25.0).reshape(5, 5) / 7
SPEC = """# déjà vu
experiment = "capacity"
seed = 7
[memory]
neurons = [10, 20]
rule = ["hebb", "pseudo-inverse"]
activation = { name = "tanh", beta = { from = 4.0, to = 8.0, by = 4.0 } }
[patterns]
load = { from = 0.1, to = 0.3, by = 0.1 }
[cues]
flip = [0.0, 0.1]
per_realisation = 10
[run]
realisations = 20
"""


#: A fit of five numbers, named as by `fit`, before its first epoch.
NAME = "0123456789abcdef" * 4
FRESH = fit._State(np.zeros(5), np.zeros((2, 5)), [])


def resumed(path):
    return fit._resumed(Path(path), NAME, FRESH)


def from_scheduler_file(path):
    with clusters.on_cluster(str(path)):
        pass


#: Every function that opens a file that a user names: how its name ends, the function, and how it refuses.
OPENERS = {
    "patterns": (".npy", fh.load_patterns, ValueError),
    "parquet": (".parquet", fh.load_patterns, ValueError),
    "image": ("/0.png", lambda path: fh.load_patterns(path.parent), ValueError),
    "weights": (".npy", fh.load_weights, ValueError),
    "name": (".npy", lambda path: inputs.named(str(path)), ValueError),
    "spec": (".toml", load_spec, ValueError),
    "security": (".toml", security_fields, ValueError),
    "scheduler": (".json", from_scheduler_file, ClusterError),
    "checkpoint": (".npz", resumed, ValueError),
}


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    monkeypatch.setattr(clusters, "PATIENCE", 0.0)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits"))
    signal.alarm(120)
    yield
    signal.alarm(0)


def sentence(kind, path):
    """Return the sentence in which an opener refuses a path."""
    _, function, refusal = OPENERS[kind]
    with pytest.raises(refusal) as caught:
        function(path)
    text = str(caught.value)
    assert text.count("\n") == 0
    assert re.search(r"[.?]$", text), text
    assert len(text) < 700, text
    return text


# --- what is no file --------------------------------------------------------------------------------------------------


def folder(path):
    path.mkdir()


def bound(path):
    with socket.socket(socket.AF_UNIX) as unix:  # its path may have a hundred bytes
        here = os.getcwd()
        os.chdir(path.parent)
        unix.bind(path.name)
        os.chdir(here)


def sparse(path):
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\1\0")
        file.truncate(2**40)


NOT_FILES = {
    "a folder": (folder, "not a plain file"),
    "a pipe": (os.mkfifo, "not a plain file"),
    "a socket": (bound, "not a plain file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "not a plain file"),
    "a link to nothing": (lambda path: path.symlink_to("nothing"), "No such file or directory"),
    "a loop": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    "nothing": (lambda path: None, "No such file or directory"),
    "forbidden": (lambda path: path.touch(mode=0), "Permission denied"),
    "a terabyte": (sparse, "larger than "),
    "made up by the system": (lambda path: path.symlink_to("/proc/self/environ"), "its size is not what the disk says"),
}


@pytest.fixture
def as_nobody():
    """Permissions bind all but root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture
def place():
    """A folder that everyone may look into."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("what", NOT_FILES)
def test_what_is_no_file_that_can_be_read(place, request, kind, what):
    make, words = NOT_FILES[what]
    path = place / f"a{OPENERS[kind][0]}"
    path.parent.mkdir(exist_ok=True)
    make(path)
    if what == "forbidden":
        request.getfixturevalue("as_nobody")
    if kind == "image" and what == "nothing":
        words = "it must hold images"
    if kind in ("patterns", "parquet", "name") and what == "a folder":
        words = "it must hold images"  # patterns may be a folder
    if kind == "name" and what == "a folder":
        assert inputs.named(str(path)).startswith(f"{path}#")
    elif kind == "checkpoint" and words == "No such file or directory":
        assert resumed(path) is FRESH  # it is the place for one
    else:
        assert words in sentence(kind, path)


@pytest.mark.parametrize("kind", sorted(OPENERS.keys() - {"image"}))
def test_name_that_no_file_can_have(tmp_path, kind):
    suffix = OPENERS[kind][0]
    assert "no file can have this name" in sentence(kind, tmp_path / f"a\0b{suffix}")
    assert "File name too long" in sentence(kind, tmp_path / ("a" * 300 + suffix))


@pytest.mark.parametrize("kind", OPENERS)
def test_no_bytes_and_random_bytes(tmp_path, kind):
    path = tmp_path / f"a{OPENERS[kind][0]}"
    path.parent.mkdir(exist_ok=True)
    for content in (
        b"",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xff\xfea\0",
        b"PK\3\4",
        b"\x93NUMPY",
        b"PAR1PAR1",
        random.Random(1).randbytes(5000),
    ):
        path.write_bytes(content)
        if kind == "security":
            with pytest.raises(SpecError, match=re.escape(str(path))):
                security_fields(path)
        elif kind == "name":
            assert re.fullmatch(re.escape(str(path)) + "#[0-9a-f]{16}", inputs.named(str(path)))
        else:
            assert str(path.parent if kind == "image" else path) in sentence(kind, path) or kind == "spec"


@pytest.mark.parametrize("what", ["a pipe", "a device", "a loop", "a terabyte", "a header that lies"])
@pytest.mark.parametrize("field", ["patterns", "weights"])
def test_command_line_says_it_in_one_line(tmp_path, capsys, what, field):
    path = tmp_path / "a.npy"
    NOT_FILES.get(what, (lambda path: path.write_bytes(npy(shape="(9, 9)")), ""))[0](path)
    other = (
        "kind = 'file'\nfile =" if field == "patterns" else "count = 2\n[memory]\nneurons = 5\nrule = 'file'\nweights ="
    )
    spec = (
        f"experiment = 'capacity'\n[patterns]\n{other} '{path}'\n[cues]\nper_realisation = 4\n[run]\nrealisations = 2\n"
    )
    (tmp_path / "sweep.toml").write_text(spec)
    assert main(["run", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out")]) == 2
    output, errors = capsys.readouterr()
    lines = [line for line in errors.splitlines() if str(path) in line]
    assert (output, len(lines)) == ("", 1)
    assert f"{path} cannot be read: " in lines[0]
    assert not (tmp_path / "out").exists()


def test_names_may_have_a_hash(tmp_path):
    path = tmp_path / "a#1.npy"
    np.save(path, XI)
    name = inputs.named(str(path))
    assert inputs.named(name) == name
    np.testing.assert_array_equal(inputs.patterns_of(name), XI)
    for empty in (fh.load_patterns, fh.load_weights, inputs.named):
        with pytest.raises(ValueError, match="must have a name; got an empty text"):
            empty("")


def test_a_file_is_read_as_far_as_it_may_be(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes, the most that is read"):
        read_file(path, 4)


# --- .npy -------------------------------------------------------------------------------------------------------------


BODY = W.tobytes()


def npy(descr="'<f8'", shape="(5, 5)", body=BODY, fortran="False", version=b"\1\0", pad=0):
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}{' ' * pad}\n".encode()
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(header))
    return b"\x93NUMPY" + version + length + header + body


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4", "<f2", "|i1", "|u1", "<i8", ">i2", ">u4", "|b1", "<f16"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_kind_of_number_is_what_numpy_reads(tmp_path, dtype, order):
    array = np.asarray(np.array([[0, 1, 1], [1, 0, 0]]), order=order).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    there = array_of((tmp_path / "a.npy").read_bytes())
    assert there.dtype == np.load(tmp_path / "a.npy").dtype
    np.testing.assert_array_equal(there, array)
    np.testing.assert_array_equal(fh.load_patterns(tmp_path / "a.npy"), [[-1, 1, 1], [1, -1, -1]])


def test_what_other_programs_write_is_read():
    for data in (
        npy(),
        npy(version=b"\2\0"),
        npy(shape="(5,5)"),
        b"\x93NUMPY\1\0"
        + struct.pack("<H", 56)
        + b'{"shape":(5,5),"fortran_order":False,"descr":"<f8"}     \n'[:56]
        + W.tobytes(),
    ):
        np.testing.assert_array_equal(array_of(data), W)
    np.testing.assert_array_equal(array_of(npy(fortran="True")), W.T)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npy(shape="(1000000, 1000000)"), "its header says (1000000, 1000000) of <f8, which 200 bytes are not"),
        (npy(shape="(10, 100000000000)"), "its header says (10, 100000000000), which is no shape"),
        (npy(shape="(-5, -5)"), "which is no shape of an array"),
        (npy(shape="(5.0, 5)"), "which is no shape of an array"),
        (npy(shape="(True, 25)"), "which is no shape of an array"),
        (npy(shape="25"), "its header says 25, which is no shape"),
        (npy(shape=str((1,) * 33)), "which is no shape of an array"),
        (npy(shape=f"({'9' * 5000}, 1)"), "its header is not that of a .npy file"),
        (npy(fortran="2"), "which is no shape of an array"),
        (npy(body=W.tobytes()[:-1]), "which 199 bytes are not"),
        (npy(body=W.tobytes() + b"\0"), "which 201 bytes are not"),
        (npy("'|O'"), "it holds Python objects, as rows of unequal length do, and must hold real numbers"),
        (npy("[('a', '<f8'), ('b', '<f8')]"), "it holds [('a', '<f8'), ('b', '<f8')] and must hold real numbers"),
        (npy("'<c16'"), "it holds '<c16' and must hold real numbers"),
        (npy("'<M8[s]'"), "it holds '<M8[s]' and must hold real numbers"),
        (npy("'<f7'"), "it holds '<f7' and must hold real numbers"),
        (npy("'<U1000000000'"), "it holds '<U1000000000' and must hold real numbers"),
        (npy("'|V8'"), "it holds '|V8' and must hold real numbers"),
        (npy("[" * 3000 + "]" * 3000), "its header is not that of a .npy file"),
        (npy("__import__('os')"), "its header is not that of a .npy file"),
        (npy("{[]: 1}"), "its header is not that of a .npy file"),
        (
            npy(version=b"\2\0", pad=10**6),
            "its header goes beyond the end of the file or has more than 10000 characters",
        ),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff{", "its header goes beyond the end of the file"),
        (npy(version=b"\3\0"), "it is no .npy file of version 1 or 2"),
        (b"", "it is empty"),
    ],
)
def test_header_that_lies_is_one_sentence(tmp_path, data, words):
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    for kind in ("weights", "patterns"):
        told = sentence(kind, path)
        assert told.startswith(f"{path} cannot be read: it")
        assert words in told


# --- Parquet ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": ["x"]}, "column 'a' holds string and must hold real numbers"),
        ({"a": [1], "b": [[1]]}, "column 'b' holds list<element: int64> and must hold real numbers"),
        ({"a": [[[1]]]}, "must hold real numbers"),
        ({"a": [{"b": 1}]}, "must hold real numbers"),
        ({"a": [[1, None]]}, "nan"),
        ({"a": [None, [1]]}, "column 'a' has nulls"),
    ],
)
def test_columns_of_anything_else(tmp_path, columns, words):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    assert words in sentence("parquet", path)


def test_columns_of_one_name_and_many_columns(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table([pa.array([1, -1]), pa.array([-1, 1])], names=["a", "a"]), path)
    np.testing.assert_array_equal(fh.load_patterns(path), [[1, -1], [-1, 1]])
    pq.write_table(pa.table([pa.array([1])] * 3000, names=[str(i) for i in range(3000)]), path)
    assert fh.load_patterns(path).shape == (1, 3000)


def test_table_that_says_it_is_large(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": np.ones(1000, bool)}), path)
    monkeypatch.setattr(inputs, "MOST_VALUES", 999)
    assert "it holds 1000 entries or more, and may hold 999" in sentence("parquet", path)
    pq.write_table(pa.table({"a": [[1] * 500, [1] * 500]}), path)
    assert "it holds 1000 entries or more, and may hold 999" in sentence("parquet", path)
    np.save(tmp_path / "a.npy", np.ones((10, 100), np.int8))
    assert "it holds 1000 entries or more, and may hold 999" in sentence("patterns", tmp_path / "a.npy")


# --- images -----------------------------------------------------------------------------------------------------------


def png(width, height):
    """A PNG whose head says this size, with the pixels of a few rows."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


def saved(image, **options):
    content = io.BytesIO()
    image.save(content, **{"format": "PNG", **options})
    return content.getvalue()


GREY = Image.fromarray(np.array([[0, 200], [127, 128]], np.uint8))
CLEAR = Image.fromarray(np.array([[[0, 0, 0, 255], [255, 255, 255, 254]]], np.uint8), "RGBA")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.png", png(10**5, 10**5), "a.png has more than 16777216 pixels, the most that an image may have"),
        ("a.png", png(12_000, 12_000), "a.png has more than 16777216 pixels"),  # Pillow only warns
        ("a.png", png(4097, 4096), "a.png has more than 16777216 pixels"),
        ("a.png", png(4096, 4096), "a.png is no image that can be read"),  # its pixels lack
        (
            "a.gif",
            saved(GREY, format="GIF", save_all=True, append_images=[GREY.rotate(90)]),
            "a.gif has several pictures",
        ),
        (
            "a.tif",
            saved(GREY, format="TIFF", save_all=True, append_images=[GREY.rotate(90)]),
            "a.tif has several pictures",
        ),
        ("a.png", saved(CLEAR), "a.png has transparent pixels, whose grey is unknown: put it on a background"),
        ("a.png", saved(GREY.convert("P"), transparency=0), "a.png has transparent pixels"),
        ("a.png", saved(GREY.convert("I;16")), "a.png has more than 8 bits for a colour, and may have 8"),
        ("a.tif", saved(GREY.convert("F"), format="TIFF"), "a.tif has more than 8 bits for a colour, and may have 8"),
        ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a.png is no image that can be read"),
        ("a.jpg", saved(GREY, format="JPEG")[:-20], "a.jpg is no image that can be read"),
    ],
)
def test_image_without_one_grey_for_each_pixel(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=r"\.$") as caught:
        fh.load_patterns(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path} cannot be read: {words}")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", saved(GREY)),
        ("a.png", saved(GREY.convert("P"))),
        ("a.png", saved(GREY.convert("RGB"))),
        ("a.png", saved(GREY.convert("RGBA"))),
        ("a.png", saved(GREY.convert("LA"))),
        ("a.png", saved(GREY.point(lambda grey: 255 * (grey >= 128)).convert("1"))),
        ("a.gif", saved(GREY, format="GIF")),
        ("a.bmp", saved(GREY, format="BMP")),
        ("a.tif", saved(GREY, format="TIFF")),
        ("a.pgm", saved(GREY, format="PPM")),
    ],
)
def test_every_kind_of_image_that_has(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    np.testing.assert_array_equal(fh.load_patterns(tmp_path), [[-1, 1, -1, 1]])


# --- memory -----------------------------------------------------------------------------------------------------------

BOUNDED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_user_files as t
sound = Path(sys.argv[2]) / "sound"
t.write_sound(sound)
for kind, name in t.SOUND.values():
    t.OPENERS[kind][1](sound / name)
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**28,) * 2)
for path in sorted(Path(sys.argv[2], "bombs").rglob("*.*")):
    for kind, (suffix, function, refusal) in t.OPENERS.items():
        if str(path).endswith(suffix) and kind != "name":
            try:
                function(path)
            except refusal as error:
                print(path.name, kind, error)
            else:
                print(path.name, kind, "TAKEN")
"""


def test_bombs_take_no_memory(tmp_path):
    """A quarter of a gigabyte beyond what it has already, for files that say they have up to terabytes."""
    bombs = tmp_path / "bombs"
    bombs.mkdir()
    (bombs / "shape.npy").write_bytes(npy(shape="(1000000, 1000000)"))
    (bombs / "header.npy").write_bytes(b"\x93NUMPY\2\0\xff\xff\xff\xff" + b" " * 10**6)
    sparse(bombs / "sparse.npy")
    for suffix in (".toml", ".json", ".npz", ".parquet"):
        sparse(bombs / f"sparse{suffix}")
    for kind, size in ((zipfile.ZIP_STORED, 8), (zipfile.ZIP_DEFLATED, 3 * 10**8)):
        with zipfile.ZipFile(bombs / f"{size}.npz", "w", kind) as file:
            file.writestr("name.npy", npy(shape="(1000000, 1000000)", body=b"\0" * size))
            for name in ("theta", "moments", "history"):
                file.writestr(f"{name}.npy", npy())
    for size in (5000, 9000, 12_000, 10**5):
        (bombs / str(size)).mkdir()
        (bombs / str(size) / "0.png").write_bytes(png(size, size))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-W", "error", "-c", BOUNDED, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    assert len(told) == 17
    assert not [line for line in told if "TAKEN" in line or "does not fit into the memory" in line]


# --- sound files, and mutations of them -------------------------------------------------------------------------------


IMAGES = {
    "png": {"format": "PNG"},
    "jpg": {"format": "JPEG"},
    "bmp": {"format": "BMP"},
    "gif": {"format": "GIF"},
    "pgm": {"format": "PPM"},
    "tif": {"format": "TIFF", "compression": "tiff_lzw"},
}


def write_sound(place):
    """Write a sound file of every kind."""
    place.mkdir()
    np.save(place / "patterns.npy", XI)
    np.save(place / "weights.npy", W)
    pq.write_table(pa.table(dict(zip("abcdef", XI.T.astype(np.int8), strict=True))), place / "columns.parquet")
    pq.write_table(pa.table({"a": XI.tolist()}), place / "lists.parquet")
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (12, 9), np.uint8))
    for suffix, options in IMAGES.items():
        (place / suffix).mkdir()
        (place / suffix / f"0.{suffix}").write_bytes(saved(image, **options))
    (place / "spec.toml").write_text(SPEC, encoding="utf-8")
    fields = {"tls_ca_file": "ca.pem", "tls_client_cert": "own-cert.pem", "tls_client_key": "own-key.pem"}
    for name in fields.values():
        (place / name).write_bytes((PEM / name).read_bytes())
    lines = [f"{name} = '{value}'" for name, value in fields.items()]
    (place / "security.toml").write_text("\n".join([*lines, "require_encryption = true"]))
    fit._write(place / "fit.npz", NAME, fit._State(np.arange(5.0), np.ones((2, 5)), [(1.0, 0.0, 9.0, 0.5, 0.2)]))


#: The opener of each, and which file that is given.
SOUND = {
    "patterns.npy": ("patterns", "patterns.npy"),
    "weights.npy": ("weights", "weights.npy"),
    "columns.parquet": ("parquet", "columns.parquet"),
    "lists.parquet": ("parquet", "lists.parquet"),
    **{f"{suffix}/0.{suffix}": ("image", f"{suffix}/0.{suffix}") for suffix in IMAGES},
    "spec.toml": ("spec", "spec.toml"),
    "fit.npz": ("checkpoint", "fit.npz"),
    **dict.fromkeys(("security.toml", "ca.pem", "own-cert.pem", "own-key.pem"), ("security", "security.toml")),
}


def is_sound(kind, found):
    """Say whether what was read is what the function promises of anything that it takes."""
    if kind in ("patterns", "parquet", "image"):
        return found.dtype == np.float64 and found.ndim == 2 and found.size > 0 and bool((np.abs(found) == 1).all())
    if kind == "weights":
        return found.dtype == np.float64 and found.shape == (len(found),) * 2 and bool(np.isfinite(found).all())
    if kind == "checkpoint":
        return (found.theta.shape, found.moments.shape, {*map(len, found.history)}) == ((5,), (2, 5), {5})
    return isinstance(found, Spec) if kind == "spec" else set(found) >= {"tls_ca_file", "tls_client_cert"}


@pytest.fixture
def sound(tmp_path):
    write_sound(tmp_path / "sound")
    return tmp_path / "sound"


def test_sound_files_are_taken(sound):
    """So that the others are refused for what was done to them."""
    for kind, name in SOUND.values():
        assert is_sound(kind, OPENERS[kind][1](sound / name)), name


@pytest.mark.parametrize(
    "count", [pytest.param(300, id="some"), pytest.param(10_000, id="many", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("name", SOUND)
def test_mutated_file_is_numbers_or_one_sentence(sound, name, count):
    kind, opened = SOUND[name]
    _, function, refusal = OPENERS[kind]
    chance, good, taken = random.Random(name), (sound / name).read_bytes(), 0
    for _ in range(count):
        (sound / name).write_bytes(mutated(good, chance))
        try:
            taken += is_sound(kind, function(sound / opened)) or pytest.fail("it is not what was promised")
        except refusal as error:
            for problem in getattr(error, "problems", [str(error)]):
                assert re.fullmatch(r"[^\n]{5,700}[.?]", problem), problem
    print(f"{name}: {count - taken} of {count} refused")


# --- the one place where files are opened -----------------------------------------------------------------------------

#: What opens a file by its path.
OPENING = {
    *("open", "os.open", "io.open", "np.load", "np.fromfile", "np.loadtxt", "np.genfromtxt", "np.memmap"),
    *("pq.read_table", "pq.ParquetFile", "pq.read_metadata", "pa.memory_map", "Image.open", "zipfile.ZipFile"),
    *("tomllib.load", "json.load", "pickle.load", "read_bytes", "read_text", "read_csv", "read_parquet"),
}

#: What a call may open instead: bytes, or nothing of a user's.
BYTES = {"io.BytesIO", "pa.BufferReader"}
OWN = {("sweep/store.py", "os.open"): 1, ("sweep/terminal.py", "os.open"): 1}  # the lock; the null device


def openings(source):
    """Yield the calls of a source that open a file by its path."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        name = name if name in OPENING else name.rpartition(".")[2]
        on_bytes = node.args and isinstance(node.args[0], ast.Call) and ast.unparse(node.args[0].func) in BYTES
        if (name in OPENING and not on_bytes) or (isinstance(node.func, ast.Attribute) and name == "open"):
            yield name


def test_files_are_opened_in_one_place():
    package, found = Path(fh.__file__).parent, {}
    for path in sorted(package.rglob("*.py")):
        for name in openings(path.read_text(encoding="utf-8")):
            found[place] = found.get(place := (path.relative_to(package).as_posix(), name), 0) + 1
    assert {place: count for place, count in found.items() if place[0] != "files.py"} == OWN


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("open(path)", 1),
        ("with path.open('rb') as file: pass", 1),
        ("path.read_bytes()", 1),
        ("np.load(path)", 1),
        ("np.load(io.BytesIO(read_file(path)))", 0),
        ("Image.open(path)", 1),
        ("Image.open(io.BytesIO(data), formats=FORMATS)", 0),
        ("pq.ParquetFile(pa.BufferReader(data))", 0),
        ("pq.ParquetFile(path)", 1),
        ("pd.read_parquet(path)", 1),
        ("read_file(path)", 0),
    ],
)
def test_that_test_sees_them(source, count):
    assert len(list(openings(source))) == count
