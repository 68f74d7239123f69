"""support/pictures.py: what the pictures share."""

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest

from support import pictures


@pytest.mark.parametrize("classes", [0, 1, 3, 10, 11, 47, 200])
def test_every_class_has_its_own_colour(classes):
    colours = pictures.class_colours(classes)
    assert colours.shape[1] == 4
    assert len(np.unique(colours, axis=0)) >= max(1, classes)


# What somebody sees who lacks one kind of cone, in linear RGB: Machado, Oliveira &
# Fernandes 2009, severity 1.
SEEN_BY = {
    "all cones": np.eye(3),
    "protanopes": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopes": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopes": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(linear):
    """CIE L*a*b* of linear sRGB, white being D65 (CIE 15:2004, IEC 61966-2-1)."""
    xyz = np.clip(linear, 0, 1) @ np.transpose(
        [
            [0.4124, 0.3576, 0.1805],
            [0.2126, 0.7152, 0.0722],
            [0.0193, 0.1192, 0.9505],
        ]
    )
    x, y, z = np.cbrt(xyz / [0.9505, 1, 1.089]).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("who", SEEN_BY)
def test_ten_classes_are_told_apart_by_all(who):
    colours = pictures.class_colours(10)[:, :3]
    linear = np.where(
        colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4
    )
    seen = lab(linear @ np.transpose(SEEN_BY[who]))
    distances = np.linalg.norm(seen[:, None] - seen, axis=-1)
    # 2.3 is just noticeable; of matplotlib's own, tab10, protanopes see 4.6.
    assert distances[np.triu_indices(10, 1)].min() > 12
    if who == "all cones":
        lightness = np.sort(seen[:, 0])
        assert np.diff(lightness).min() > 4
        assert lightness[0] > 35 and lightness[-1] < 90  # on white and on black


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3)])
@pytest.mark.parametrize("columns", [1, 3, 4, 7])
def test_tiles_lie_row_by_row_and_the_rest_is_black(shape, columns):
    images = np.random.default_rng(0).integers(1, 256, (7, *shape)).astype("uint8")
    picture = pictures.tile(images, columns)
    rows = {1: 7, 3: 3, 4: 2, 7: 1}[columns]
    assert picture.shape == (5 * rows, 6 * columns, *shape[2:])
    assert picture.dtype == np.uint8
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        cell = picture[5 * row : 5 * row + 5, 6 * column : 6 * column + 6]
        expected = images[place] if place < 7 else np.zeros(shape)
        np.testing.assert_array_equal(cell, expected)


def test_quantiles_have_equal_probability():
    values = pictures.quantiles(20)
    draws = np.random.default_rng(0).standard_normal(400_000)
    below = (draws[:, None] < values).mean(axis=0)
    np.testing.assert_allclose(below, (np.arange(20) + 0.5) / 20, atol=0.004)
    assert pictures.quantiles(1) == [0]


def test_other_dimensions_stay_zero():
    values = np.array([1.0, 2.0])
    z = pictures.plane_grid(values, 5, (3, 1))
    assert z.shape == (4, 5)
    assert not z[:, [0, 2, 4]].any()
    np.testing.assert_array_equal(z[:, [3, 1]], [[1, 2], [2, 2], [1, 1], [2, 1]])


def test_the_leading_dimensions_change_the_images_most():
    weights = np.array([0.3, -4, 0, 2, 1])

    def decode(z):
        """An image of two pixels: one follows z[4] up only, the other the rest."""
        up = np.maximum(z[:, 4], 0) * 2.5  # twice 2² is more than once 2.5²
        return np.stack([up, z[:, :4] @ weights[:4]], axis=1)[:, None]

    assert pictures.leading_dims(decode, 5) == [1, 3]
    with pytest.raises(ValueError, match="one latent dimension"):
        pictures.leading_dims(decode, 1)


@pytest.fixture
def figure():
    figure, axes = plt.subplots(figsize=(2, 1))
    axes.set_title("猫")  # which matplotlib's own font does not have
    return figure


def test_the_ending_says_the_format(figure, tmp_path, capsys, recwarn):
    for name in ("a.png", "a.jpg", "a.pdf", "a.svg"):
        pictures.save_picture(figure, tmp_path / name)
    assert capsys.readouterr().out.count("wrote ") == 4
    assert not recwarn.list
    for name, form in (("a.png", "PNG"), ("a.jpg", "JPEG")):
        with PIL.Image.open(tmp_path / name) as image:
            assert (image.format, image.size) == (form, (300, 150))
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_a_picture_that_fails_leaves_the_old_one(figure, tmp_path, monkeypatch):
    def fail(part, **options):
        part.write_text("half")
        raise OSError("no space left on device")

    path = tmp_path / "a.png"
    path.write_text("old")
    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError):
        pictures.save_picture(figure, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_matplotlib_lacks_is_told_in_one_line(figure, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with plt.rc_context({"text.usetex": True}):
        figure.suptitle("a title")
        with pytest.raises(ValueError, match="matplotlib can't draw .*a.png: .*latex"):
            pictures.save_picture(figure, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_window_is_opened_on_request_only(figure, tmp_path, monkeypatch):
    path, shown = tmp_path / "a.png", []
    monkeypatch.setattr(plt, "show", lambda: shown.append(path.exists()))
    with pytest.raises(ValueError, match="no window .* open .*a.png without --show"):
        pictures.save_picture(figure, path, show=True)
    assert not path.exists()
    pictures.save_picture(figure, path)
    assert shown == []
    monkeypatch.setattr(plt, "get_backend", lambda: "TkAgg")
    pictures.save_picture(figure, path, show=True)
    assert shown == [True]
