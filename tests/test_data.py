"""support/data.py, arrays.py, trained.py: sources, how they are split, a model's."""

import socket
import sys
from unittest import mock

import numpy as np
import pytest
from conftest import bars, idx, save_images

from support import data, trained
from support.errors import UserError

IMAGES, LABELS = bars(20, 0)
X = {"x_train": IMAGES, "x_test": IMAGES[:5]}
XY = X | {"y_train": LABELS, "y_test": LABELS[:5]}


# Sources


def test_an_npz_file(npz, tmp_path, monkeypatch):
    monkeypatch.chdir(npz.parent)
    dataset = data.load(npz.name)
    np.testing.assert_array_equal(dataset.x_train, bars(250, 0)[0])
    np.testing.assert_array_equal(dataset.y_test, bars(60, 1)[1])
    assert dataset.x_train.dtype == np.uint8
    assert dataset.class_names == ["0", "1", "2"]
    monkeypatch.chdir(tmp_path)
    assert data.load(dataset.source).source == dataset.source == str(npz)


def test_the_sample_of_mnist():
    dataset = data.load("mnist_sample")
    assert dataset.x_train.shape == (4000, 28, 28)
    assert dataset.x_test.shape == (1000, 28, 28)
    assert np.bincount(dataset.y_test).tolist() == [100] * 10
    assert dataset.x_train.max() == 255
    assert dataset.class_names == list("0123456789")
    assert dataset.source == "mnist_sample"


def test_what_is_not_a_source(here):
    (here / "text.txt").write_text("text")
    long = "x" * 300 + " does not exist"  # longer than a name can be
    for problem in "no.npz does not exist", "text.txt is not a data set", long:
        with pytest.raises(UserError, match=f"^{problem}: give --data mnist, "):
            data.load(problem.split()[0])


@pytest.mark.parametrize("options", [(28, False), (None, True)])
@pytest.mark.parametrize("kind", ["mnist", "npz", "idx"])
def test_only_folders_of_images_have_a_size_and_color(npz, tmp_path, kind, options):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(IMAGES))
    source = {"mnist": "mnist", "npz": str(npz), "idx": str(tmp_path)}[kind]
    with pytest.raises(UserError, match="--image-size and --color are for folders"):
        data.load(source, *options)


# MNIST and Fashion-MNIST, which Keras downloads


@pytest.fixture
def downloads(monkeypatch):
    """Return a stand-in for keras.datasets, which needs neither Keras nor a network."""
    backend = mock.Mock()
    monkeypatch.setitem(sys.modules, "support.backend", backend)
    return backend.keras.datasets


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_downloads_have_a_timeout(downloads, name):
    def load_data():
        assert socket.getdefaulttimeout() == 10
        return (IMAGES, LABELS), (IMAGES[:5], LABELS[:5])

    getattr(downloads, name).load_data = load_data
    dataset = data.load(name)
    assert dataset.source == name
    assert dataset.class_names[1] == {"mnist": "1", "fashion_mnist": "Trouser"}[name]
    np.testing.assert_array_equal(dataset.x_train, IMAGES)
    np.testing.assert_array_equal(dataset.y_test, LABELS[:5])
    assert socket.getdefaulttimeout() is None


def test_the_classes_of_fashion_mnist_are_in_their_order(downloads):
    """That of https://github.com/zalandoresearch/fashion-mnist#labels."""
    downloads.fashion_mnist.load_data.return_value = ((IMAGES, LABELS),) * 2
    names = data.load("fashion_mnist").class_names
    assert names[:4] == ["T-shirt/top", "Trouser", "Pullover", "Dress"]
    assert names[4:7] == ["Coat", "Sandal", "Shirt"]
    assert names[7:] == ["Sneaker", "Bag", "Ankle boot"]


@pytest.mark.parametrize(
    "error",
    [Exception("URL fetch failure on https://a: 5 -- offline"), OSError("offline")],
)
def test_without_a_network(downloads, capsys, error):
    for each in downloads.mnist, downloads.fashion_mnist:
        each.load_data.side_effect = error
    problem = "cannot download {}: offline"
    for name in "mnist", "fashion_mnist":
        with pytest.raises(UserError, match=problem.format(name)):
            data.load(name)
    # Only the default falls back, and says so.
    assert capsys.readouterr().err == ""
    dataset = data.load()
    assert (dataset.source, len(dataset.x_train)) == ("mnist_sample", 4000)
    note = f"note: {problem.format('mnist')}; using mnist_sample instead\n"
    assert capsys.readouterr().err == note
    assert socket.getdefaulttimeout() is None


# Pixels, labels, splits


def load(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return data.load(str(tmp_path / "a.npz"))


FLOATS = np.linspace(0, 1, 20 * 12 * 12).reshape(20, 12, 12)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (IMAGES.astype(">i8"), IMAGES),
        (FLOATS, np.floor(FLOATS * 255 + 0.5)),
        ((IMAGES / 255).astype("f2"), IMAGES),
        (FLOATS[..., None], np.floor(FLOATS * 255 + 0.5)),
        (FLOATS > 0.5, 255 * (FLOATS > 0.5)),
        (np.zeros_like(IMAGES), np.zeros_like(IMAGES)),
    ],
)
def test_pixels_of_every_type_become_bytes(tmp_path, images, expected):
    dataset = load(tmp_path, {"x_train": images, "x_test": images[:, ::-1]})
    assert dataset.x_train.dtype == dataset.x_test.dtype == np.uint8
    np.testing.assert_array_equal(dataset.x_train, expected)
    np.testing.assert_array_equal(dataset.x_test, expected[:, ::-1])


def one_pixel(value):
    return np.where(np.arange(12) == 5, value, FLOATS)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (IMAGES[0], r"shape \(12, 12\): give \(n, H, W\)"),
        (IMAGES[..., None].repeat(2, 3), r"shape \(20, 12, 12, 2\): give"),
        (IMAGES[:0], r"shape \(0, 12, 12\): give"),
        (IMAGES.astype(str), "dtype <U3: give integers"),
        (IMAGES.astype(int) - 1, "int64 pixels from -1 to 25[0-9]:"),
        (IMAGES.astype("u2") + 9, "uint16 pixels from 9 to 26[0-9]:"),
        ((IMAGES > 0).astype("i8"), "only pixels of 0 and 1: multiply them by 255"),
        (
            IMAGES.astype(float),
            "float64 pixels from 0 to 25[0-9]: divide them by 255",
        ),
        (one_pixel(np.nan), "pixels from nan to nan:"),
        (one_pixel(np.inf), "pixels from 0 to inf:"),
        (one_pixel(-0.5), "pixels from -0.5 to "),
    ],
)
@pytest.mark.parametrize("name", ["x_train", "x_test"])
def test_arrays_that_are_not_images(tmp_path, name, images, says):
    with pytest.raises(UserError, match=f"^{name} in .*a.npz has .*{says}"):
        load(tmp_path, X | {name: images})


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x_test": IMAGES}, "no training images"),
        (X | {"x_test": IMAGES[:, 3:]}, r"different shapes: .*\(9, 12\)"),
        (XY | {"y_train": LABELS[:19]}, r"y_train in .* shape \(19,\): give \(20,\)"),
        (XY | {"y_train": LABELS[:, None]}, r"y_train .* \(20, 1\): give \(20,\)"),
        (XY | {"y_test": LABELS}, r"y_test .* \(20,\): give \(5,\)"),
        ({"x_train": IMAGES[:4]}, "fewer than 5 images"),
    ],
)
def test_arrays_that_do_not_fit_together(tmp_path, arrays, says):
    with pytest.raises(UserError, match=says):
        load(tmp_path, arrays)


def test_every_fifth_image_is_held_out_if_there_is_no_test_part(tmp_path):
    dataset = load(tmp_path, {"x_train": IMAGES, "y_train": LABELS})
    fifth = [4, 9, 14, 19]
    np.testing.assert_array_equal(dataset.x_test, IMAGES[fifth])
    np.testing.assert_array_equal(dataset.y_test, LABELS[fifth])
    np.testing.assert_array_equal(dataset.x_train, np.delete(IMAGES, fifth, 0))
    np.testing.assert_array_equal(dataset.y_train, np.delete(LABELS, fifth))
    bare = load(tmp_path, {"x_train": IMAGES[:5], "y_test": LABELS})  # of no image
    assert (bare.y_train, bare.y_test, bare.class_names) == (None, None, None)


@pytest.mark.parametrize(
    ("y_train", "y_test", "names", "numbers"),
    [
        (np.arange(20) * 10**9, np.full(5, 10**9), ["0", "1000000000"], [1] * 5),
        (np.arange(20), np.full(5, 0.5), ["0.0", "0.5", "1.0"], [1] * 5),
        (["dog", "cat"] * 10, ["owl"] * 5, ["cat", "dog", "owl"], [2] * 5),
        (["dog"] * 20, ["\x1b[31m\nowl"] * 5, ["\ufffd[31m owl", "dog"], [0] * 5),
        (None, [7, 3, 7, 5, 5], ["3", "5", "7"], [2, 0, 2, 1, 1]),
    ],
)
def test_classes_are_the_different_labels(tmp_path, y_train, y_test, names, numbers):
    labels = {"y_train": y_train, "y_test": y_test}
    labels = {name: np.array(y) for name, y in labels.items() if y is not None}
    dataset = load(tmp_path, X | labels)
    assert dataset.class_names[: len(names)] == names
    assert (dataset.y_train is None) == (y_train is None)
    assert dataset.y_test.tolist() == numbers


def checksum(x_train, x_test):
    return data.Dataset(x_train, None, x_test, None, None, "a").checksum()


def test_the_checksum_is_that_of_the_images_however_they_are_stored():
    expected = checksum(IMAGES, IMAGES[:5])
    columns = np.asfortranarray(IMAGES)
    assert checksum(columns, columns[:5]) == expected
    other = IMAGES.copy()
    other[-1, -1, -1] += 1
    assert checksum(other, IMAGES[:5]) != expected
    assert checksum(IMAGES, other[-5:]) != expected
    moved = np.concatenate([IMAGES[-1:], IMAGES[:5]])
    assert checksum(IMAGES[:-1], moved) != expected
    wide = IMAGES.reshape(20, 6, 24)
    assert checksum(wide, wide[:5]) != expected


# The images of a model


def settings_of(source, shape, binarize=False):
    checksum = data.load(source).checksum()
    config = {"data": source, "binarize": binarize}
    return {"config": config, "image_shape": shape, "checksum": checksum}


@pytest.mark.usefixtures("here")
def test_a_models_images_are_found_again(npz, capsys):
    settings = settings_of(str(npz), [12, 12])
    dataset = trained.load_images(settings, "a.h5")
    assert dataset.held_out and dataset.source == str(npz)
    assert capsys.readouterr().err == ""
    np.savez("other.npz", x_train=IMAGES)
    dataset = trained.load_images(settings, "a.h5", "other.npz")
    assert not dataset.held_out and len(dataset.x_test) == 4
    note = f"note: a.h5 was trained on other images ({npz}), which may"
    assert capsys.readouterr().err.startswith(note)
    np.savez("small.npz", x_train=IMAGES[:, 2:])
    says = r"shape \(10, 12\), but a.h5 needs \(12, 12\): give other --data"
    with pytest.raises(UserError, match=says):
        trained.load_images(settings, "a.h5", "small.npz")
    settings["config"]["data"] = "gone.npz"
    with pytest.raises(UserError, match="gone.npz does not exist: give --data"):
        trained.load_images(settings, "a.h5")


@pytest.mark.parametrize("shape", [(9, 9), (7, 7, 3)])
def test_a_folder_of_images_is_read_in_the_models_shape(tmp_path, shape):
    save_images(
        tmp_path, [f"{kind}/{i}.png" for kind in ("a", "b\n") for i in range(5)]
    )
    dataset = data.load(str(tmp_path))
    assert dataset.x_test.shape == (2, 28, 28)
    assert dataset.class_names == ["a", "b"]
    settings = settings_of(str(tmp_path), shape)
    assert trained.load_images(settings, "a.h5").x_test.shape == (2, *shape)


def test_a_binarize_model_is_shown_binary_images(tmp_path):
    gray = np.full((2000, 8, 8), 51, "uint8")
    gray[:, 0], gray[:, 1] = 0, 255
    np.savez(tmp_path / "a.npz", x_train=gray, x_test=gray)
    settings = settings_of(str(tmp_path / "a.npz"), (8, 8), binarize=True)
    dataset = trained.load_images(settings, "a.h5")
    again = trained.load_images(settings, "a.h5")
    assert dataset.held_out
    for images in dataset.x_train, dataset.x_test:
        assert images.dtype == np.uint8 and set(np.unique(images)) == {0, 255}
        assert (images[:, 0] == 0).all() and (images[:, 1] == 255).all()
        # 96,000 pixels with p = 0.2: five standard deviations are 0.0065.
        assert (images[:, 2:] == 255).mean() == pytest.approx(0.2, abs=0.0065)
    np.testing.assert_array_equal(dataset.x_train, again.x_train)
    np.testing.assert_array_equal(dataset.x_test, again.x_test)
    assert (dataset.x_train != dataset.x_test).any()
