"""support/readers.py: every kind of file, and hostile ones."""

import gzip
import os
import pathlib
import re
import shutil
import struct
import tempfile
import zipfile

import numpy as np
import PIL.Image
import pytest
from conftest import bars, idx

from support import data, readers
from support.cli import UserError

IMAGES, LABELS = bars(25, 0)
LABELS = LABELS.astype("uint8")


# .npz files


def npy(shape, content):
    """Return an .npy file of bytes whose header promises a shape."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + content


def npz_file(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x_train.npy", content)


HOSTILE_NPZ = {
    "text": lambda path: path.write_text("not a zip file"),
    "empty": lambda path: path.touch(),
    "npy": lambda path: path.write_bytes(npy((1,), b"1")),
    "more than there is": lambda path: npz_file(path, npy((9, 9, 9), b"1")),
    "exabytes": lambda path: npz_file(path, npy((2**20,) * 3, b"1")),
    "negative": lambda path: npz_file(path, npy((-5, 2, 2), b"1")),
    "header of 1 MB": lambda path: npz_file(path, npy((1,) * 20000, b"1")),
    "pickle": lambda path: np.savez(path, x_train=np.array([{}, []], object)),
    "no array": lambda path: npz_file(path, b"hello"),
    "other names": lambda path: np.savez(path, images=IMAGES),
    "wrong CRC": lambda path: path.write_bytes(damaged(path)),
    "cut": lambda path: path.write_bytes(damaged(path)[:-60]),
}


def damaged(path):
    np.savez(path, x_train=IMAGES)
    content = bytearray(path.read_bytes())
    content[1000] ^= 255
    return content


@pytest.mark.parametrize("kind", HOSTILE_NPZ)
def test_hostile_npz_files_are_told_in_a_line(tmp_path, kind):
    path = tmp_path / "a.npz"
    HOSTILE_NPZ[kind](path)
    with pytest.raises(UserError, match=re.escape(str(path))) as failure:
        data.load(str(path))
    assert str(failure.value).count("\n") == 0
    assert "unsafe" not in str(failure.value)  # NumPy's advice about pickles


# IDX files


def idx_file(folder, name, content, zipped):
    path = folder / (name + ".gz" * zipped)
    path.write_bytes(gzip.compress(content) if zipped else content)
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_truncated_idx_files(tmp_path, zipped):
    path = idx_file(tmp_path, "a", idx(IMAGES[:2, :3, :2]), zipped)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(UserError, match="cannot read .*; download it again"):
            readers.read_idx(path)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        idx(IMAGES) + b"more",
        struct.pack(">HBBIII", 0, 8, 3, *[2**32 - 1] * 3),
        struct.pack(">HBBIII", 0, 8, 3, 2**31, 2**31, 4),  # 2**64 wraps around to 0
        struct.pack(">HBBIII", 0, 13, 3, 1, 1, 1) + bytes(4),  # a float
        struct.pack(">HBB", 0, 8, 200) + b"\0\0\0\1" * 200 + b"1",
        b"\x89PNG\r\n",
        b"",
    ],
)
def test_hostile_idx_files(tmp_path, content, zipped):
    path = idx_file(tmp_path, "train-images-idx3-ubyte", content, zipped)
    with pytest.raises(UserError, match=f"cannot read {path}: .*; download it again"):
        data.load(str(tmp_path))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("parts", [4, 2, 1])
def test_folders_of_idx_files(tmp_path, zipped, parts):
    arrays = {
        "train-images-idx3-ubyte": IMAGES,
        "train-labels-idx1-ubyte": LABELS,
        "t10k-images.idx3-ubyte": IMAGES[:5],  # Some copies have a period here.
        "t10k-labels.idx1-ubyte": LABELS[:5],
    }
    arrays = dict(list(arrays.items())[:parts])
    for name, array in arrays.items():
        idx_file(tmp_path, name, idx(array), zipped)
    (tmp_path / "train-images-idx3-ubyte-folder").mkdir()
    read = readers.read_idx_folder(tmp_path)
    for name, array in zip(
        ["x_train", "y_train", "x_test", "y_test"], arrays.values(), strict=False
    ):
        np.testing.assert_array_equal(read.pop(name), array)
    assert not read


def test_emnist_is_turned_upright_and_its_first_set_is_read(tmp_path):
    for part, images in ("train", IMAGES), ("test", IMAGES[:5]):
        for split, stored in ("digits", images), ("mnist", images[:2]):
            name = f"emnist-{split}-{part}"
            turned = stored.swapaxes(1, 2)
            idx_file(tmp_path, f"{name}-images-idx3-ubyte", idx(turned), True)
            idx_file(tmp_path, f"{name}-labels-idx1-ubyte", idx(LABELS), True)
    read = readers.read_idx_folder(tmp_path)
    np.testing.assert_array_equal(read["x_train"], IMAGES)
    np.testing.assert_array_equal(read["x_test"], IMAGES[:5])
    np.testing.assert_array_equal(read["y_test"], LABELS)


# Image files


def ramp(mode="RGB", size=(60, 40)):
    """Return an image that is red on the left and green on the right."""
    pixels = np.zeros((size[1], size[0], 3), "uint8")
    pixels[:, : size[0] // 2, 0] = pixels[:, size[0] // 2 :, 1] = 255
    return PIL.Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("form", ["png", "jpg", "gif", "bmp", "webp", "tiff"])
@pytest.mark.parametrize("color", [False, True])
def test_every_format(tmp_path, form, color):
    ramp().save(tmp_path / f"a.{form}")
    pixels = readers.read_image(tmp_path / f"a.{form}", 20, color)
    assert pixels.dtype == np.uint8
    assert pixels.shape == ((20, 20, 3) if color else (20, 20))
    left, right = pixels[:, :8].mean(axis=(0, 1)), pixels[:, -8:].mean(axis=(0, 1))
    # ITU-R 601-2: gray is 0.299 R + 0.587 G + 0.114 B.
    np.testing.assert_allclose(left, [255, 0, 0] if color else 76, atol=8)
    np.testing.assert_allclose(right, [0, 255, 0] if color else 150, atol=8)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "LA", "1", "YCbCr"])
def test_every_mode(tmp_path, mode):
    gray = np.tile(np.repeat(np.uint8([0, 255]), 20), (40, 1))
    image = PIL.Image.fromarray(gray).convert("RGB").convert(mode)
    image.save(tmp_path / "a.tiff")
    pixels = readers.read_image(tmp_path / "a.tiff", 40, False)
    assert pixels[:, :18].max() <= 1 and pixels[:, 22:].min() >= 254


def save_pixels(path, pixels):
    PIL.Image.fromarray(np.full((2, 2), *pixels)).save(path)


@pytest.mark.parametrize(
    ("name", "save", "expected"),
    [
        ("a.png", lambda path: save_pixels(path, (26214, "u2")), 102),  # 0.4 · 65535
        ("a.tif", lambda path: save_pixels(path, (26214, "u2")), 102),
        ("a.pgm", lambda path: path.write_bytes(b"P2 1 1 65535 26214"), 102),
    ],
)
def test_more_than_8_bits(tmp_path, name, save, expected):
    save(tmp_path / name)
    assert (readers.read_image(tmp_path / name, 1, False) == expected).all()


@pytest.mark.parametrize(
    "pixels", [(255, "i4"), (-1, "i4"), (255, "f4"), (-1, "f4"), (np.nan, "f4")]
)
def test_pixels_whose_white_is_unknown(tmp_path, pixels):
    save_pixels(tmp_path / "a.tif", pixels)
    with pytest.raises(ValueError, match="whose range is unknown|floats outside"):
        readers.read_image(tmp_path / "a.tif", 8, False)


def test_transparent_pixels_become_white(tmp_path):
    for mode, clear in (("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))):
        PIL.Image.new(mode, (10, 10), clear).save(tmp_path / "a.png")
        assert readers.read_image(tmp_path / "a.png", 5, False).min() == 255
    palette = PIL.Image.new("P", (10, 10), 3)
    palette.putpalette([0, 0, 0] * 256)
    palette.save(tmp_path / "p.png", transparency=3)
    assert readers.read_image(tmp_path / "p.png", 5, True).min() == 255


def test_exif_rotation(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # Rotate a quarter clockwise: the left becomes the top.
    ramp().save(tmp_path / "a.jpg", exif=exif)
    pixels = readers.read_image(tmp_path / "a.jpg", 20, True)
    assert pixels[:8, :, 0].min() > 200 and pixels[-8:, :, 1].min() > 200


def test_images_are_cropped_to_their_center(tmp_path):
    wide = np.zeros((10, 30), "uint8")
    wide[:, 10:20] = 255
    PIL.Image.fromarray(wide).save(tmp_path / "a.png")
    assert readers.read_image(tmp_path / "a.png", 10, False).min() == 255


# Folders of images


def image_folder(root, names, not_images=()):
    """Save gray squares, each 3 lighter than the last, and files that are no images."""
    for i, name in enumerate([*names, *not_images]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name in names:
            PIL.Image.new("L", (30, 30), 3 * i).save(root / name)
        else:
            (root / name).write_bytes(b"no image")


def test_subfolders_are_classes(tmp_path, capsys):
    names = [f"{kind}/{i}.png" for kind in ("cat", "dog/old") for i in range(10)]
    image_folder(tmp_path, names, ["cat/\nx.txt", "a.png", ".hid/x.png", "dog/.x.png"])
    arrays = readers.read_image_folder(tmp_path, 8, False)
    assert arrays["x_train"].shape == (20, 8, 8)
    assert arrays["x_train"][:, 0, 0].tolist() == list(range(0, 60, 3))
    assert arrays["y_train"].tolist() == ["cat"] * 10 + ["dog"] * 10
    note = "note: skipped 2 of 22 files (a.png: not an image, ...)\n"
    assert capsys.readouterr().err == note


def test_unreadable_names_and_files_outside_of_classes_are_skipped(tmp_path, capsys):
    image_folder(tmp_path, ["dog/a.png"])
    for name, reason in (("cat", "No such file"), ("b.png", "not in the folder of a")):
        if name == "cat":
            (tmp_path / name).symlink_to("gone")
        else:
            (tmp_path / "cat").unlink()
            image_folder(tmp_path, [name])
        assert len(readers.read_image_folder(tmp_path, 8, False)["x_train"]) == 1
        note = f"note: skipped 1 of 2 files ({name}: {reason}"
        assert capsys.readouterr().err.startswith(note)


def test_a_folder_without_subfolders_has_no_classes(tmp_path, capsys):
    image_folder(tmp_path, [f"{i}.png" for i in range(10)])
    arrays = readers.read_image_folder(tmp_path, 8, True)
    assert arrays.keys() == {"x_train"}
    assert arrays["x_train"].shape == (10, 8, 8, 3)
    assert capsys.readouterr() == ("", "")


def test_links_to_class_folders_are_followed(tmp_path):
    image_folder(tmp_path / "far", ["1.png", "2.png"])
    image_folder(tmp_path / "near" / "cat", ["3.png"])
    (tmp_path / "near" / "dog").symlink_to(tmp_path / "far")
    arrays = readers.read_image_folder(tmp_path / "near", 8, False)
    assert arrays["y_train"].tolist() == ["cat", "dog", "dog"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_named_pipes_are_not_opened(tmp_path):
    image_folder(tmp_path, ["a.png"])
    for name in ("b.png", "train-images-idx3-ubyte", "c.npz"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="fewer than 5 images"):
        data.load(str(tmp_path))
    with pytest.raises(UserError, match="c.npz is not a data set"):
        data.load(str(tmp_path / "c.npz"))


def test_folders_without_images(tmp_path):
    with pytest.raises(UserError, match="has no readable files"):
        readers.read_image_folder(tmp_path, 28, False)
    image_folder(tmp_path, [], ["a.png", "b.txt"])
    says = r"has no images .*: skipped 2 of 2 files \(a.png: not an image, ...\)"
    with pytest.raises(UserError, match=says):
        readers.read_image_folder(tmp_path, 28, False)


def test_decompression_bombs_are_skipped(tmp_path, capsys):
    image_folder(tmp_path, ["a.png"])
    PIL.Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert len(readers.read_image_folder(tmp_path, 8, False)["x_train"]) == 1
    assert "files (bomb.png: Image size" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
def test_a_folder_without_permission():
    # Other users cannot enter pytest's own folders.
    folder = pathlib.Path(tempfile.mkdtemp())
    image_folder(folder, ["a.png"])
    folder.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)  # root may read everything
        with pytest.raises(UserError, match="no readable files"):
            data.load(str(folder))
    finally:
        os.seteuid(user)
        folder.chmod(0o700)
        shutil.rmtree(folder)
