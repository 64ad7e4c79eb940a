"""A scheduler that asks for certificates: who is let in, what is refused in which sentence, and that no folder is made.

`tls/` has two authorities, a certificate and a key from each, valid for a hundred years and good for nothing else.
"""

import contextlib
import gc
import os
import warnings
from pathlib import Path

import dask.config
import pandas as pd
import pytest
from distributed import LocalCluster, Security

from fasthop.cli import main
from fasthop.sweep import cluster as clusters
from fasthop.sweep.errors import ClusterError, SpecError
from fasthop.sweep.read import read
from fasthop.sweep.run import run, table
from fasthop.sweep.tls import security_fields
from sweep.coins import REGISTRY, spec

SPEC = spec(realisations=8)
PEM = Path(__file__).parent / "tls"
OWN = {"tls_ca_file": "ca.pem", "tls_client_cert": "own-cert.pem", "tls_client_key": "own-key.pem"}
OTHER = {"tls_ca_file": "other-ca.pem", "tls_client_cert": "other-cert.pem", "tls_client_key": "other-key.pem"}


def written(path, fields):
    """Write a file for --dask-security; paths of `tls/` in full."""
    full = {name: str(PEM / value) if str(value).endswith(".pem") else value for name, value in fields.items()}
    lines = [
        f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for name, value in full.items()
    ]
    path.write_text("\n".join(lines))
    return path


@contextlib.contextmanager
def cluster(workers, security=None):
    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    secure = {} if security is None else {"security": security, "protocol": "tls://"}
    with LocalCluster(**options, **secure, processes=True) as started:
        yield started.scheduler_address


@pytest.fixture
def collected():
    """Dask leaves the socket of a handshake that failed to the garbage collector, which warns of it."""
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        yield
        gc.collect()


@pytest.mark.usefixtures("collected")
def test_only_who_shows_the_right_certificate_is_let_in(tmp_path, monkeypatch, capfd):
    """One cluster for all of it, because starting it takes longer."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    roles = {f"tls_{role}_{what}": str(PEM / f"own-{what}.pem") for role in ROLES for what in ("cert", "key")}
    own = written(tmp_path / "own.toml", OWN)
    with cluster(1, Security(require_encryption=True, tls_ca_file=str(PEM / "ca.pem"), **roles)) as address:
        for number, at in enumerate((address, address.removeprefix("tls://"))):
            run(SPEC, tmp_path / str(number), registry=REGISTRY, dask=at, dask_security=own)
            pd.testing.assert_frame_equal(read(tmp_path / str(number)), table(SPEC, REGISTRY), check_exact=True)
        configured = {f"distributed.comm.tls.client.{what}": roles[f"tls_client_{what}"] for what in ("cert", "key")}
        with dask.config.set({**configured, "distributed.comm.tls.ca-file": str(PEM / "ca.pem")}):
            run(SPEC, tmp_path / "configured", registry=REGISTRY, dask=address)
        monkeypatch.setattr(clusters, "PATIENCE", 5.0)
        strangers = {
            "another authority": (address, OTHER),
            "a stranger's certificate": (address, {**OTHER, "tls_ca_file": "ca.pem"}),
            "no certificate": (address.replace("tls://", "tcp://"), None),
        }
        there = before(tmp_path / "0")
        for at, fields in strangers.values():
            file = fields and written(tmp_path / "strange.toml", fields)
            with pytest.raises(ClusterError, match=rf"^there is no scheduler at {at} that lets this client in: .+\.$"):
                run(SPEC, tmp_path / "out", registry=REGISTRY, dask=at, dask_security=file)
            more = {**SPEC, "run": {"realisations": 12}}
            with pytest.raises(ClusterError):
                run(more, tmp_path / "0", registry=REGISTRY, dask=at, dask_security=file)
        assert not (tmp_path / "out").exists()
        assert before(tmp_path / "0") == there
    assert capfd.readouterr().err == ""


ROLES = ("client", "scheduler", "worker")


def before(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("collected")
def test_scheduler_without_certificates_or_without_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "PATIENCE", 1.0)
    own = written(tmp_path / "own.toml", OWN)
    with cluster(0) as address:
        with pytest.raises(ClusterError, match=r"has no workers after 1 seconds\.$"):
            run(SPEC, tmp_path / "out", registry=REGISTRY, dask=address)
        with pytest.raises(ClusterError, match="there is no scheduler at tls://"):
            run(SPEC, tmp_path / "out", registry=REGISTRY, dask=address.replace("tcp", "tls"), dask_security=own)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("address", "fields", "sentence"),
    [
        ("tls://a:1", None, "tls://a:1 needs certificates: give dask_security (--dask-security), a file with "),
        ("tcp://a:1", OWN, "{file} is for a scheduler at tls://…, and requires encryption; got tcp://a:1."),
        ("tls://a", OWN, "tls://a is no address of a scheduler, as tcp://head:8786: missing port number"),
        ("moon://a:1", None, "moon://a:1 is no address of a scheduler, as tcp://head:8786: unknown address scheme"),
        ("", None, "dask (--dask) must be the address of a scheduler, as tcp://head:8786; got an empty text."),
        (None, OWN, "dask_security (--dask-security) is for a scheduler: give dask (--dask), its address, too."),
    ],
)
def test_address_and_certificates_that_do_not_fit(tmp_path, monkeypatch, capsys, address, fields, sentence):
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", REGISTRY)
    (tmp_path / "sweep.toml").write_text('experiment="coins"\n[coin]\nbias=0.5\n[run]\nrealisations=3\n')
    arguments = ["run", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out")]
    arguments += [] if address is None else ["--dask", address]
    file = written(tmp_path / "security.toml", fields or {})
    arguments += [] if fields is None else ["--dask-security", str(file)]
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert errors.startswith("fasthop: " + sentence.format(file=file))
    assert not (tmp_path / "out").exists()


def test_fields_are_those_of_distributed(tmp_path):
    found = security_fields(written(tmp_path / "a.toml", OWN))
    assert found == {"require_encryption": True, **{name: str(PEM / value) for name, value in OWN.items()}}
    assert set(found) <= set(Security.__slots__)
    assert Security(**found).get_connection_args("client")["ssl_context"] is not None
    for name, value in OWN.items():
        (tmp_path / name).write_bytes((PEM / value).read_bytes())
    (tmp_path / "b.toml").write_text("\n".join(f"{name} = '{name}'" for name in OWN))
    assert security_fields(tmp_path / "b.toml")["tls_ca_file"] == str(tmp_path / "tls_ca_file")
    (tmp_path / "both").write_bytes((PEM / "own-cert.pem").read_bytes() + (PEM / "own-key.pem").read_bytes())
    (tmp_path / "c.toml").write_text(
        f"tls_ca_file = '{PEM}/ca.pem'\ntls_client_cert = 'both'\nrequire_encryption = false"
    )
    assert security_fields(tmp_path / "c.toml") == {
        "require_encryption": False,
        "tls_ca_file": str(PEM / "ca.pem"),
        "tls_client_cert": str(tmp_path / "both"),
    }


DAMAGED = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"tls_ca_fiel": "x"},
            "tls_ca_fiel is no field; they are tls_ca_file, tls_client_cert, tls_client_key, require_",
        ),
        ({"require_encryption": 1}, "require_encryption must be true or false; got '1'."),
        ({"tls_ca_file": None}, "tls_ca_file must be the path of a PEM file; it is missing."),
        ({"tls_client_cert": None}, "tls_client_cert must be the path of a PEM file; it is missing."),
        ({"tls_client_key": None}, "tls_client_cert = {tls}/own-cert.pem or its key is damaged ("),
        ({"tls_ca_file": ""}, "tls_ca_file must be the path of a PEM file; got ''."),
        ({"tls_ca_file": 7}, "tls_ca_file must be the path of a PEM file; got '7'."),
        ({"tls_ca_file": "absent"}, "tls_ca_file = {here}/absent cannot be read: No such file or directory."),
        ({"tls_ca_file": "fifo"}, "tls_ca_file = {here}/fifo cannot be read: not a plain file."),
        ({"tls_client_key": "/dev/zero"}, "tls_client_key = /dev/zero cannot be read: not a plain file."),
        ({"tls_client_cert": "folder"}, "tls_client_cert = {here}/folder cannot be read: not a plain file."),
        (
            {"tls_client_key": "other-key.pem"},
            "tls_client_key = {tls}/other-key.pem is not the key of tls_client_cert = ",
        ),
        (
            {"tls_client_key": "own-cert.pem"},
            "tls_client_key = {tls}/own-cert.pem must be a PEM file with a key; it has",
        ),
        (
            {"tls_ca_file": "own-key.pem"},
            "tls_ca_file = {tls}/own-key.pem must be a PEM file with a certificate; it has",
        ),
        (
            {"tls_client_key": "encrypted-key.pem"},
            "tls_client_key = {tls}/encrypted-key.pem asks for a passphrase, which",
        ),
        ({"tls_ca_file": "damaged"}, "tls_ca_file = {here}/damaged is damaged ("),
        ({"tls_client_cert": "damaged"}, "tls_client_cert = {here}/damaged or its key is damaged ("),
    ],
)
def test_wrong_file_is_one_sentence(tmp_path, change, sentence):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "damaged").write_text(DAMAGED)
    fields = {name: value for name, value in {**OWN, **change}.items() if value is not None}
    path = written(tmp_path / "a.toml", fields)
    with pytest.raises(SpecError) as caught:
        security_fields(path)
    (found,) = caught.value.problems
    assert found.startswith(f"{path}: " + sentence.format(tls=PEM, here=tmp_path))
    assert found.endswith(".")


def test_every_problem_is_told(tmp_path):
    with pytest.raises(SpecError) as caught:
        security_fields(written(tmp_path / "a.toml", {"key": "x", "tls_ca_file": "absent"}))
    assert len(caught.value.problems) == 3
    (tmp_path / "a.toml").write_text("comm: {tls: {}}")
    with pytest.raises(SpecError, match=r"a\.toml is not TOML: "):
        security_fields(tmp_path / "a.toml")
