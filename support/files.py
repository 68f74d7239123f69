"""Files: replaced atomically, and checked before long work."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

from support.errors import UserError, explain


@contextlib.contextmanager
def replacing(path: str | os.PathLike, size: int = 0) -> Iterator[pathlib.Path]:
    """Yield a path to write to; then move that file to `path`, atomically.

    If `path` is a symbolic link, replace the file it points to. size: bytes that
    the disk must have room for. Raises UserError if the file cannot be written.
    """
    target = check_writable(path)
    if shutil.disk_usage(target.parent).free < size:
        raise UserError(f"cannot write {path}: the disk has no room for {size:,} bytes")
    with (
        explain(f"cannot write {path}"),
        tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder,
    ):
        temporary = pathlib.Path(folder, target.name)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        move(temporary, target)


def move(source: pathlib.Path, target: pathlib.Path, tries: int = 50) -> None:
    """Move a file to where another may be.

    Windows refuses that while somebody reads the other file: try again for 5 seconds.
    """
    for _ in range(tries):
        with contextlib.suppress(PermissionError):
            return os.replace(source, target)
        time.sleep(0.1)
    os.replace(source, target)


def check_writable(path: str | os.PathLike) -> pathlib.Path:
    """Return the real path of a file; raise UserError if it cannot be written."""
    with explain(f"cannot write {path}"):
        target = pathlib.Path(path).resolve()
        if target.exists() and not target.is_file():
            raise UserError(f"cannot write {path}: it exists and is not a file")
        tempfile.TemporaryFile(dir=target.parent).close()
    return target
