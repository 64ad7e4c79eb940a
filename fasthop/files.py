"""Where the files that come with fasthop are."""

from __future__ import annotations

import os
from pathlib import Path


def shipped(name: str) -> Path:
    """Return the path of a file of `data/`: in the package where fasthop was installed, else in the repository."""
    package = Path(__file__).parent
    for folder in (package / "data", package.parent / "data"):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{name} is missing from this installation of fasthop.")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that is there as a whole or, whatever happens meanwhile, as it was."""
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(partial, path)
    if os.name != "nt":  # where a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
