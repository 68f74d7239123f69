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
