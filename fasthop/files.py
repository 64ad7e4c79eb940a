"""Where the files that come with fasthop are."""

from __future__ import annotations

from pathlib import Path


def shipped(name: str) -> Path:
    """Return the path of a file of `data/`: in the package where fasthop was installed, else in the repository."""
    package = Path(__file__).parent
    for folder in (package / "data", package.parent / "data"):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{name} is missing from this installation of fasthop.")
