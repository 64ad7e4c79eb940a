import shutil
import subprocess

import pytest

from sweep.processes import TOML


@pytest.fixture
def toml(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(TOML)
    return path


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
