"""support/weights.py: files are replaced atomically; broken ones end in a UserError."""

import concurrent.futures
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from conftest import ROOT, largest_file, save_untrained

import vae_mnist
from support import weights
from support.cli import UserError

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


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


def test_a_file_is_replaced_only_at_the_end(old):
    with weights.replacing(old) as part:
        part.write_text("new")
        assert old.read_text() == "old"
        assert part.name.endswith(".weights.h5")  # as Keras demands
    assert_only(old, "new")


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(old, error):
    with pytest.raises(type(error)), weights.replacing(old) as part:
        part.write_text("half")
        raise error
    assert_only(old, "old")


def test_an_os_error_names_the_file_and_the_reason(old):
    with pytest.raises(UserError) as failure, weights.replacing(old) as part:
        part.write_text("half")
        raise OSError(28, "No space left on device")
    assert str(failure.value) == f"cannot write {old}: No space left on device"
    assert_only(old, "old")


KILLED = """
import os, signal, sys
from support import weights
with weights.replacing(sys.argv[1], 1000) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_kill_during_a_write_leaves_the_old_file(old):
    done = subprocess.run([sys.executable, "-c", KILLED, old], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert old.read_text() == "old"


def test_the_data_is_on_the_disk_before_the_name_changes(old, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda n: (calls.append("fsync"), fsync(n)))
    monkeypatch.setattr(
        os, "replace", lambda *n: (calls.append("replace"), replace(*n))
    )
    with weights.replacing(old) as part:
        part.write_text("new")
    assert calls == ["fsync", "replace"]


def test_a_symbolic_link_stays_one(tmp_path, old):
    (tmp_path / "folder").mkdir()
    link = tmp_path / "folder" / "link.weights.h5"
    link.symlink_to(old)
    with weights.replacing(link) as part:
        assert part.parent.parent == tmp_path  # os.replace stays on one file system
        part.write_text("new")
    assert link.is_symlink()
    assert old.read_text() == "new"


def test_many_writers_at_once_write_one_file_or_another(old):
    def write(value):
        for _ in range(20):
            with weights.replacing(old) as part:
                part.write_text(value * 1000)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, value) for value in "abc"]
        while not all(writer.done() for writer in writers):
            content = old.read_text()
            assert content in {"old", *(value * 1000 for value in "abc")}
    for writer in writers:
        writer.result()
    assert list(old.parent.iterdir()) == [old]


def replace(path, size=0):
    with weights.replacing(path, size):
        pytest.fail("this file cannot be written")


@pytest.mark.parametrize("check", [weights.check_writable, replace])
def test_files_that_cannot_be_written(tmp_path, old, check):
    with pytest.raises(UserError, match="exists and is not a file"):
        check(tmp_path)
    with pytest.raises(UserError, match="no/file: No such file"):
        check(tmp_path / "no" / "file")
    with pytest.raises(UserError, match="exists and is not a file"):
        check(os.devnull)
    assert_only(old, "old")


def test_room_is_reserved_before_anything_is_written(old):
    assert weights.check_writable(old) == old
    with largest_file(10_000):
        with pytest.raises(UserError, match="old.weights.h5: File too large"):
            replace(old, 11_000)
        with weights.replacing(old, 9_000) as part:
            assert part.stat().st_size == 9_000


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="is root")
@pytest.mark.parametrize("check", [weights.check_writable, replace])
def test_a_read_only_folder(old, check):
    old.parent.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        check(old)
    old.parent.chmod(0o700)
    assert_only(old, "old")


# The weights file


def test_a_vae_survives_bit_for_bit(tmp_path):
    config = vae_mnist.Config(hidden=(16, 8), latent_dim=3, activation="elu")
    vae = vae_mnist.VAE((6, 5, 3), config)
    path = save_untrained(vae, tmp_path / "a.weights.h5", "somewhere")
    again, settings = vae_mnist.load_vae(path)
    assert settings["config"]["data"] == "somewhere"
    assert again.image_shape == (6, 5, 3)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 6, 5, 3)).astype("uint8")
    for one, other in zip(vae.encode(images), again.encode(images), strict=True):
        np.testing.assert_array_equal(one, other)
    z = rng.standard_normal((10, 3)).astype("float32")
    np.testing.assert_array_equal(vae.decode(z), again.decode(z))


@pytest.fixture(scope="module")
def vae():
    return vae_mnist.VAE((12, 12), vae_mnist.Config(hidden=(8,)))


def test_settings_and_history_survive(vae, tmp_path):
    settings = {"config": {"a": [1, 2.5, "ü", None]}, "image_shape": [12, 12]}
    settings |= {"checksum": 5, "run": "id"}
    # More than the 64 kB that an attribute of HDF5 can hold.
    numbers = np.random.default_rng(0).random((5000, 2))
    history = [{"loss": one, "kl": other} for one, other in numbers]
    for rows in (history, []):
        weights.save(vae, tmp_path / "a.weights.h5", settings, rows)
        assert weights.read(tmp_path / "a.weights.h5") == (settings, rows)
    assert os.listdir(tmp_path) == ["a.weights.h5"]


def test_the_checkpoint_lies_beside_the_real_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.weights.h5").symlink_to("folder/real.weights.h5")
    for path, checkpoint in (
        ("m.weights.h5", "m.checkpoint.weights.h5"),
        ("link.weights.h5", "folder/real.checkpoint.weights.h5"),
    ):
        assert weights.checkpoint_of(path) == tmp_path / checkpoint
    with pytest.raises(UserError, match=r"must end in \.weights\.h5"):
        weights.checkpoint_of("m.h5")


# Hostile and broken files


@pytest.fixture(scope="module")
def good(vae, tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "a.weights.h5"
    return save_untrained(vae, path, "mnist")


def edit(**changes):
    """Return a change of a file's settings, where dots stand for levels."""

    def change(file):
        settings = json.loads(file.attrs["settings"])
        for name, value in changes.items():
            *levels, last = name.split("__")
            part = settings
            for level in levels:
                part = part[level]
            if value is edit:
                del part[last]
            else:
                part[last] = value
        file.attrs["settings"] = json.dumps(settings)

    return change


LAYER = "layers/functional/layers/dense"  # the encoder's first


def write_words(file):
    del file["history"]
    file["history"] = np.full((2, 1), b"word")
    file["history"].attrs["columns"] = ["loss"]


def write_nan(file):
    file[LAYER + "/vars/0"][0, 0] = np.nan


def write_bomb(file):
    file.create_dataset("bomb", (10**6, 10**6), "f4", chunks=(100, 100))


HOSTILE = {
    "settings missing": (lambda f: f.attrs.pop("settings"), "settings"),
    "settings not JSON": (lambda f: f.attrs.update(settings="{"), "cannot use"),
    "settings a list": (lambda f: f.attrs.update(settings="[]"), "cannot use"),
    "settings a number": (lambda f: f.attrs.update(settings=3), "cannot use"),
    "settings incomplete": (edit(run=edit), "incomplete"),
    "older format": (edit(format=1), "another version"),
    "no format": (edit(format=edit), "another version"),
    "config a list": (edit(config=[1]), "not a dict"),
    "config of a wrong type": (edit(config__hidden=5), "settings of a run"),
    "unknown option": (edit(config__colour=True), "colour"),
    "negative width": (edit(config__hidden=[-8]), "--hidden -8"),
    "another width": (edit(config__hidden=[9]), "cannot use"),
    "one layer more": (edit(config__hidden=[8, 8]), "cannot use"),
    "huge images": (edit(image_shape=[10**6, 10**6]), "too small for images"),
    "flat images": (edit(image_shape=[144]), "image_shape"),
    "negative images": (edit(image_shape=[-12, -12]), "image_shape"),
    "images of two channels": (edit(image_shape=[12, 6, 2]), "image_shape"),
    "broken pixels": (edit(image_shape=[12.0, 12.0]), "image_shape"),
    "words for a shape": (edit(image_shape="12"), "image_shape"),
    "no shape": (edit(image_shape=None), "cannot use"),
    "history missing": (lambda f: f.pop("history"), "history"),
    "columns missing": (lambda f: f["history"].attrs.pop("columns"), "columns"),
    "history of words": (write_words, "could not convert"),
    "weights not finite": (write_nan, "not finite"),
    "a layer missing": (lambda f: f.pop(LAYER), "cannot use"),
    "arrays too large": (write_bomb, "larger than the file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(good, tmp_path, name):
    change, says = HOSTILE[name]
    path = shutil.copy(good, tmp_path / "hostile.weights.h5")
    vae_mnist.load_vae(path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=says) as failure:
        vae_mnist.load_vae(path)
    assert "\n" not in str(failure.value)


def test_files_that_are_not_weights(fails, good, tmp_path):
    path = tmp_path / "a.weights.h5"
    for content in (b"", b"not HDF5", b"\x89HDF\r\n\x1a\n", good.read_bytes()[:3000]):
        path.write_bytes(content)
        fails("vae_mnist.py", "--resume", "--weights", path, says="cannot use")
    with h5py.File(path, "w") as file:
        file["kernel"] = np.zeros(3)
    fails("vae_mnist.py", "--resume", "--weights", path, says="cannot use the weights")


def test_there_must_be_something_to_resume(fails):
    says = "no weights in vae_mnist.weights.h5: run python vae_mnist.py to train some"
    fails("vae_mnist.py", "--resume", says=says)


@needs_pipes
def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.weights.h5")
    with pytest.raises(UserError, match="no weights in"):
        weights.read(tmp_path / "pipe.weights.h5")


# Processes that are killed at random moments

SAVE_AND_SAVE = """
import sys
import vae_mnist
from support import weights
vae = vae_mnist.VAE((12, 12), vae_mnist.Config(hidden=(64,)))
settings = {"config": {}, "image_shape": [12, 12], "checksum": 0, "run": "id"}
for value in range(10**6):
    vae.set_weights([0 * w + value for w in vae.get_weights()])
    weights.save(vae, sys.argv[1], settings, [])
"""


@pytest.mark.slow
def test_kills_at_random_moments_leave_a_whole_file(tmp_path):
    path = tmp_path / "m.weights.h5"
    vae = vae_mnist.VAE((12, 12), vae_mnist.Config(hidden=(64,)))
    rng = random.Random(0)
    for _ in range(5):
        path.unlink(missing_ok=True)
        writer = subprocess.Popen([sys.executable, "-c", SAVE_AND_SAVE, path], cwd=ROOT)
        while not path.exists():
            assert writer.poll() is None
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 1))
        writer.kill()
        writer.wait()
        weights.read(path)
        weights.load(vae, path)
        assert len({v for w in vae.get_weights() for v in w.flat}) == 1
