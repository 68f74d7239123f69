"""Files that are whole at every moment: the old one or the new one, never half of it.

A file is written in a hidden folder beside its place and moved there at the end. What
stops a script, even a power cut, leaves the old file as it was.
"""

import contextlib
import os
import pathlib
import shutil
import stat
import tempfile

try:
    import fcntl
except ImportError:  # Windows: what a killed run leaves stays there.
    fcntl = None


@contextlib.contextmanager
def naming(path):
    """Has an OSError name `path` instead of a temporary file, or nothing."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def check_place(path, size=0):
    """Raises OSError where no file of `size` bytes can be written at `path`.

    Returns where it will stand: of a symbolic link, where that points to.
    """
    kind = stat.S_IFREG
    with naming(path), contextlib.suppress(FileNotFoundError):
        kind = os.stat(path).st_mode  # raises for links that point to themselves
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(f"{path} is a folder: name a file")
    if not stat.S_ISREG(kind):
        raise OSError(f"{path} is no regular file: it is not replaced")
    place = os.path.realpath(path)
    folder = os.path.dirname(place)
    if not os.path.isdir(folder):
        asked = folder if os.path.islink(path) else os.path.dirname(path)
        raise FileNotFoundError(f"there is no folder {asked} to write into")
    with naming(path), tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(size))
        file.flush()
    return place


def check_readable(path):
    """Raises OSError, by its name, where `path` is no regular file to be read."""
    with naming(path):
        kind = os.stat(path).st_mode
    if not stat.S_ISREG(kind):
        raise OSError(f"{path} is no file to read")
    open(path, "rb").close()


@contextlib.contextmanager
def replacing(path, size=0):
    """Gives a path to write to; moves the file to `path` at the end.

    Of a symbolic link the file that it points to is replaced; a file's mode is kept.
    size: bytes to make sure of beforehand. Raises OSError, and leaves `path` alone,
    where that can't be.
    """
    place = check_place(path, size)
    with naming(path), folder_beside(place) as folder:
        part = pathlib.Path(folder, os.path.basename(path))
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())  # Else a power cut may leave an empty file.
        move(part, place)


def move(path, target):
    """Moves a file to the place of another one, whose mode it gets."""
    place = os.path.realpath(target)
    with naming(target):
        if os.path.exists(place):
            shutil.copymode(place, path)
        os.replace(path, place)


@contextlib.contextmanager
def folder_beside(place):
    """A hidden folder beside `place`, removed at the end; those of killed runs, too.

    A process holds the lock of its folder, which those in other containers see as well:
    a folder whose lock is free belongs to none that lives.
    """
    parent, name = os.path.split(place)
    prefix = f".{name[:50]}.part-"  # with room for four bytes per letter
    with contextlib.suppress(OSError):  # Not every folder can be listed.
        for entry in os.scandir(parent):
            if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError), locked(entry.path) as sure:
                    if sure:
                        shutil.rmtree(entry.path)
    with contextlib.ExitStack() as stack:
        while True:
            temporary = tempfile.TemporaryDirectory(
                prefix=prefix, dir=parent, ignore_cleanup_errors=True
            )
            folder = stack.enter_context(temporary)
            # Before it was locked another process may have taken it for a leftover.
            with contextlib.suppress(BlockingIOError, FileNotFoundError):
                stack.enter_context(locked(folder))
                if os.path.isdir(folder):
                    break
        yield folder


@contextlib.contextmanager
def locked(folder):
    """Holds the lock of a folder. Raises BlockingIOError where another process has it.

    Gives whether there are locks here: not on Windows, nor on every network's disks.
    """
    if fcntl is None:
        yield False
        return
    # A file, as NFS locks only what can be written.
    lock = os.open(os.path.join(folder, ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)
