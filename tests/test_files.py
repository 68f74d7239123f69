"""support/files.py: files are replaced atomically, or not at all."""

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from unittest import mock

import pytest
from conftest import ROOT, folder_with, largest_file

from support import files
from support.errors import UserError


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old.weights.h5"
    path.write_text("old")
    return path


def assert_only(path, content):
    """Assert that a folder holds one file, and nothing temporary."""
    assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


# Replacing a file


def test_a_file_is_replaced_at_the_end_when_its_data_is_on_the_disk(old, monkeypatch):
    calls, fsync, move = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda n: calls.append("fsync") or fsync(n))
    monkeypatch.setattr(os, "replace", lambda *n: calls.append("replace") or move(*n))
    with files.replacing(old) as part:
        part.write_text("new")
        assert old.read_text() == "old"
        assert part.name.endswith(".weights.h5")  # as Keras demands
    assert calls == ["fsync", "replace"]
    assert_only(old, "new")


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (ValueError("a bug"), ValueError, "a bug"),
        (KeyboardInterrupt("stopped"), KeyboardInterrupt, "stopped"),
        (
            OSError(28, "long text"),
            UserError,
            "write {}: No space left on device",
        ),
    ],
)
def test_a_failed_write_leaves_the_old_file(old, error, kind, says):
    with pytest.raises(kind) as failure, files.replacing(old) as part:
        part.write_text("half")
        raise error
    assert str(failure.value).endswith(says.format(old))
    assert_only(old, "old")


KILLED = """
import os, signal, sys
from support import files
with files.replacing(sys.argv[1]) as part:
    part.write_text("half of the new fi")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_kill_9_during_a_write_leaves_the_old_file(old):
    before = old.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, old], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert old.read_bytes() == before
    assert list(old.parent.glob("[!.]*")) == [old]  # What is left is hidden.


def test_a_symbolic_link_stays_one(tmp_path, old):
    (tmp_path / "folder").mkdir()
    link = tmp_path / "folder" / "link.weights.h5"
    link.symlink_to(old)
    with files.replacing(link) as part:
        assert part.parent.parent == tmp_path  # os.replace stays on one file system
        part.write_text("new")
    assert link.is_symlink()
    assert old.read_text() == "new"


def replace(path, size=0):
    with files.replacing(path, size) as part:
        part.write_text("new")


@pytest.mark.parametrize("check", [files.check_writable, replace])
def test_files_that_cannot_be_written(tmp_path, old, check):
    for path in tmp_path, os.devnull:
        with pytest.raises(UserError, match="exists and is not a file"):
            check(path)
    with pytest.raises(UserError, match="no/file: No such file"):
        check(tmp_path / "no" / "file")
    assert_only(old, "old")


@pytest.mark.parametrize("check", [files.check_writable, replace])
def test_a_read_only_folder(check):
    with folder_with(0o555) as folder, pytest.raises(UserError, match="Permission"):
        check(folder / "a.png")


@pytest.mark.parametrize("ask", ["posix_fallocate", "disk_usage"])
def test_room_is_asked_for_before_anything_is_written(old, monkeypatch, ask):
    """On a disk with 10,000 bytes left, or with a quota, which only POSIX can ask."""
    reserve = getattr(os, "posix_fallocate", None)
    if ask == "disk_usage":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
        room = types.SimpleNamespace(free=10_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: room)
    elif not reserve:
        pytest.skip("needs POSIX")
    with largest_file(10_000) if reserve else contextlib.nullcontext():
        with pytest.raises(UserError, match="old.weights.h5: (File too|No space)"):
            replace(old, 11_000)
        assert_only(old, "old")
        replace(old, 9_000)
    assert old.read_text() == "new"


def test_a_file_that_somebody_reads_is_waited_for(old, monkeypatch):
    """Windows refuses to replace it meanwhile."""
    tries, move = [], os.replace

    def refuse(source, target):
        tries.append(target)
        if len(tries) < 4:
            raise PermissionError(13, "The file is being used by another process")
        move(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with files.replacing(old) as temporary:
        temporary.write_text("new")
    assert len(tries) == 4
    assert_only(old, "new")
    monkeypatch.setattr(os, "replace", mock.Mock(side_effect=PermissionError(13, "no")))
    with pytest.raises(UserError, match="cannot write .*old.weights.h5: Permission"):
        replace(old)
    assert_only(old, "new")


def test_a_table(tmp_path):
    rows = [{"epoch": 1, "name": 'a, "b"\n'}, {"epoch": 2, "name": "猫"}]
    files.write_table(tmp_path / "a.csv", rows)
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert read == [row | {"epoch": str(row["epoch"])} for row in rows]
