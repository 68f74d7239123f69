"""support/data.py, sources.py, arrays.py, shown.py: sources, pixels, parts."""

import re
import socket
import sys
from unittest import mock

import numpy as np
import pytest
from conftest import bars, idx, save_images

from support import data
from support.errors import UserError
from support.shown import load_images

IMAGES, LABELS = bars(20, 0)
COLORS = np.stack([IMAGES, IMAGES, IMAGES], axis=-1)
X = {"x_train": IMAGES, "x_test": IMAGES[:5]}
XY = X | {"y_train": LABELS, "y_test": LABELS[:5]}


# Sources


def test_an_npz_file(npz, tmp_path, monkeypatch):
    monkeypatch.chdir(npz.parent)
    dataset = data.load(npz.name)
    np.testing.assert_array_equal(dataset.train.images, bars(250, 0)[0])
    np.testing.assert_array_equal(dataset.test.labels, bars(60, 1)[1])
    assert dataset.train.images.dtype == np.uint8
    assert dataset.class_names == ["0", "1", "2"]
    assert dataset.train.names[249] == "x_train[249]"
    assert dataset.test.names[:2] == ["x_test[0]", "x_test[1]"]
    monkeypatch.chdir(tmp_path)
    assert data.load(dataset.source).source == dataset.source == str(npz)


def test_the_sample_of_mnist():
    dataset = data.load("mnist_sample")
    assert dataset.train.images.shape == (4000, 28, 28)
    assert dataset.test.images.shape == (1000, 28, 28)
    assert np.bincount(dataset.test.labels).tolist() == [100] * 10
    assert dataset.train.images.max() == 255
    assert dataset.class_names == list("0123456789")
    assert dataset.source == "mnist_sample"


def test_what_is_not_a_source(here):
    for name in "a.doc", "folder.doc/b.doc":
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text("text")
    long = "x" * 300 + " does not exist"  # longer than a name can be
    problems = ["no.npz does not exist", "a.doc is not a data set", long]
    for problem in problems:
        with pytest.raises(UserError, match=f"^{problem}: give --data mnist, "):
            data.load(problem.split()[0])


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("a b.mat", 'np.save("images.npy", scipy.io.loadmat(r"a b.mat")["NAME'),
        ("a.h5", 'np.save("images.npy", h5py.File(r"a.h5")["NAME'),
        ("a.HDF5", 'h5py.File(r"a.HDF5")'),
        ("a.amat", 'np.save("images.npy", np.loadtxt(r"a.amat"))'),
        ("a.pt", 'torch.load(r"a.pt").numpy()'),
        ("a.parquet", 'pandas.read_parquet(r"a.parquet")["image"]'),
        ("a b.zip", 'python -m zipfile -e "a b.zip" images; then --data images'),
        ("a.tar.gz", 'python -m tarfile -e "a.tar.gz" images; then --data images'),
    ],
)
def test_files_of_other_kinds_get_a_recipe(here, name, recipe):
    (here / name).write_bytes(b"1 0\n0 1\n")
    problem = re.escape(f"cannot read {name} directly: ")
    with pytest.raises(UserError, match=problem + ".*" + re.escape(recipe)) as failure:
        data.load(name)
    assert "\n" not in str(failure.value)
    if name == "a.amat":
        code = re.search(r"in Python, (.+); then --data images.npy", str(failure.value))
        exec(code[1], {"np": np})
        assert np.load("images.npy").tolist() == [[1, 0], [0, 1]]


def test_a_name_is_not_a_folder(here, downloads):
    """Although there is one."""
    save_images(here, [f"mnist/{i}.png" for i in range(9)])
    with pytest.raises(UserError, match="are for pictures"):
        data.load("mnist", color=True)


@pytest.mark.parametrize("options", [(28,), (None, True), (None, False, "black")])
@pytest.mark.parametrize("kind", ["mnist", "npz", "idx"])
def test_only_pictures_have_a_size_and_colors(npz, tmp_path, kind, options):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(IMAGES))
    source = {"mnist": "mnist", "npz": str(npz), "idx": str(tmp_path)}[kind]
    with pytest.raises(UserError, match="--color and --background are for pictures"):
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
    np.testing.assert_array_equal(dataset.train.images, IMAGES)
    np.testing.assert_array_equal(dataset.test.labels, LABELS[:5])
    assert socket.getdefaulttimeout() is None


def test_the_classes_of_fashion_mnist_are_in_their_order(downloads):
    """That of https://github.com/zalandoresearch/fashion-mnist#labels."""
    downloads.fashion_mnist.load_data.return_value = ((IMAGES, LABELS),) * 2
    names = data.load("fashion_mnist").class_names
    assert names[:4] == ["T-shirt/top", "Trouser", "Pullover", "Dress"]
    assert names[4:7] == ["Coat", "Sandal", "Shirt"]
    assert names[7:] == ["Sneaker", "Bag", "Ankle boot"]


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_has_a_column_of_labels(downloads, name):
    images, labels = np.stack([IMAGES] * 3, axis=-1), np.arange(20)[:, None] % 10
    load_data = getattr(downloads, name).load_data
    images.flags.writeable = False  # as Fashion-MNIST comes
    load_data.return_value = (images, labels), (images[:5], labels[:5])
    dataset = data.load(name)
    assert dataset.train.images.flags.writeable
    np.testing.assert_array_equal(dataset.test.labels, labels[:5, 0])
    # That of https://www.cs.toronto.edu/~kriz/cifar.html
    assert dataset.class_names[3] == {"cifar10": "cat", "cifar100": "3"}[name]


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
    assert (dataset.source, len(dataset.train.images)) == ("mnist_sample", 4000)
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
    assert dataset.train.images.dtype == dataset.test.images.dtype == np.uint8
    np.testing.assert_array_equal(dataset.train.images, expected)
    np.testing.assert_array_equal(dataset.test.images, expected[:, ::-1])
    assert dataset.bits is None


WIDE = IMAGES.astype("u2")
ROWS = np.arange(20 * 144).reshape(20, 144) % 256


@pytest.mark.parametrize(
    ("images", "expected", "note"),
    [
        ((IMAGES > 0) * 1, 255.0 * (IMAGES > 0), "only pixels of 0 and 1: treated as"),
        (
            ROWS,
            ROWS.reshape(20, 12, 12),
            "rows of 144 pixels: treated as 12×12",
        ),
        (IMAGES // 16, IMAGES // 16, "the brightest pixel is 15 of 255"),
        (IMAGES // 16 / 255, IMAGES // 16, "the brightest pixel is 15 of 255"),
        (WIDE * 4, IMAGES * (4 / 1023 * 255), "white is 1023 (10 bits); the brightest"),
        (WIDE * 5, IMAGES * (5 / 4095 * 255), "white is 4095 (12 bits); the brightest"),
        (WIDE * 64, IMAGES * (64 / 16383 * 255), "white is 16383 (14 bits); the brig"),
        (WIDE * 99, IMAGES * (99 / 65535 * 255), "white is 65535 (16 bits); the brig"),
    ],
)
def test_what_is_guessed_is_mentioned(tmp_path, capsys, images, expected, note):
    """The part with the brightest pixel decides for both."""
    arrays = {"x_train": images[5:], "x_test": images[:5]}
    dataset = load(tmp_path, arrays)
    np.testing.assert_allclose(dataset.train.images, expected[5:], atol=0.51)
    np.testing.assert_allclose(dataset.test.images, expected[:5], atol=0.51)
    notes = capsys.readouterr().err.splitlines()
    assert all(line.startswith("note: ") and note in line for line in notes)
    assert len(notes) == (2 if images is ROWS else 1)


def one_pixel(value):
    return np.where(np.arange(12) == 5, value, FLOATS)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (IMAGES[0], r"shape \(12, 12\): if each row is an image, give x.reshape"),
        (IMAGES[:0], r"shape \(0, 12, 12\): give"),
        (IMAGES[:, None], r"channels come first, so give np.moveaxis\(x, 1, -1\)"),
        (COLORS.swapaxes(1, 3), r"channels come first, so give np.moveaxis\(x, 1, -1"),
        (
            np.moveaxis(COLORS, 0, -1),
            r"images come last, so give np.moveaxis\(x, -1",
        ),
        (np.moveaxis(IMAGES, 0, -1), r"images come last, give np.moveaxis\(x, -1, 0"),
        (np.ones((20, 48)), r"give x.reshape\(-1, 4, 4, 3\) or, if one color comes"),
        (COLORS[0], r"one image in color, give x\[None, ..., :3\]"),
        (COLORS.repeat(2, 3)[..., :4], r"alpha channel, so give x\[..., :3\]"),
        (COLORS[..., :2], r"alpha channel, so give x\[..., 0\]"),
        (COLORS[None], r"shape \(1, 20, 12, 12, 3\): give \(n, H, W\) or"),
        (IMAGES.astype(str), "dtype <U3: give integers"),
        (IMAGES.astype(int) - 1, r"int64 pixels from -1 to 25[0-9]: give np.interp\(x"),
        (WIDE * np.int32(999), "int32 pixels from 0 to .*: give np.interp"),
        (IMAGES / 1.0, "float64 pixels from 0 to 25[0-9]: divide them by 255"),
        (IMAGES // 16 / 1.0, "float64 pixels from 0 to 15: divide them by 15"),
        (IMAGES * 8.0, "float64 pixels from 0 to 2024: divide them by 2024"),
        (IMAGES / 127.5 - 1, r"float64 pixels from -1 to 0.9.*: give \(x \+ 1\) / 2"),
        (FLOATS * 3 - 0.4, r"pixels from -0.4 to 2.6: give np.interp.*; a table or a"),
        (one_pixel(np.nan), "pixels from nan to nan: .*np.nan_to_num"),
        (one_pixel(np.inf), "pixels from 0 to inf: .*np.nan_to_num"),
    ],
)
@pytest.mark.parametrize("name", ["x_train", "x_test"])
def test_arrays_that_are_not_images(tmp_path, name, images, says):
    with pytest.raises(UserError, match=f"a.npz has .*{says}"):
        load(tmp_path, X | {name: images})


@pytest.mark.parametrize(
    "images",
    [
        COLORS.swapaxes(1, 3),
        IMAGES[:, None],
        np.moveaxis(COLORS, 0, -1),
        np.moveaxis(IMAGES, 0, -1),
        COLORS.reshape(20, -1),
        COLORS[0],
        COLORS.repeat(2, 3)[..., :4],
        IMAGES / 1.0,
        IMAGES // 16 / 1.0,
        IMAGES / 127.5 - 1,
        FLOATS * 3 - 0.4,
        IMAGES.astype(int) - 1,
        one_pixel(np.inf),
    ],
)
def test_the_advice_works(tmp_path, images):
    with pytest.raises(UserError) as failure:
        load(tmp_path, {"x_train": images, "x_test": images})
    x, advice = images, str(failure.value).partition(": ")[2]
    code = re.search(r"np\..*\)|x\[.*\]|\(x .*2", advice.partition(";")[0])
    number = re.search("divide them by (.*)", advice)
    x = eval(code[0]) if code else x / float(number[1])
    x = np.clip(x, 0, 1) if np.isinf(images).any() else x
    assert load(tmp_path, {"x_train": x, "x_test": x}).train.images.max() > 200


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        (X | {"x_test": IMAGES[:, 3:]}, r"different shapes: .*\(9, 12\)"),
        (XY | {"y_train": LABELS[:19]}, r"y_train in .* shape \(19,\): give \(20,\)"),
        (XY | {"y_test": LABELS}, r"y_test .* \(20,\): give \(5,\)"),
        ({"x_train": IMAGES[:4]}, "fewer than 5 images"),
    ],
)
def test_arrays_that_do_not_fit_together(tmp_path, arrays, says):
    with pytest.raises(UserError, match=says):
        load(tmp_path, arrays)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (LABELS[:, None], LABELS),
        (np.eye(3)[LABELS], LABELS),
        (np.eye(3)[LABELS].astype(bool), LABELS),
        (LABELS + 0.0, LABELS),
        (LABELS.astype("S"), LABELS),
        (np.ones((20, 3)), None),
    ],
)
def test_a_column_or_one_hot_rows_are_labels(tmp_path, capsys, labels, expected):
    dataset = load(tmp_path, X | {"y_train": labels})
    if expected is None:
        assert dataset.train.labels is None
        note = f"a.npz of shape {labels.shape}: give a class per image, or one-hot\n"
        assert capsys.readouterr().err.endswith(note)
    else:
        np.testing.assert_array_equal(dataset.train.labels, expected)
        assert dataset.class_names == ["0", "1", "2"]


# What is held out


def test_a_fifth_of_every_class_is_held_out_whatever_its_order(tmp_path):
    images = np.arange(200 * 25).reshape(200, 5, 5) % 251
    labels = np.arange(200) % 10, np.sort(np.arange(200) % 4), np.arange(200) == 7
    for y in labels:
        dataset = load(tmp_path, {"x_train": images, "y_train": y})
        train, test = dataset.train, dataset.test
        places = [int(name[8:-1]) for name in train.names + test.names]
        assert sorted(places) == list(range(200))
        for part, at in (train, places[:160]), (test, places[160:]):
            np.testing.assert_array_equal(part.images, images[at])
            classes = [dataset.class_names[label] for label in part.labels]
            assert classes == [str(label) for label in y[at]]
        counts = np.bincount(y), np.bincount(test.labels, minlength=y.max() + 1)
        assert (np.abs(counts[1] - counts[0] / 5) < 1).all()
    gaps = np.diff(places[160:])
    assert gaps.min() == 1 and gaps.max() > 8  # at random, not every fifth
    again = load(tmp_path, {"x_train": images, "y_train": y})
    assert again.test.names == test.names and again.checksum == dataset.checksum
    bare = load(tmp_path, {"x_train": IMAGES[:5], "y_test": LABELS})  # of no image
    assert (bare.train.labels, bare.test.labels, bare.class_names) == (None,) * 3


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
    assert (dataset.train.labels is None) == (y_train is None)
    assert dataset.test.labels.tolist() == numbers


def test_the_checksum_is_that_of_the_images_and_their_split(tmp_path):
    def checksum(x_train, x_test=None, **more):
        arrays = {"x_train": x_train} | ({} if x_test is None else {"x_test": x_test})
        return load(tmp_path, arrays | more).checksum

    expected = checksum(IMAGES, IMAGES[:5])
    columns = np.asfortranarray(IMAGES)
    assert checksum(columns, columns[:5]) == expected
    assert checksum(IMAGES, IMAGES[:5], y_train=LABELS) == expected
    other = IMAGES.copy()
    other[-1, -1, -1] += 1
    wide = IMAGES.reshape(20, 6, 24)
    changed = [(other, IMAGES[:5]), (IMAGES, other[-5:]), (wide, wide[:5]), (IMAGES,)]
    changed.append((IMAGES[:-1], np.concatenate([IMAGES[-1:], IMAGES[:5]])))
    assert expected not in [checksum(*parts) for parts in changed]
    # On labels, too, if they decide who is held out
    assert checksum(IMAGES, y_train=LABELS) != checksum(IMAGES, y_train=LABELS[::-1])


# The images of a model


def settings_of(source, shape, binarize=False):
    dataset = data.load(source)
    config = {"data": source, "binarize": binarize, "background": "white"}
    settings = {"config": config, "image_shape": shape, "bits": dataset.bits}
    return settings | {"checksum": dataset.checksum}


@pytest.mark.usefixtures("here")
def test_a_models_images_are_found_again(npz, capsys):
    settings = settings_of(str(npz), [12, 12])
    shown = load_images(settings, "a.h5")
    assert (shown.held_out, shown.kind, shown.train) == (True, "held-out images", None)
    np.testing.assert_array_equal(shown.images, bars(60, 1)[0])
    np.testing.assert_array_equal(shown.labels, bars(60, 1)[1])
    shown = load_images(settings, "a.h5", keep_train=True)
    np.testing.assert_array_equal(shown.train.images, bars(250, 0)[0])
    assert capsys.readouterr().err == ""
    np.savez("small.npz", x_train=IMAGES[:, 2:])
    says = r"shape \(10, 12\), but a.h5 needs \(12, 12\): choose other --data"
    with pytest.raises(UserError, match=says):
        load_images(settings, "a.h5", "small.npz")
    settings["config"]["data"] = "gone.npz"
    with pytest.raises(UserError, match="gone.npz does not exist: give --data"):
        load_images(settings, "a.h5")


@pytest.mark.usefixtures("here")
def test_of_other_images_all_are_shown_or_the_test_part(npz, capsys):
    settings = settings_of(str(npz), [12, 12])
    note = f"note: a.h5 was trained on other images ({npz}), which may"
    np.savez("whole.npz", x_train=IMAGES)
    for keep_train in False, True:
        shown = load_images(settings, "a.h5", "whole.npz", keep_train)
        assert (shown.held_out, shown.kind, shown.train) == (False, "images", None)
        np.testing.assert_array_equal(shown.images, IMAGES)
        assert capsys.readouterr().err.startswith(note)
    np.savez("one.npz", x_train=IMAGES[:1])
    assert len(load_images(settings, "a.h5", "one.npz").images) == 1
    capsys.readouterr()
    np.savez("parts.npz", x_train=IMAGES[5:], x_test=IMAGES[:5])
    shown = load_images(settings, "a.h5", "parts.npz")
    np.testing.assert_array_equal(shown.images, IMAGES[:5])
    left_out = "note: left out the training part of parts.npz, 15 images"
    assert capsys.readouterr().err.splitlines()[1:] == [left_out]


@pytest.mark.usefixtures("here")
def test_other_images_are_scaled_as_the_models_own(capsys):
    np.savez("camera.npz", x_train=WIDE * 5)  # 12 bits
    settings = settings_of("camera.npz", [12, 12])
    assert settings["bits"] == 12
    np.savez("darker.npz", x_train=WIDE * 2)  # 10 bits would do
    np.savez("brighter.npz", x_train=WIDE * 30)
    np.savez("bytes.npz", x_train=IMAGES)
    scaled = {"darker": IMAGES * (2 / 4095 * 255), "bytes": IMAGES}
    scaled["brighter"] = np.minimum(IMAGES * (30 / 4095 * 255), 255)
    for name, expected in scaled.items():
        shown = load_images(settings, "a.h5", f"{name}.npz")
        np.testing.assert_allclose(shown.images, expected, atol=0.51)
    assert "is 7590, which was clipped\n" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(9, 9), (7, 5, 3)])
def test_a_folder_of_images_is_read_in_the_models_shape(tmp_path, shape):
    save_images(
        tmp_path, [f"{kind}/{i}.png" for kind in ("a", "b\n") for i in range(5)]
    )
    dataset = data.load(str(tmp_path))
    assert dataset.test.images.shape == (2, 28, 28)
    assert dataset.class_names == ["a", "b"]
    settings = settings_of(str(tmp_path), shape)
    shown = load_images(settings, "a.h5")
    assert shown.images.shape == (10, *shape)  # all: at another size they are others
    settings["checksum"] = data.load(str(tmp_path), shape[:2], len(shape) == 3).checksum
    shown = load_images(settings, "a.h5")
    assert shown.held_out and shown.images.shape == (2, *shape)
    shown = load_images(settings, "a.h5", str(tmp_path / "a" / "3.png"))
    assert shown.names == ["3.png"] and shown.images.shape == (1, *shape)


def test_a_binarize_model_is_shown_binary_images(tmp_path):
    gray = np.full((2000, 8, 8), 51, "uint8")
    gray[:, 0], gray[:, 1] = 0, 255
    np.savez(tmp_path / "a.npz", x_train=gray, x_test=gray)
    settings = settings_of(str(tmp_path / "a.npz"), (8, 8), binarize=True)
    shown = load_images(settings, "a.h5", keep_train=True)
    again = load_images(settings, "a.h5")
    assert shown.held_out
    for images in shown.images, shown.train.images:
        assert images.dtype == np.uint8 and set(np.unique(images)) == {0, 255}
        assert (images[:, 0] == 0).all() and (images[:, 1] == 255).all()
        # 96,000 pixels with p = 0.2: five standard deviations are 0.0065.
        assert (images[:, 2:] == 255).mean() == pytest.approx(0.2, abs=0.0065)
    np.testing.assert_array_equal(shown.images, again.images)
    assert (shown.images != shown.train.images).any()


def test_some_classes_of_both_parts_are_kept(tmp_path):
    y = np.array(["b", "a", "c", "b", "c", "a"])
    images = {"x_train": IMAGES[:6], "y_train": y, "x_test": IMAGES[6:9]}
    path = tmp_path / "a.npz"
    np.savez(path, **images, y_test=y[:3])
    whole, some = data.load(str(path)), data.load(str(path), only=("c", "a"))
    assert some.class_names == ["a", "c"]
    assert some.checksum == whole.checksum
    assert some.train.labels.tolist() == [0, 1, 1, 0]
    assert some.train.names == [f"x_train[{i}]" for i in (1, 2, 4, 5)]
    np.testing.assert_array_equal(some.train.images, IMAGES[[1, 2, 4, 5]])
    np.testing.assert_array_equal(some.test.images, IMAGES[[7, 8]])
    assert data.load(str(path), only=("b", "b")).test.labels.tolist() == [0]
    with pytest.raises(
        UserError, match="a.npz has no class d: its classes are a, b, c"
    ):
        data.load(str(path), only=("a", "d"))
    np.savez(path, x=IMAGES, y=LABELS)  # Its held-out fifth does not depend on `only`.
    whole, some = data.load(str(path)).test, data.load(str(path), only=("1",)).test
    assert some.names == [whole.names[i] for i in np.flatnonzero(whole.labels == 1)]
    np.savez(path, **images, y_test=["a", "b", "b"])
    with pytest.raises(UserError, match="a.npz has no images of c that are held"):
        data.load(str(path), only=("c",))
    np.savez(path, x_train=IMAGES, x_test=IMAGES)
    with pytest.raises(UserError, match="a.npz has no labels, so there is no class a"):
        data.load(str(path), only=("a",))


@pytest.mark.usefixtures("here")
def test_a_model_of_some_classes_is_shown_those_or_others_on_request(npz, capsys):
    settings = settings_of(str(npz), (12, 12))
    settings["config"]["only"] = ["2", "0"]
    shown = load_images(settings, "w")
    whole = data.load(str(npz)).test
    np.testing.assert_array_equal(shown.images, whole.images[whole.labels != 1])
    assert shown.held_out and shown.class_names == ["0", "2"]
    shown = load_images(settings, "w", str(npz))
    assert shown.held_out and len(shown.images) == len(whole.images)
    images, labels = bars(30, 4)  # Its data changed, and has no test part any more.
    np.savez("new.npz", x=images, y=labels)
    settings["config"]["data"] = "new.npz"
    shown = load_images(settings, "w")
    assert not shown.held_out and len(shown.images) == (labels != 1).sum()
    assert "trained on other images" in capsys.readouterr().err
    np.savez("new.npz", x=images[labels == 2], y=labels[labels == 2])
    with pytest.raises(UserError, match="new.npz has no class 0: its classes are 2"):
        load_images(settings, "w")


def test_labels_that_print_alike_are_one_class(tmp_path):
    y = np.array(["10", "2 ", "2", "\x1b", "10", "2"])
    np.savez(tmp_path / "a.npz", x_train=IMAGES[:6], y_train=y, x_test=IMAGES[:6])
    dataset = data.load(str(tmp_path / "a.npz"))
    assert dataset.class_names == ["\N{REPLACEMENT CHARACTER}", "10", "2"]
    assert dataset.train.labels.tolist() == [1, 2, 2, 0, 1, 2]
