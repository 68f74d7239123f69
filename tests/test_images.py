# Image files


def ramp():
    """Return an image that is red on the left and green on the right."""
    pixels = np.zeros((40, 60, 3), "uint8")
    pixels[:, :30, 0] = pixels[:, 30:, 1] = 255
    return PIL.Image.fromarray(pixels)


@pytest.mark.parametrize("form", ["png", "jpg", "gif"])
@pytest.mark.parametrize("color", [False, True])
def test_colors_are_kept_or_become_gray(tmp_path, form, color):
    ramp().save(tmp_path / f"a.{form}")
    pixels = readers.read_image(tmp_path / f"a.{form}", 20, color)
    assert pixels.dtype == np.uint8
    assert pixels.shape == ((20, 20, 3) if color else (20, 20))
    left, right = pixels[:, :8].mean(axis=(0, 1)), pixels[:, -8:].mean(axis=(0, 1))
    # ITU-R 601-2: gray is 0.299 R + 0.587 G + 0.114 B.
    np.testing.assert_allclose(left, [255, 0, 0] if color else 76, atol=8)
    np.testing.assert_allclose(right, [0, 255, 0] if color else 150, atol=8)


def save_pixels(path, value, kind):
    PIL.Image.fromarray(np.full((2, 2), value, kind)).save(path)


def test_16_bits_and_floats_from_0_to_1_become_8_bits(tmp_path):
    for name in "a.png", "a.tif":
        save_pixels(tmp_path / name, 26214, "u2")  # 0.4 · 65535
    (tmp_path / "a.pgm").write_bytes(b"P2 1 1 65535 26214")
    save_pixels(tmp_path / "b.tif", 0.4, "f4")
    for path in tmp_path.iterdir():
        assert (readers.read_image(path, 1, False) == 102).all()


@pytest.mark.parametrize(
    "pixels", [(255, "i4"), (-1, "i4"), (255, "f4"), (-1, "f4"), (np.nan, "f4")]
)
def test_pixels_whose_white_is_unknown(tmp_path, pixels):
    save_pixels(tmp_path / "a.tif", *pixels)
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


def test_subfolders_and_links_to_folders_are_classes(tmp_path, capsys):
    kinds, folder = ("near/cat", "far/old"), tmp_path / "near"
    save_images(tmp_path, [f"{kind}/{i}.png" for kind in kinds for i in range(10)])
    (folder / "dog").symlink_to(tmp_path / "far")
    (folder / ".hidden").mkdir()
    for name in "cat/\nx.txt", "a.png", ".hidden/x.png", "dog/.x.png":
        (folder / name).write_bytes(b"no image")
    arrays = readers.read_image_folder(folder, 8, False)
    assert arrays["x_train"].shape == (20, 8, 8)
    assert arrays["x_train"][:, 0, 0].tolist() == list(range(0, 60, 3))
    assert arrays["y_train"].tolist() == ["cat"] * 10 + ["dog"] * 10
    note = "note: skipped 2 of 22 files (a.png: not an image, ...)\n"
    assert capsys.readouterr().err == note


def save_bomb(path):
    PIL.Image.new("1", (20_000, 20_000)).save(path)


SKIPPED = {
    "cat": (lambda path: path.symlink_to("gone"), "No such file"),
    "b.png": (lambda path: path.touch(), "not an image"),
    "c.png": (lambda path: ramp().save(path), "not in the folder of a class"),
    "dog/bomb.png": (save_bomb, "Image size"),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_what_is_no_image_of_a_class_is_skipped(tmp_path, capsys, name):
    save_images(tmp_path, ["dog/a.png"])
    make, reason = SKIPPED[name]
    make(tmp_path / name)
    assert len(readers.read_image_folder(tmp_path, 8, False)["x_train"]) == 1
    note = f"note: skipped 1 of 2 files ({name}: {reason}"
    assert capsys.readouterr().err.startswith(note)


def test_a_folder_without_subfolders_has_no_classes(tmp_path, capsys):
    save_images(tmp_path, [f"{i}.png" for i in range(10)])
    arrays = readers.read_image_folder(tmp_path, 8, True)
    assert arrays.keys() == {"x_train"}
    assert arrays["x_train"].shape == (10, 8, 8, 3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_named_pipes_are_not_opened(tmp_path):
    save_images(tmp_path, ["a.png"])
    for name in ("b.png", "train-images-idx3-ubyte", "c.npz"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="fewer than 5 images"):
        data.load(str(tmp_path))
    with pytest.raises(UserError, match="c.npz is not a data set"):
        data.load(str(tmp_path / "c.npz"))


def test_folders_without_images(tmp_path):
    with pytest.raises(UserError, match="has no readable files"):
        readers.read_image_folder(tmp_path, 28, False)
    for name in "a.png", "b.txt":
        (tmp_path / name).write_bytes(b"no image")
    says = r"has no images .*: skipped 2 of 2 files \(a.png: not an image, ...\)"
    with pytest.raises(UserError, match=says):
        readers.read_image_folder(tmp_path, 28, False)


def test_a_folder_without_permission():
    with folder_with(0o000) as folder, pytest.raises(UserError, match="no readable f"):
        data.load(str(folder))
