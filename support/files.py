"""Files: replaced atomically, and checked before long work."""

import contextlib
import csv
import errno
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

    size: bytes that must fit on the disk. If `path` is a symbolic link, replace the
    file that it points to. Raises UserError if the file cannot be written.
    """
    target = check_writable(path)
    with (
        explain(f"cannot write {path}"),
        tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder,
    ):
        check_room(folder, size)
        temporary = pathlib.Path(folder, target.name)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        move(temporary, target)


def move(source: pathlib.Path, target: pathlib.Path) -> None:
    """Replace a file; retry for 5 seconds, as Windows refuses while others read it."""
    for _ in range(50):
        with contextlib.suppress(PermissionError):
            return os.replace(source, target)
        time.sleep(0.1)
    os.replace(source, target)


def check_room(folder: str, size: int) -> None:
    """Raise OSError if a disk or a quota has no room for a file of `size` bytes."""
    if size and hasattr(os, "posix_fallocate"):
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)
    elif shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, "")


def check_writable(path: str | os.PathLike) -> pathlib.Path:
    """Return the real path of a file; raise UserError if it cannot be written."""
    with explain(f"cannot write {path}"):
        target = pathlib.Path(path).resolve()
        if target.exists() and not target.is_file():
            raise UserError(f"cannot write {path}: it exists and is not a file")
        tempfile.TemporaryFile(dir=target.parent).close()
    return target


def write_table(path: str, rows: list[dict]) -> None:
    """Write a CSV file: the keys of the first row, then a line per row."""
    with (
        replacing(path) as temporary,
        # Names of files may be any bytes.
        open(
            temporary, "w", newline="", encoding="utf-8", errors="surrogateescape"
        ) as file,
    ):
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
