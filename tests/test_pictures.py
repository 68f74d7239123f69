"""support/pictures.py: what the pictures share."""

import webbrowser

import numpy as np
import pytest
from conftest import bars, largest_file, save_untrained
from matplotlib import font_manager
from matplotlib.figure import Figure

from extras import film
from support import pictures, trained
from support.errors import UserError
from vae_mnist import VAE, Config

# What somebody sees who lacks one kind of cone, in linear RGB: Machado, Oliveira &
# Fernandes 2009, severity 1.
SEEN_BY = {
    "all cones": "1 0 0 0 1 0 0 0 1",
    "protanopes": "0.152286 1.052583 -0.204868"
    " 0.114503 0.786281 0.099216 -0.003882 -0.048116 1.051998",
    "deuteranopes": "0.367322 0.860646 -0.227968"
    " 0.280085 0.672501 0.047413 -0.011820 0.042940 0.968881",
    "tritanopes": "1.255528 -0.076749 -0.178779"
    " -0.078411 0.930809 0.147602 0.004733 0.691367 0.303900",
}
XYZ = "0.4124 0.3576 0.1805 0.2126 0.7152 0.0722 0.0193 0.1192 0.9505"  # of sRGB
NEIGHBORS = "49 79 47 35 38 58 06 26 56 23 17 05 28"  # digits that lie side by side


def matrix(numbers):
    return np.array(numbers.split(), float).reshape(3, 3)


def lab(linear):
    """Return CIE L*a*b* of linear sRGB; white is D65 (CIE 15:2004, IEC 61966-2-1)."""
    xyz = np.clip(linear, 0, 1) @ matrix(XYZ).T
    x, y, z = np.cbrt(xyz / [0.9505, 1, 1.089]).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("who", SEEN_BY)
def test_everyone_can_tell_ten_classes_apart(who):
    colors = pictures.class_colors(10)[:, :3]
    linear = np.where(
        colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4
    )
    seen = lab(linear @ matrix(SEEN_BY[who]).T)
    distances = np.linalg.norm(seen[:, None] - seen, axis=-1)
    # 2.3 is just noticeable; of matplotlib's own, tab10, protanopes see 4.6.
    assert distances[np.triu_indices(10, 1)].min() > (30 if who == "all cones" else 9)
    near = {pair: distances[int(pair[0]), int(pair[1])] for pair in NEIGHBORS.split()}
    assert min(near.values()) > 25, near


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3)])
@pytest.mark.parametrize(("columns", "rows"), [(3, 3), (7, 1)])
def test_tiles_lie_row_by_row_and_the_rest_is_black(shape, columns, rows):
    images = np.random.default_rng(0).integers(1, 256, (7, *shape)).astype("uint8")
    picture = pictures.tile(images, columns)
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


def test_a_grid_spans_the_directions():
    right, up = np.random.default_rng(0).standard_normal((2, 5))
    z = pictures.plane_grid(np.array([1.0, 2.0]), np.stack([right, up]))
    assert z.dtype == np.float32
    expected = [right + 2 * up, 2 * right + 2 * up, right + up, 2 * right + up]
    np.testing.assert_allclose(z, expected, rtol=1e-5)


def test_reach_ignores_half_a_percent():
    points = np.zeros((1000, 2))
    points[:, 1] = np.linspace(0, -10, 1000)
    points[:3, 0] = 1000
    assert 9.9 < pictures.find_reach(points) < 10.4
    assert pictures.find_reach(points / 1e6) == 2.5  # the prior's 2σ are always there


@pytest.fixture
def figure():
    figure = Figure(figsize=(2, 1))
    figure.subplots().set_title("猫")  # which matplotlib's own font does not have
    return figure


@pytest.mark.parametrize(
    ("name", "starts"),
    [("a.png", b"\x89PNG"), ("a.jpg", b"\xff\xd8"), ("a.pdf", b"%PDF")],
)
def test_the_ending_is_the_format(figure, tmp_path, capsys, recwarn, name, starts):
    pictures.save_picture(figure, tmp_path / name)
    assert capsys.readouterr().out == f"wrote {tmp_path / name}\n"
    assert not recwarn.list
    assert (tmp_path / name).read_bytes().startswith(starts)


@pytest.mark.parametrize("ending", trained.PICTURES)
def test_a_full_disk_leaves_the_old_picture(figure, tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.write_text("old")
    with largest_file(700), pytest.raises(UserError, match="File too large"):
        pictures.save_picture(figure, path)
    assert path.read_text() == "old"


def test_the_browser_opens_on_request_only(figure, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    path = tmp_path / "a b.png"
    pictures.save_picture(figure, path)
    assert opened == []
    pictures.save_picture(figure, path, show=True)
    assert opened == [path.as_uri()]


# The plane of more than two latent dimensions


def test_pca_finds_the_plane_of_largest_variance():
    # An ellipsoid with axes of 3, 2 and 0.5, turned and moved.
    rng = np.random.default_rng(0)
    turned, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    coordinates = rng.standard_normal((20_000, 3)) * [2.0, 0.5, 3.0]
    z_mean = coordinates @ turned.T + [1.0, 2.0, 3.0]
    plane, names = pictures.find_plane(z_mean)
    np.testing.assert_allclose(plane @ plane.T, np.eye(2), atol=1e-6)
    assert np.abs(plane @ turned[:, [2, 0]]) == pytest.approx(np.eye(2), abs=0.05)
    variances = np.sort(np.linalg.eigvalsh(np.cov(z_mean.T)))[::-1]  # about 9, 4, 0.25
    for name, share in zip(names, variances / variances.sum(), strict=False):
        assert f"{share:.0%} of the variance" in name


@pytest.mark.parametrize("count", [1, 5])
def test_all_images_at_one_point(count):
    z_mean = np.tile(np.float32([1, 2, 0.1]), (count, 1))
    with pytest.raises(UserError, match="at one point"):
        pictures.find_plane(z_mean)


def test_three_scripts_show_the_same_plane(npz, succeeds, drawn, monkeypatch):
    vae = VAE((12, 12), Config(hidden=(8,), latent_dim=5))
    kernel, bias = vae.encoder.get_layer("z_mean").get_weights()
    vae.encoder.get_layer("z_mean").set_weights([9 * kernel, bias])
    weights = save_untrained(vae, "000.00.weights.h5", npz)
    succeeds("plot_latent.py", "--weights", weights)
    succeeds("generate_grid.py", "--weights", weights, "--size", 3)
    monkeypatch.setattr(film, "write_film", lambda figures, _: drawn.append(*figures))
    film.main(film.Options("."))
    (points,), (grid,), (clusters, manifold) = (figure.axes for figure in drawn)
    names = {
        (axes.get_xlabel(), axes.get_ylabel())
        for axes in (points, grid, clusters, manifold)
    }
    ((right, up),) = names
    assert "component 1" in right and "component 2" in up
    # The places of the points reveal the plane.
    order = np.random.default_rng(0).permutation(60)
    z_mean = np.float64(vae.encode(bars(60, 1)[0])[0])[order]
    offsets = np.array(points.collections[0].get_offsets())
    plane = np.linalg.lstsq(z_mean, offsets, rcond=None)[0].T
    np.testing.assert_allclose(z_mean @ plane.T, offsets, atol=1e-5)
    np.testing.assert_allclose(clusters.collections[0].get_offsets(), offsets)
    # The images at the top left and at the bottom right. 31/32 of N(0, 1), the median
    # of its uppermost sixteenth, is below 1.8627.
    for axes, reach, white in (grid, 3, 1), (manifold, 1.8627, 255):
        z = np.float32([[-reach, reach], [reach, -reach]] @ plane)
        expected = white * vae.decode(z)
        assert np.abs(expected[0] - expected[1]).max() > 0.1 * white
        picture = axes.images[0].get_array()
        found = picture[:12, :12], picture[-12:, -12:]
        np.testing.assert_allclose(found, expected, atol=0.51 if white == 255 else 1e-4)


SCRIPTS = {
    "plot_latent.py": "latent.png",
    "generate_grid.py": "grid.png",
    "extras.reconstruct": "reconstruction.png",
    "extras.plot_training": "training.png",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_writes_one_picture(weights, succeeds, here, script):
    stdout = succeeds(script, "--weights", weights)
    assert stdout.startswith(f"wrote {SCRIPTS[script]}\n")
    assert [path.name for path in here.iterdir()] == [SCRIPTS[script]]


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("a.xyz", "--output a.xyz: the name must end in .png"),
        ("no/a.png", "cannot write no/a.png: No such file"),
    ],
)
def test_scripts_find_out_at_once(fails, tmp_path, output, says):
    """These weights are of no use: a script that tried would say so."""
    vae = VAE((12, 12), Config(hidden=(4,)))
    weights = save_untrained(vae, tmp_path / "a.weights.h5", "", config={"no": 1})
    for script in SCRIPTS:
        fails(script, "--weights", weights, "--output", output, says=says)


def test_names_that_the_default_font_lacks_get_another_or_a_note(capsys):
    """STIX comes with matplotlib and has ℊ, which DejaVu Sans lacks."""
    assert pictures.fonts_for("Größe — мир") == ["DejaVu Sans"]
    first, *others = pictures.fonts_for("a\u210a")
    assert first == "DejaVu Sans" and len(others) == 1
    known = font_manager.get_font(font_manager.findfont(others[0])).get_charmap()
    assert 0x210A in known
    assert capsys.readouterr().err == ""
    assert pictures.fonts_for("a\U0010fffd") == ["DejaVu Sans"]
    assert capsys.readouterr().err.startswith("note: no font for \U0010fffd: install")
