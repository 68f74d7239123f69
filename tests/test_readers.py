"""support/readers.py: each kind of file, and what is wrong with it."""

import gzip
import os
import pathlib
import re
import shutil
import struct
import tempfile
import zipfile
import zlib

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import PIL.Image
import pytest
from conftest import bars, idx

from support import readers

# .npz files

FLOATS = np.linspace(0, 1, 20 * 12 * 12).reshape(20, 12, 12)


def spoiled(value):
    floats = FLOATS.copy()
    floats[3, 4, 5] = value
    return floats


def test_npz_keeps_every_image_and_label(npz):
    arrays = readers.read_npz(npz)
    assert arrays.keys() == {"x_train", "y_train", "x_test", "y_test"}
    np.testing.assert_array_equal(arrays["x_train"], bars(250, 0)[0])
    np.testing.assert_array_equal(arrays["y_test"], bars(60, 1)[1])
    assert arrays["x_train"].dtype == np.uint8


def test_floats_become_bytes_and_other_arrays_are_left_out(tmp_path):
    path = tmp_path / "float.npz"
    np.savez(path, x_train=FLOATS, x_test=FLOATS[..., None], more=FLOATS)
    arrays = readers.read_npz(path)
    assert arrays.keys() == {"x_train", "x_test"}
    for images in arrays.values():
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(images, np.floor(FLOATS * 255 + 0.5))


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (np.array([{}, []], object), "plain arrays"),
        (np.zeros((20, 12), "uint8"), "(20, 12)"),
        (np.zeros((20, 12, 12, 2), "uint8"), "(20, 12, 12, 2)"),
        (np.zeros((0, 12, 12), "uint8"), "(0, 12, 12)"),
        (np.zeros((20, 12, 12), "int32"), "int32"),
        (spoiled(np.nan), "NaN"),
        (spoiled(np.inf), "outside [0, 1]"),
        (spoiled(-0.1), "outside [0, 1]"),
        (spoiled(1.1), "outside [0, 1]"),
    ],
)
@pytest.mark.parametrize("name", ["x_train", "x_test"])
def test_arrays_that_hold_no_images(tmp_path, name, images, says):
    path = tmp_path / "bad.npz"
    np.savez(path, **{"x_train": bars(20, 0)[0], name: images})
    with pytest.raises(ValueError, match=re.escape(says)) as failure:
        readers.read_npz(path)
    assert str(path) in str(failure.value)


def test_files_that_are_no_npz(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("not a zip file")
    with pytest.raises(ValueError, match="a.npz is no .npz file"):
        readers.read_npz(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x_train.npy", b"hello")
    with pytest.raises(ValueError, match="a.npz has the shape"):
        readers.read_npz(path)
    np.savez(path, images=FLOATS)
    with pytest.raises(ValueError, match="a.npz has no array x_train"):
        readers.read_npz(path)


# IDX files

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
    np.testing.assert_array_equal(readers.read_idx(path), array)


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
        readers.read_idx(path)


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
            readers.read_idx(tmp_path / name)


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
    labels = labels.astype("uint8")
    arrays = [images, labels, images[:5], labels[:5]][:parts]
    for name, array in zip(NAMES, arrays, strict=False):
        content = gzip.compress(idx(array)) if zipped else idx(array)
        (tmp_path / (name + ".gz" * zipped)).write_bytes(content)
    read = readers.read_idx_folder(tmp_path)
    assert list(read) == ["x_train", "y_train", "x_test", "y_test"][:parts]
    for array, expected in zip(read.values(), arrays, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_emnist_is_turned_upright(tmp_path):
    images, _ = bars(10, 0)
    stored = np.ascontiguousarray(images.swapaxes(1, 2))
    for part in "train", "test":
        path = tmp_path / f"emnist-letters-{part}-images-idx3-ubyte"
        path.write_bytes(idx(stored))
    for read in readers.read_idx_folder(tmp_path).values():
        np.testing.assert_array_equal(read, images)


@pytest.mark.parametrize(("cut", "says"), [(9, "IDX"), (0, r"\(9, 0, 0\)")])
def test_truncated_gzip_and_images_of_0x0(tmp_path, cut, says):
    content = gzip.compress(idx(np.zeros((9, 0, 0), "uint8")))
    (tmp_path / (NAMES[0] + ".gz")).write_bytes(content[: len(content) - cut])
    with pytest.raises(ValueError, match=says):
        readers.read_idx_folder(tmp_path)


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
    pixels = readers.read_image(tmp_path / f"a.{form}", 20, color)
    assert pixels.shape == ((20, 20, 3) if color else (20, 20))
    left, right = pixels[:, :8].mean(axis=(0, 1)), pixels[:, -8:].mean(axis=(0, 1))
    # Grey as ITU-R 601-2 has it: 0.299 R + 0.587 G.
    np.testing.assert_allclose(left, [255, 0, 0] if color else 76, atol=8)
    np.testing.assert_allclose(right, [0, 255, 0] if color else 150, atol=8)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "LA", "1", "I;16"])
def test_every_mode(tmp_path, mode):
    grey = np.tile(np.repeat(np.uint8([0, 255]), 20), (40, 1))
    image = PIL.Image.fromarray(grey)
    if mode == "I;16":
        image = PIL.Image.fromarray(grey.astype("uint16") * 257 // 2)
    else:
        image = image.convert("RGB").convert(mode)
    image.save(tmp_path / "a.tiff")
    pixels = readers.read_image(tmp_path / "a.tiff", 40, False)
    assert pixels[:, :18].max() <= 1
    np.testing.assert_allclose(pixels[:, 22:], 128 if mode[0] == "I" else 255, atol=1)


@pytest.mark.parametrize(
    ("white", "kind"),
    [(255, "i4"), (2**31 - 1, "i4"), (-1, "i4"), (255, "f4"), (np.nan, "f4")],
)
def test_32_bits_whose_white_nobody_knows_are_skipped(tmp_path, capsys, white, kind):
    image_folder(tmp_path, ["a.png"])
    pixels = np.array([[0, white]] * 2, kind)
    PIL.Image.fromarray(pixels).save(tmp_path / "b.tif")
    assert len(readers.read_image_folder(tmp_path, 8, False)["x_train"]) == 1
    assert "skipped 1 of 2" in (told := capsys.readouterr().err)
    assert "b.tif: of 32 bits" in told


def test_32_bits_whose_white_is_known(tmp_path):
    PIL.Image.fromarray(np.full((2, 2), 0.2, "f4")).save(tmp_path / "a.tif")
    assert (readers.read_image(tmp_path / "a.tif", 2, False) == 51).all()
    (tmp_path / "a.pgm").write_bytes(b"P2 1 1 65535 26214")
    assert (readers.read_image(tmp_path / "a.pgm", 2, False) == 102).all()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_pipes_are_not_waited_for(tmp_path, capsys):
    for name in ("b.png", "train-images-idx3-ubyte", "c.npz"):
        os.mkfifo(tmp_path / name)
    image_folder(tmp_path, ["a.png"])
    assert len(readers.read_image_folder(tmp_path, 8, False)["x_train"]) == 1
    assert "skipped 3 of 4" in capsys.readouterr().err
    for read, name in (readers.read_idx_folder, ""), (readers.read_npz, "c.npz"):
        with pytest.raises(OSError, match="is no file to read"):
            read(tmp_path / name)


def test_links_are_followed_but_not_in_circles(tmp_path, capsys):
    image_folder(tmp_path / "far", ["1.png", "2.png"])
    image_folder(tmp_path / "near" / "cat", ["3.png"])
    (tmp_path / "near" / "dog").symlink_to(tmp_path / "far")
    (tmp_path / "near" / "cat" / "up").symlink_to(tmp_path / "near")
    (tmp_path / "near" / "lost.png").symlink_to(tmp_path / "no")
    arrays = readers.read_image_folder(tmp_path / "near", 8, False)
    assert arrays["y_train"].tolist() == ["cat", "dog", "dog"]
    assert "skipped 1 of 4" in capsys.readouterr().err


def test_transparency_becomes_white(tmp_path):
    for mode, clear in (("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))):
        PIL.Image.new(mode, (10, 10), clear).save(tmp_path / "a.png")
        assert readers.read_image(tmp_path / "a.png", 5, False).min() == 255
    palette = PIL.Image.new("P", (10, 10), 3)
    palette.putpalette([0, 0, 0] * 256)
    palette.save(tmp_path / "p.png", transparency=3)
    assert readers.read_image(tmp_path / "p.png", 5, True).min() == 255


def test_exif_rotation_is_honoured(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: the left becomes the top
    ramp().save(tmp_path / "a.jpg", exif=exif)
    pixels = readers.read_image(tmp_path / "a.jpg", 20, True)
    assert pixels[:8, :, 0].min() > 200 and pixels[-8:, :, 1].min() > 200


def test_aspect_is_kept_by_a_centre_crop(tmp_path):
    wide = np.zeros((10, 30), "uint8")
    wide[:, 10:20] = 255
    PIL.Image.fromarray(wide).save(tmp_path / "a.png")
    assert readers.read_image(tmp_path / "a.png", 10, False).min() == 255


def image_folder(root, names, spoil=()):
    """Grey squares, a little lighter one by one, and files that are no images."""
    for shade, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("L", (30, 30), shade * 3).save(root / name)
    for name in spoil:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"no image")


def test_subfolders_are_classes(tmp_path, capsys):
    names = [f"{group}/{i}.png" for group in ("cat", "dog") for i in range(10)]
    image_folder(tmp_path, names, ["cat/notes.txt", "readme.txt", ".hidden/x.png"])
    arrays = readers.read_image_folder(tmp_path, 8, False)
    assert arrays["x_train"].shape == (20, 8, 8)
    # In the order of the names, whichever order the file system has.
    assert arrays["x_train"][:, 0, 0].tolist() == list(range(0, 60, 3))
    assert arrays["y_train"].tolist() == ["cat"] * 10 + ["dog"] * 10
    note = capsys.readouterr().err
    assert note.startswith("note: skipped 2 of 22 files")
    assert note.count("\n") == 1


def test_flat_folder_has_no_classes(tmp_path, capsys):
    image_folder(tmp_path, [f"{i}.png" for i in range(10)])
    arrays = readers.read_image_folder(tmp_path, 8, True)
    assert arrays.keys() == {"x_train"}
    assert arrays["x_train"].shape == (10, 8, 8, 3)
    assert capsys.readouterr().err == ""


def test_folder_without_images(tmp_path):
    image_folder(tmp_path, [], spoil=["a.png", "b.txt"])
    with pytest.raises(ValueError, match="holds no images, only 2 other files"):
        readers.read_image_folder(tmp_path, 28, False)


@pytest.mark.parametrize(
    ("side", "error"),
    [
        (10_000, PIL.Image.DecompressionBombWarning),
        (20_000, PIL.Image.DecompressionBombError),
    ],
)
def test_decompression_bomb_is_skipped(tmp_path, capsys, side, error):
    image_folder(tmp_path, [f"{i}.png" for i in range(5)])
    # A PNG of side × side pixels: its header, and no more.
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    chunk += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    assert len(readers.read_image_folder(tmp_path, 8, False)["x_train"]) == 5
    assert "skipped 1 of 6" in capsys.readouterr().err
    with pytest.raises(error):
        readers.read_image(tmp_path / "bomb.png", 28, False)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
def test_folder_without_permission():
    # Outside of pytest's own folders, which hide all that is in them from others.
    folder = pathlib.Path(tempfile.mkdtemp())
    image_folder(folder, ["a.png"])
    folder.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)  # root may read everything
        with pytest.raises(PermissionError):
            readers.read_image_folder(folder, 8, False)
    finally:
        os.seteuid(user)
        folder.chmod(0o700)
        shutil.rmtree(folder)
