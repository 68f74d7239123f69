"""support/weights.py: files are replaced atomically; broken ones end in a UserError."""

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pytest
from conftest import ROOT, folder_with, largest_file, save_untrained

import vae_mnist
from support import weights
from support.backend import keras
from support.cli import UserError


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
    with weights.replacing(old) as part:
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
        (OSError(28, "No space left"), UserError, "cannot write {}: No space left"),
    ],
)
def test_a_failed_write_leaves_the_old_file(old, error, kind, says):
    with pytest.raises(kind) as failure, weights.replacing(old) as part:
        part.write_text("half")
        raise error
    assert str(failure.value) == says.format(old)
    assert_only(old, "old")


KILLED = """
import os, signal, sys
from support import weights
with weights.replacing(sys.argv[1]) as part:
    part.write_text("half of the new fi")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_kill_9_during_a_write_leaves_the_old_file(old):
    before = old.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, old], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert old.read_bytes() == before


def test_a_symbolic_link_stays_one(tmp_path, old):
    (tmp_path / "folder").mkdir()
    link = tmp_path / "folder" / "link.weights.h5"
    link.symlink_to(old)
    with weights.replacing(link) as part:
        assert part.parent.parent == tmp_path  # os.replace stays on one file system
        part.write_text("new")
    assert link.is_symlink()
    assert old.read_text() == "new"


def replace(path, size=0):
    with weights.replacing(path, size) as part:
        part.write_text("new")


@pytest.mark.parametrize("check", [weights.check_writable, replace])
def test_files_that_cannot_be_written(tmp_path, old, check):
    for path in tmp_path, os.devnull:
        with pytest.raises(UserError, match="exists and is not a file"):
            check(path)
    with pytest.raises(UserError, match="no/file: No such file"):
        check(tmp_path / "no" / "file")
    assert_only(old, "old")


@pytest.mark.parametrize("check", [weights.check_writable, replace])
def test_a_read_only_folder(check):
    with folder_with(0o555) as folder, pytest.raises(UserError, match="Permission"):
        check(folder / "a.png")


def test_room_is_reserved_before_anything_is_written(old):
    with largest_file(10_000):
        with pytest.raises(UserError, match="old.weights.h5: File too large"):
            replace(old, 11_000)
        assert_only(old, "old")
        replace(old, 9_000)
    assert old.read_text() == "new"


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
    numbers = np.random.default_rng(0).random((5000, len(weights.COLUMNS)))
    history = [dict(zip(weights.COLUMNS, row, strict=True)) for row in numbers]
    for rows in (history, []):
        weights.save(vae, tmp_path / "a.weights.h5", settings, rows)
        assert weights.read(tmp_path / "a.weights.h5") == (settings, rows)
    assert os.listdir(tmp_path) == ["a.weights.h5"]


@pytest.mark.parametrize("hidden", [(1,), (1000,), (4,) * 40])
def test_the_room_that_is_reserved_is_enough(tmp_path, monkeypatch, hidden):
    vae = vae_mnist.VAE((12, 12), vae_mnist.Config(hidden=hidden))
    vae.compile(keras.optimizers.RMSprop(momentum=0.9))
    vae.optimizer.build(vae.trainable_variables)
    reserved, replacing = [], weights.replacing
    monkeypatch.setattr(
        weights, "replacing", lambda path, n: reserved.append(n) or replacing(path)
    )
    path = save_untrained(vae, tmp_path / "a.weights.h5", "mnist")
    assert path.stat().st_size < reserved[0] < 2 * path.stat().st_size + 250_000


# Hostile and broken files


@pytest.fixture(scope="module")
def good(vae, tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "a.weights.h5"
    return save_untrained(vae, path, "mnist")


def settings(config=(), **changes):
    """Return a change of a file's settings."""

    def change(file):
        known = json.loads(file.attrs["settings"])
        known["config"] = known["config"] | dict(config)
        file.attrs["settings"] = json.dumps(known | changes)

    return change


def write(name, value):
    """Return a change of a file's array."""

    def change(file):
        del file[name]
        file[name] = value

    return change


LAYER = "layers/functional/layers/dense"  # the encoder's first
HOSTILE = [
    (lambda file: file.attrs.pop("settings"), "settings"),
    (lambda file: file.attrs.update(settings="{"), "cannot use"),
    (lambda file: file.attrs.update(settings='{"format": 2}'), "incomplete"),
    (settings(format=1), "another version"),
    (settings({"hidden": 5}), "settings of a run"),
    (settings({"colour": True}), "colour"),
    (settings({"log": "victim"}), "must not be stored"),
    (settings({"hidden": [8, 8.0]}), "settings of a run"),
    (settings({"hidden": [-8]}), "--hidden -8"),
    (settings({"beta": float("nan")}), "--beta nan"),
    (settings({"hidden": [8, 8]}), "cannot use"),
    (settings(image_shape=[10**6, 10**6]), "images or arrays"),
    (settings(image_shape=[144]), "image_shape"),
    (settings(image_shape=[12, 6, 2]), "image_shape"),
    (settings(image_shape=[12, 12.0]), "image_shape"),
    (settings(image_shape=None), "cannot use"),
    (lambda file: file.pop("history"), "history"),
    (write("history", np.ones((8, 9))), "zip"),
    (write("history", np.ones(16)), "cannot use"),
    (write("history", np.full((2, 1), b"word")), "could not convert"),
    (settings(run=[1]), "wrong types"),
    (write(LAYER + "/vars/1", np.full(8, np.nan)), "not finite"),
    (lambda file: file.pop(LAYER), "cannot use"),
    (lambda file: file.create_dataset("bomb", [10**9], chunks=(9,)), "larger than"),
]


@pytest.mark.parametrize(("change", "says"), HOSTILE)
def test_hostile_files(good, tmp_path, change, says):
    path = shutil.copy(good, tmp_path / "hostile.weights.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=says) as failure:
        vae_mnist.load_vae(path)
    assert "\n" not in str(failure.value)


def test_files_that_are_not_weights(fails, good, tmp_path):
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        file["kernel"] = np.zeros(3)
    cut, other = good.read_bytes()[:3000], path.read_bytes()
    for content in (b"", b"not HDF5", b"\x89HDF\r\n\x1a\n", cut, other):
        path.write_bytes(content)
        fails("vae_mnist.py", "--resume", "--weights", path, says="cannot use the w")


def test_there_must_be_something_to_resume(fails):
    says = "there is no file vae_mnist.weights.h5: train one with vae_mnist.py or name"
    fails("vae_mnist.py", "--resume", says=says)


def test_what_keras_only_warns_of_is_a_mistake(old):
    class Model:
        def load_weights(self, path):
            warnings.warn("a layer stays as it was", UserWarning, stacklevel=1)

        def get_weights(self):
            return []

    with pytest.raises(UserError, match="a layer stays as it was"):
        weights.load(Model(), old)
