"""support/images.py, folders.py: image files, and folders of them in any layout."""

import os
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from conftest import folder_with, save_images

from support import data, folders, images
from support.errors import UserError
from support.images import Format


def ramp():
    """Return an image that is red on the left and green on the right."""
    pixels = np.zeros((40, 60, 3), "uint8")
    pixels[:, :30, 0] = pixels[:, 30:, 1] = 255
    return PIL.Image.fromarray(pixels)


def read(path, size=20, color=False, **more):
    """Return all images of the only part."""
    height, width = (size, size) if isinstance(size, int) else size
    (part,), _ = images.read(str(path), Format((height, width), color, **more))
    return part.images


# Image files


@pytest.mark.parametrize("form", ["png", "jpg", "gif", "webp", "tif", "bmp"])
@pytest.mark.parametrize("color", [False, True])
def test_colors_are_kept_or_become_gray(tmp_path, form, color):
    ramp().save(tmp_path / f"a.{form}")
    (pixels,) = read(tmp_path / f"a.{form}", color=color)
    assert pixels.dtype == np.uint8
    assert pixels.shape == ((20, 20, 3) if color else (20, 20))
    left, right = pixels[:, :8].mean(axis=(0, 1)), pixels[:, -8:].mean(axis=(0, 1))
    # ITU-R 601-2: gray is 0.299 R + 0.587 G + 0.114 B.
    np.testing.assert_allclose(left, [255, 0, 0] if color else 76, atol=8)
    np.testing.assert_allclose(right, [0, 255, 0] if color else 150, atol=8)


def save_pixels(path, *values, kind="u2"):
    pages = [PIL.Image.fromarray(np.full((2, 2), value, kind)) for value in values]
    more = {"save_all": True, "append_images": pages[1:]} if len(pages) > 1 else {}
    pages[0].save(path, **more)


@pytest.mark.parametrize(
    ("brightest", "bits"),
    [(300, 10), (1023, 10), (1024, 12), (4095, 12), (16383, 14), (16384, 16)],
)
@pytest.mark.parametrize("name", ["b.png", "b.tif", "b.pgm"])
def test_16_bits_are_as_many_as_the_folder_uses(
    tmp_path, capsys, brightest, bits, name
):
    save_pixels(tmp_path / "a.png", 150)
    if name.endswith("pgm"):
        (tmp_path / name).write_bytes(f"P2 1 1 65535 {brightest}".encode())
    else:
        save_pixels(tmp_path / name, brightest)
    (part,), found = images.read(str(tmp_path), Format((1, 1)))
    white = 2**bits - 1
    expected = [255 * 150 / white, 255 * brightest / white]
    np.testing.assert_allclose(part.images.ravel(), expected, atol=0.51)
    assert found == bits
    note = f"note: white is {white} ({bits} bits); the brightest pixel is {brightest}\n"
    assert capsys.readouterr().err == note


def test_a_black_picture_of_16_bits_is_black(tmp_path):
    save_pixels(tmp_path / "a.png", 0)
    assert read(tmp_path, 1).ravel().tolist() == [0]


def test_each_page_may_have_other_bits(tmp_path):
    pages = [np.full((2, 2), 200, "u1"), np.full((2, 2), 4000, "u2")]
    first, second = map(PIL.Image.fromarray, pages)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    assert read(tmp_path, 1).ravel().tolist() == [200, round(255 * 4000 / 4095)]


def test_a_model_says_how_bright_white_is(tmp_path, capsys):
    save_pixels(tmp_path / "a.png", 3000)
    assert read(tmp_path, 1, bits=14).ravel() == [round(255 * 3000 / 16383)]
    assert read(tmp_path, 1, bits=10).ravel() == [255]
    assert capsys.readouterr().err.endswith("3000, which was clipped\n")


def test_floats_are_from_0_to_1(tmp_path):
    save_pixels(tmp_path / "a.tif", 0.4, kind="f4")
    assert read(tmp_path, 1).ravel().tolist() == [102]


@pytest.mark.parametrize(
    "pixels", [(255, "i4"), (-1, "i4"), (255, "f4"), (-1, "f4"), (np.nan, "f4")]
)
def test_pixels_whose_white_is_unknown(tmp_path, capsys, pixels):
    save_pixels(tmp_path / "a.tif", pixels[0], kind=pixels[1])
    with pytest.raises(UserError, match="has no images to train on that"):
        read(tmp_path)
    note = capsys.readouterr().err
    assert note.startswith("note: skipped 1 of 1 files: ")
    assert "whose white is unknown" in note or "floats outside 0 to 1" in note


@pytest.mark.parametrize(("background", "shade"), [("white", 255), ("black", 0)])
def test_transparent_pixels_show_the_background(tmp_path, background, shade):
    for mode, clear in (("RGBA", (9, 9, 9, 0)), ("LA", (9, 0))):
        image = PIL.Image.new(mode, (10, 10), clear)
        image.putpixel((0, 0), (128, 128, 128, 255)[-len(clear) :])
        image.save(tmp_path / "a.png")
        (pixels,) = read(tmp_path / "a.png", 10, background=background)
        assert (pixels[5:] == shade).all() and pixels[0, 0] in range(127, 130)
    palette = PIL.Image.new("P", (10, 10), 3)
    palette.putpalette([9, 9, 9] * 256)
    palette.save(tmp_path / "p.png", transparency=3)
    (pixels,) = read(tmp_path / "p.png", 5, color=True, background=background)
    assert (pixels == shade).all()


def test_drawings_in_the_color_of_the_background_are_mentioned(tmp_path, capsys):
    alpha = np.uint8(np.arange(100).reshape(10, 10))
    white = PIL.Image.fromarray(np.stack([np.full_like(alpha, 255), alpha], axis=-1))
    for i in range(3):
        white.save(tmp_path / f"{i}.png")
    PIL.Image.new("L", (9, 9), 255).save(tmp_path / "page.png")
    assert read(tmp_path).min() == 255
    note = "note: 3 of 4 files with transparent pixels became one color: train with"
    assert capsys.readouterr().err == f"{note} --background (0.png, …)\n"
    assert np.ptp(read(tmp_path, background="black"), axis=(1, 2))[:3].min() > 90
    assert capsys.readouterr().err == ""


def test_exif_rotation(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # Rotate a quarter clockwise: the left becomes the top.
    for name in "a.jpg", "a.png", "a.tif":
        ramp().save(tmp_path / name, exif=exif)
        (pixels,) = read(tmp_path / name, color=True)
        assert pixels[:8, :, 0].min() > 200 and pixels[-8:, :, 1].min() > 200


def test_images_are_cropped_around_their_center(tmp_path, capsys):
    wide = np.zeros((10, 30), "uint8")
    wide[:, 10:20] = 255
    PIL.Image.fromarray(wide).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", 10).min() == 255
    note = "note: cropped 1 of 1 files to their center: for more, train with"
    assert capsys.readouterr().err == f"{note} --image-size H W (a.png)\n"
    (pixels,) = read(tmp_path / "a.png", (5, 15))
    assert pixels.shape == (5, 15)
    assert pixels[:, 6:9].min() == 255 and pixels[:, :4].max() == 0
    assert capsys.readouterr().err == ""


def test_rounding_is_not_cropping(tmp_path, capsys):
    for i, size in enumerate([(225, 224), (224, 225), (28, 29), (451, 449)]):
        PIL.Image.new("L", size, 200).save(tmp_path / f"{i}.jpg")
    read(tmp_path, 8)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("size", [(28, 28), (50, 30), (90, 120)])
def test_a_jpeg_is_resized_as_pillow_resizes_the_whole_picture(tmp_path, size):
    """Decoding a JPEG at a fraction of its size is another, coarser filter."""
    rng = np.random.default_rng(0)
    squares = rng.integers(0, 256, (60, 80)).astype("uint8").repeat(10, 0).repeat(10, 1)
    PIL.Image.fromarray(squares).save(tmp_path / "a.jpg", quality=95)
    with PIL.Image.open(tmp_path / "a.jpg") as picture:
        expected = PIL.ImageOps.fit(picture, size[::-1])
    (pixels,) = read(tmp_path / "a.jpg", size)
    difference = np.subtract(pixels, expected, dtype=float)
    assert np.sqrt((difference**2).mean()) < 1.45  # gray levels


@pytest.mark.parametrize(("size", "decoded"), [((8, 8), 50), ((50, 30), 200)])
def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(
    tmp_path, monkeypatch, size, decoded
):
    PIL.Image.new("L", (400, 400), 200).save(tmp_path / "a.jpg")
    sizes, fit = [], PIL.ImageOps.fit

    def spy(image, *arguments):
        sizes.append(image.size)
        return fit(image, *arguments)

    monkeypatch.setattr(PIL.ImageOps, "fit", spy)
    read(tmp_path / "a.jpg", size)
    assert sizes == [(decoded, decoded)]


def test_all_pages_of_a_tiff_and_the_first_frame_of_an_animation(tmp_path, capsys):
    save_pixels(tmp_path / "a.tif", *range(100, 130), kind="u1")
    save_pixels(tmp_path / "b.tif", 250, kind="u1")
    for ending in "gif", "webp", "png":
        save_pixels(tmp_path / f"c.{ending}", 200, 10, kind="u1")
    (part,), _ = images.read(str(tmp_path), Format((2, 2)))
    shades = part.images[:, 0, 0].tolist()
    assert shades[:31] == [*range(100, 130), 250] and min(shades[31:]) > 195
    assert part.names[0] == "a.tif page 1" and part.names[29] == "a.tif page 30"
    assert part.names[30:] == ["b.tif", "c.gif", "c.png", "c.webp"]
    note = "note: used the first frame only of 3 of 5 files: to use the others, save"
    assert capsys.readouterr().err == f"{note} them as files (c.gif, …)\n"
    save_pixels(tmp_path / "a.tif", 1000, 2000)
    assert read(tmp_path / "a.tif", 1).ravel().tolist() == [62, 125]  # of 12 bits


# Folders


def layout(tmp_path, names):
    """Return, for each part, its labels by name, of a folder with these images."""
    save_images(tmp_path, names.split())
    parts, _ = images.read(str(tmp_path), Format((2, 2)))
    found = []
    for part in parts:
        labels = [""] * len(part.names) if part.labels is None else part.labels
        found.append(
            " ".join(sorted(map("=".join, zip(part.names, labels, strict=True))))
        )
    return found


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("1.png 2.png", ["1.png= 2.png="]),
        ("a/1.png b/2.png", ["a/1.png=a b/2.png=b"]),
        ("a/x/1.png a/2.png b/3.png", ["a/2.png=a a/x/1.png=a b/3.png=b"]),
        ("a/1.png a/2.png", ["a/1.png= a/2.png="]),  # A single class is none.
        ("top/in/a/1.png top/in/b/2.png", ["top/in/a/1.png=a top/in/b/2.png=b"]),
        ("train/1.png test/2.png", ["train/1.png=", "test/2.png="]),
        (
            "Train/a/1.png Train/b/2.png TEST/a/3.png",
            ["Train/a/1.png=a Train/b/2.png=b", "TEST/a/3.png=a"],
        ),
        (
            "training/a/1.png training/b/2.png validation/b/3.png",
            ["training/a/1.png=a training/b/2.png=b", "validation/b/3.png=b"],
        ),
        (
            "x/train2017/1.png x/val2017/2.png",
            ["x/train2017/1.png=", "x/val2017/2.png="],
        ),
        (
            "seg_train/seg_train/a/1.png seg_train/seg_train/b/2.png"
            " seg_test/seg_test/b/3.png",
            [
                "seg_train/seg_train/a/1.png=a seg_train/seg_train/b/2.png=b",
                "seg_test/seg_test/b/3.png=b",
            ],
        ),
        (
            "train/a/1.png train/b/2.png test1/3.png",
            ["train/a/1.png=a train/b/2.png=b", "test1/3.png="],
        ),
        (
            "train/good/1.png test/good/2.png test/cut/3.png",
            ["train/good/1.png=good", "test/cut/3.png=cut test/good/2.png=good"],
        ),
        (
            "train/images/1.png val/images/2.png",
            ["train/images/1.png=", "val/images/2.png="],
        ),
        (
            "a/train/1.png b/train/2.png a/test/3.png b/test/4.png",
            ["a/train/1.png=a b/train/2.png=b", "a/test/3.png=a b/test/4.png=b"],
        ),
        ("train/1.png plane/2.png", ["plane/2.png=plane train/1.png=train"]),
        (
            "Training/a/1.png Training/b/2.png Test/a/3.png test-many_fruits/4.png",
            ["Training/a/1.png=a Training/b/2.png=b", "Test/a/3.png=a"],
        ),
        ("trainer/1.png tester/2.png", ["tester/2.png=tester trainer/1.png=trainer"]),
    ],
)
def test_layouts_of_folders(tmp_path, names, expected):
    assert layout(tmp_path, names) == expected


def test_what_a_layout_means_is_mentioned(tmp_path, capsys):
    names = "x/train/a/1.png x/train/b/2.png x/test/a/3.png x/val/a/4.png x/sample.png"
    first, second = layout(tmp_path, names)
    assert (first.count("="), second) == (2, "x/test/a/3.png=a")
    assert capsys.readouterr().err.splitlines() == [
        f"note: reading x, the only folder with images in {tmp_path}",
        "note: treated folders as parts, not classes: train (2), test (1);"
        " left out: others (1), val (1)",
    ]


@pytest.mark.parametrize("inside", ["", "train/"])
@pytest.mark.parametrize("several", [False, True])
def test_images_beside_folders_of_images_are_ambiguous(tmp_path, inside, several):
    save_images(tmp_path, [f"{inside}{i}.jpg" for i in range(4)])
    save_images(tmp_path, [f"{inside}masks/deep/{i}.png" for i in range(4)])
    save_images(tmp_path, [f"{inside}other/1.png"] if several else [])
    save_images(tmp_path, ["test/1.png"] if inside else [])
    with pytest.raises(UserError) as failure:
        data.load(str(tmp_path))
    problem, advice = str(failure.value).split(": ")
    where = f"{tmp_path}/{inside}"
    if several:
        assert problem.endswith(
            "4 images, such as 0.jpg, beside folders, such as masks"
        )
        assert advice.startswith("to use those, move 0.jpg and the like away; to use")
    elif not inside:
        assert problem.startswith(f"{tmp_path} has 4 images, such as 0.jpg, beside the")
    if not several:
        assert advice.startswith(
            f"to use that, give --data {where}masks; to use the im"
        )


def test_arrays_in_a_folder_of_folders_are_pointed_at(tmp_path):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"")
    says = f"to read train-images-idx3-ubyte, give --data {tmp_path}/MNIST/raw$"
    with pytest.raises(UserError, match=says):
        data.load(str(tmp_path))


def test_names_are_those_of_the_files(tmp_path):
    names = ["a 1.png", "a  1.png", "b\u3000.png", "{d}%s.png"]
    save_images(tmp_path, names)
    (part,), _ = images.read(str(tmp_path), Format((1, 1)))
    shades = dict(zip(part.names, part.images.ravel().tolist(), strict=True))
    assert shades == {name: 255 - 3 * i for i, name in enumerate(names)}


def test_16_bits_per_color_lose_half_of_them(tmp_path, capsys):
    pixels = np.full((2, 2, 3), 0x1234, ">u2")
    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    with open(tmp_path / "a.png", "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, content in chunks:
            crc = struct.pack(">I", zlib.crc32(kind + content))
            file.write(struct.pack(">I", len(content)) + kind + content + crc)
    assert (read(tmp_path, 2, color=True) == 0x12).all()
    note = "note: read the upper 8 bits only of 1 of 1 files, which have 16 per color"
    assert capsys.readouterr().err == f"{note} (a.png)\n"


def test_folders_without_images_are_no_classes(tmp_path, capsys):
    save_images(tmp_path, [f"{i}.jpg" for i in range(4)])
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0.txt").write_text("0")
    assert len(read(tmp_path)) == 4
    note = "note: skipped 1 of 5 files: not images (labels/0.txt)\n"
    assert capsys.readouterr().err == note


def test_litter_is_not_mentioned(tmp_path, capsys):
    save_images(tmp_path, ["a/1.png", "b/2.png", ".ipynb_checkpoints/1.png"])
    litter = "a/.DS_Store a/Thumbs.db __MACOSX/a/._1.png .git/x b/desktop.ini b/.x.png"
    for name in litter.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    assert len(read(tmp_path)) == 2
    assert capsys.readouterr().err == ""


def test_links_to_folders_are_followed(tmp_path):
    save_images(tmp_path, ["near/cat/1.png", "far/old/2.png"])
    (tmp_path / "near" / "dog").symlink_to(tmp_path / "far")
    (part,), _ = images.read(str(tmp_path / "near"), Format())
    assert part.names == ["cat/1.png", "dog/old/2.png"]
    assert part.labels.tolist() == ["cat", "dog"]


def save_bomb(path):
    PIL.Image.new("1", (20_000, 20_000)).save(path)


def save_cut(path, size=900):
    ramp().resize((400, 400)).save(path, "jpeg")
    path.write_bytes(path.read_bytes()[:size])


SKIPPED = {
    "dog/link": (lambda path: path.symlink_to("gone"), "files: No such file or"),
    "dog/b.png": (lambda path: path.touch(), "files: not images"),
    "dog/c.jpg": (save_cut, "files: image file is truncated"),
    "dog/bomb.png": (save_bomb, "files: Image size"),
    "dog/{x}.HEIC": (
        lambda path: path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(500)),
        "files: to read HEIC, python -m pip install pillow-heif",
    ),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_what_cannot_be_read_is_skipped(tmp_path, capsys, name):
    save_images(tmp_path, ["dog/a.png", "dog/d.png"])
    make, reason = SKIPPED[name]
    make(tmp_path / name)
    (part,), _ = images.read(str(tmp_path), Format((2, 2)))
    assert part.names == ["dog/a.png", "dog/d.png"]
    assert part.images[:, 0, 0].tolist() == [255, 252]
    note = next(n for n in capsys.readouterr().err.splitlines() if "skipped" in n)
    assert note.startswith(f"note: skipped 1 of 3 {reason}")
    assert note.endswith(f" ({name})")


def test_images_to_test_with_do_not_replace_those_to_train_on(tmp_path):
    save_images(tmp_path, [f"test/{i}.png" for i in range(6)])
    (tmp_path / "train").mkdir()
    save_cut(tmp_path / "train" / "0.jpg")
    with pytest.raises(UserError, match="has no images to train on"):
        data.load(str(tmp_path))


def test_each_reason_has_a_line_and_a_number(tmp_path, capsys):
    save_images(tmp_path, ["good.png"])
    for name in "1.png", "2.txt", "{x}.png":
        (tmp_path / name).write_bytes(b"no image")
    for i in range(3):  # which lack another number of bytes each
        save_cut(tmp_path / f"cut{i}.jpg", 900 + 10 * i)
    assert len(read(tmp_path)) == 1
    none, cut = sorted(capsys.readouterr().err.splitlines())[::-1]
    assert none == "note: skipped 3 of 7 files: not images (1.png, …)"
    assert cut == "note: skipped 3 of 7 files: image file is truncated (cut0.jpg, …)"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_named_pipes_are_not_opened(tmp_path):
    save_images(tmp_path, ["a.png"])
    for name in ("b.png", "train-images-idx3-ubyte", "c.npz"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="fewer than 5 images"):
        data.load(str(tmp_path))
    with pytest.raises(UserError, match="c.npz is not a file"):
        data.load(str(tmp_path / "c.npz"))


def test_folders_without_images(tmp_path):
    with pytest.raises(UserError, match="has no readable files"):
        data.load(str(tmp_path))
    for name in "a.png", "b.txt":
        (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(UserError, match="has no images to train on that"):
        data.load(str(tmp_path))
    with pytest.raises(UserError, match="has no images to train on that"):
        data.load(str(tmp_path / "a.png"))


def test_a_folder_without_permission():
    with folder_with(0o000) as folder, pytest.raises(UserError, match="no readable f"):
        data.load(str(folder))


def test_the_split_does_not_depend_on_how_files_are_listed(tmp_path, monkeypatch):
    names = [f"{kind}/{i:02}.png" for kind in "ab" for i in range(20)]
    save_images(tmp_path, names)
    expected = data.load(str(tmp_path))
    listed = folders.glob.glob
    monkeypatch.setattr(folders.glob, "glob", lambda *a, **k: listed(*a, **k)[::-1])
    found = data.load(str(tmp_path))
    assert found.test.names == expected.test.names
    assert found.checksum == expected.checksum
    np.testing.assert_array_equal(found.test.images, expected.test.images)
    shades = {name: 255 - 3 * i for i, name in enumerate(names)}
    for part in found.train, found.test:
        assert [shades[name] for name in part.names] == part.images[:, 0, 0].tolist()
        assert [name[0] for name in part.names] == ["ab"[i] for i in part.labels]
