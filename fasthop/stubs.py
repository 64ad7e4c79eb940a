"""Stubs of the packages whose names are loaded late, for editors and type checkers: `python -m fasthop.stubs`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

_FOLDER = Path(__file__).parent


def stubs() -> dict[Path, str]:
    """Return the stub of every package with such names, by its path."""
    found = {}
    for path in sorted(_FOLDER.rglob("__init__.py")):
        package = ".".join(("fasthop", *path.parent.relative_to(_FOLDER).parts))
        module = import_module(package)
        homes, rooms = getattr(module, "_HOMES", {}), getattr(module, "_ROOMS", ())
        if homes:
            lines = [f"from {home} import {name} as {name}" for home, names in homes.items() for name in names]
            lines += [f"from {package} import {name} as {name}" for name in rooms]
            lines += ["__version__: str"] if rooms else []
            found[path.with_suffix(".pyi")] = "\n".join([*sorted(lines), ""])
    return found


if __name__ == "__main__":
    for path, text in stubs().items():
        path.write_text(text, encoding="utf-8")
