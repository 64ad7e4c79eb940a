"""What a client shows a dask scheduler with TLS, from a file with the names that dask has for it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from fasthop.files import read_file
from fasthop.sweep.errors import SpecError
from fasthop.sweep.spec import MOST_PROBLEMS, parse_toml, text_of

#: Fields of `distributed.Security`: paths of PEM files, and what each must hold.
_FILES = {"tls_ca_file": b"CERTIFICATE-----", "tls_client_cert": b"CERTIFICATE-----", "tls_client_key": b"KEY-----"}
_REQUIRED = ("tls_ca_file", "tls_client_cert")  # a key may lie in the file of its certificate
_SWITCH = "require_encryption"

#: Bytes of such files at most.
_MOST = 10**6


def security_fields(path: str | Path) -> dict[str, Any]:
    """Return the fields of `distributed.Security` that a file has, checked.

    Parameters
    ----------
    path : path
        A TOML file with `tls_ca_file`, `tls_client_cert`, `tls_client_key`, the paths of PEM files, relative ones from
        its own folder, and `require_encryption`, true by default. The key may be left out where it lies in the file of
        the certificate.

    Raises
    ------
    SpecError
        With everything that is wrong.
    """
    given = parse_toml(text_of(path, _MOST), str(path))
    fields, known = {_SWITCH: given.get(_SWITCH, True)}, (*_FILES, _SWITCH)
    strange = sorted(given.keys() - set(known))[:MOST_PROBLEMS]
    problems = [f"{path}: {name[:60]} is no field; they are {', '.join(known)}." for name in strange]
    if not isinstance(fields[_SWITCH], bool):
        problems.append(f"{path}: {_SWITCH} must be true or false; got {str(given[_SWITCH])[:60]!r}.")
    for name, mark in _FILES.items():
        value = given.get(name)
        if value is None and name not in _REQUIRED:
            continue
        if not (isinstance(value, str) and value):
            got = "it is missing" if value is None else f"got {str(value)[:60]!r}"
            problems.append(f"{path}: {name} must be the path of a PEM file; {got}.")
            continue
        fields[name] = str(Path(path).parent / value)
        try:
            content = read_file(fields[name], _MOST)
        except OSError as error:
            problems.append(f"{path}: {name} = {fields[name]} cannot be read: {error.strerror}.")
            continue
        if b"ENCRYPTED" in content:
            problems.append(f"{path}: {name} = {fields[name]} asks for a passphrase, which dask has no place for.")
        elif mark not in content:
            what = "key" if mark == b"KEY-----" else "certificate"
            problems.append(f"{path}: {name} = {fields[name]} must be a PEM file with a {what}; it has none.")
    problems = problems or _do_not_fit(path, fields)
    if problems:
        raise SpecError(problems)
    return fields


def _do_not_fit(path: str | Path, fields: dict[str, Any]) -> list[str]:
    """Say what OpenSSL has against the files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    cert, key = fields["tls_client_cert"], fields.get("tls_client_key")
    try:
        context.load_verify_locations(fields["tls_ca_file"])
    except (OSError, ValueError) as error:
        return [f"{path}: tls_ca_file = {fields['tls_ca_file']} is damaged ({_reason(error)})."]
    try:
        context.load_cert_chain(cert, key, password=lambda: b"")  # else OpenSSL asks for one on the terminal
    except (OSError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            return [f"{path}: tls_client_key = {key or cert} is not the key of tls_client_cert = {cert}."]
        return [f"{path}: tls_client_cert = {cert} or its key is damaged ({_reason(error)})."]
    return []


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or "no PEM that OpenSSL can read"
    return str(reason).replace("_", " ").lower()
