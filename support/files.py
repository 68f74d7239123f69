"""Files that are whole at every moment: the old one or the new one, never half of it.

A file is written beside its place and moved there at the end. What stops a script, even
a power cut, leaves the old file as it was.
"""

import contextlib
import os
import pathlib
import tempfile


@contextlib.contextmanager
def naming(path):
    """Has an OSError name `path` instead of a temporary file, or nothing."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def check_place(path, size=0):
    """Raises OSError where no file of `size` bytes can be written at `path`."""
    path = pathlib.Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write into")
    with naming(path), tempfile.TemporaryFile(dir=path.parent) as file:
        file.write(bytes(size))
        file.flush()


@contextlib.contextmanager
def replacing(path, size=0):
    """Gives a path to write to beside `path`; moves the file into place at the end.

    Of a symbolic link the file that it points to is replaced. size: bytes to make sure
    of beforehand. Raises OSError, and leaves `path` alone, where that can't be.
    """
    check_place(path, size)
    place = pathlib.Path(path).resolve()
    ending = "".join(pathlib.Path(path).suffixes[-2:])
    part = place.with_name(f".{os.getpid()}{ending}")
    try:
        with naming(path):
            yield part
            with open(part, "rb+") as file:
                os.fsync(file.fileno())  # Else a power cut may leave an empty file.
            os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)


def move(path, target):
    """Moves a file to the place of another one, or to where that is a link to."""
    with naming(target):
        os.replace(path, os.path.realpath(target))
