"""support/files.py: what is at a name is the old file or the new one, whole."""

import concurrent.futures
import os

import pytest

from support import files


@pytest.fixture
def little_room():
    """No file can grow beyond 10 kB, as on a disk that is nearly full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old.weights.h5"
    path.write_text("old")
    return path


def test_a_file_is_replaced_at_the_end_only(old):
    with files.replacing(old) as part:
        part.write_text("new")
        assert old.read_text() == "old"
        assert part.parent.parent == old.parent  # os.replace stays within a file system
        assert part.name.endswith(".weights.h5")  # which Keras demands
    assert old.read_text() == "new"
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_alone(old, error):
    with pytest.raises(type(error)), files.replacing(old) as part:
        part.write_text("half")
        raise error
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_a_symbolic_link_stays_one(tmp_path, old):
    link, other = tmp_path / "link", tmp_path / "other"
    link.symlink_to(old.name)
    with files.replacing(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert old.read_text() == "new"
    other.write_text("newer")
    files.move(other, link)
    assert link.is_symlink()
    assert old.read_text() == "newer"
    assert not other.exists()


def test_an_error_names_the_file_that_was_asked_for(tmp_path, old):
    with pytest.raises(OSError, match="no space") as failure, files.replacing(old):
        raise OSError(28, "no space left on device")
    assert (failure.value.errno, failure.value.filename) == (28, str(old))
    with pytest.raises(OSError) as failure:
        files.move(old, tmp_path / "no" / "file")
    assert failure.value.filename == str(tmp_path / "no" / "file")
    assert old.read_text() == "old"


def replace(path, size=0):
    with files.replacing(path, size):
        pytest.fail("there is no place for this file")


@pytest.mark.parametrize("check", [files.check_place, replace])
def test_places_where_no_file_can_be(tmp_path, check):
    with pytest.raises(OSError, match="is a folder"):
        check(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder .*no to write"):
        check(tmp_path / "no" / "file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("check", [files.check_place, replace])
def test_room_is_made_sure_of_beforehand(little_room, old, check):
    files.check_place(old, 9_000)
    with pytest.raises(OSError) as failure:
        check(old, 11_000)
    assert failure.value.filename == str(old)
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


# Others who write, were killed, or lie in wait


def test_many_at_once_write_one_file_or_the_other(old):
    def write(value):
        for _ in range(50):
            with files.replacing(old) as part:
                part.write_text(value * 1000)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, value) for value in "abcd"]
        while not all(writer.done() for writer in writers):
            content = old.read_text()
            assert content == "old" or content == content[0] * 1000
    for writer in writers:
        writer.result()
    assert list(old.parent.iterdir()) == [old]


def test_what_killed_runs_left_is_removed_but_not_what_is_being_written(old):
    pytest.importorskip("fcntl")
    left = old.parent / f".{old.name}.part-killed"
    other = old.parent / ".other.weights.h5.part-killed"
    for folder in (left, other):
        folder.mkdir()
        (folder / old.name).write_text("half")
    with files.replacing(old) as first:
        assert not left.exists()
        first.write_text("first")
        with files.replacing(old) as second:
            assert first.read_text() == "first"
            second.write_text("second")
    assert old.read_text() == "first"
    assert set(old.parent.iterdir()) == {old, other}


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o644])
def test_a_replaced_file_keeps_its_mode(old, mode):
    old.chmod(mode)
    with files.replacing(old) as part:
        part.write_text("new")
    assert old.stat().st_mode & 0o777 == mode
    new = old.with_name("moved")
    new.write_text("moved")
    files.move(new, old)
    assert old.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_nothing_but_a_regular_file_is_replaced_or_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for use in (files.check_place, replace, files.check_readable):
        with pytest.raises(OSError, match="pipe is no"):
            use(tmp_path / "pipe")
        with pytest.raises(OSError, match="/dev/null is no"):
            use("/dev/null")


def test_links_are_followed_beforehand(tmp_path):
    loop, lost = tmp_path / "loop", tmp_path / "lost"
    loop.symlink_to(loop)
    lost.symlink_to(tmp_path / "no" / "file")
    for check in (files.check_place, replace):
        with pytest.raises(OSError, match="symbolic links") as failure:
            check(loop)
        assert failure.value.filename == str(loop)
        with pytest.raises(FileNotFoundError, match="there is no folder .*/no to"):
            check(lost)
