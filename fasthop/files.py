"""Files that are read whole or not at all, and are there whole or not at all; and those that come with fasthop."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path


def shipped(name: str) -> Path:
    """Return the path of a file of `data/`: in the package where fasthop was installed, else in the repository."""
    package = Path(__file__).parent
    for folder in (package / "data", package.parent / "data"):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{name} is missing from this installation of fasthop.")


#: Bytes of a file that is read whole, at most: weights of 32 768 neurons. A file may say that it has any number.
MOST_BYTES = 2**33


def read_file(path: str | Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a plain file of at most so many bytes; anything else is an OSError, and none waits.

    This is how fasthop reads any file that it did not bring along: a pipe that nobody writes to, a device without an
    end and a file larger than the memory are refused with their names and a reason.
    """

    def refusal(number: int, reason: str) -> OSError:
        return OSError(number, reason, str(path))

    try:
        handle = os.open(path, os.O_RDONLY | _flag("O_NONBLOCK") | _flag("O_BINARY"))
    except ValueError:
        raise refusal(errno.EINVAL, "no file can have this name") from None
    except OSError as error:
        raise refusal(errno.EINVAL, _NOT_PLAIN) if error.errno == errno.ENXIO else error from None  # a socket
    try:
        there = os.fstat(handle)
        if not stat.S_ISREG(there.st_mode):
            raise refusal(errno.EINVAL, _NOT_PLAIN)
        if there.st_size > most:
            raise refusal(errno.EFBIG, f"larger than {most} bytes, the most that is read")
        with open(handle, "rb", closefd=False) as file:
            content = file.read(there.st_size)
            if len(content) != there.st_size or file.read(1):  # as what the system makes up while it is read, too
                raise refusal(errno.EIO, "its size is not what the disk says, or changed while it was read")
        return content
    finally:
        os.close(handle)


_NOT_PLAIN = "not a plain file"


def replace_file(path: Path, content: bytes | memoryview, partial: Path | None = None) -> None:
    """Write a file that is there as a whole or, whatever happens meanwhile, as it was.

    Parameters
    ----------
    path : Path
        What is there is replaced, not written to: a link, too.
    content : bytes
    partial : Path, optional
        Where it is written first, on the same disk.
    """
    partial = partial or path.with_name(f".{path.name}.partial")
    try:
        write_new(partial, content)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_new(path: Path, content: bytes | memoryview) -> None:
    """Write a file to the disk that is not there yet; what has its name is removed, never written through."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _flag("O_BINARY"), 0o666)
    with open(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)


def sync_folder(folder: Path) -> None:
    """Let what was renamed in a folder outlast a power cut."""
    if os.name == "nt":  # where a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def exchange(one: Path, two: Path) -> bool:
    """Let two paths change places in one step; return False, with nothing done, where the system cannot."""
    swap = _swap()
    if swap is None:
        return False
    if swap(os.fsencode(one), os.fsencode(two)) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM):  # an old kernel, or a disk of another kind
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(two))


@functools.cache
def _swap() -> Callable[[bytes, bytes], int] | None:
    if os.name == "nt":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        return lambda one, two: int(library.renamex_np(one, two, ctypes.c_uint(2)))  # RENAME_SWAP
    if hasattr(library, "renameat2"):
        here = ctypes.c_int(-100)  # AT_FDCWD
        return lambda one, two: int(library.renameat2(here, one, here, two, ctypes.c_uint(2)))  # RENAME_EXCHANGE
    return None


def _flag(name: str) -> int:
    return int(getattr(os, name, 0))
