"""plot_latent.py: the clusters of the latent plane."""

import matplotlib.colors
import numpy as np
import pytest
from conftest import bars, save_untrained

import plot_latent
from support import pictures
from vae_mnist import VAE, Config

RNG = np.random.default_rng(0)
TWO = ["z[0]", "z[1]"]


def draw(points, labels=None, class_names=None, title=""):
    """Return the axes of a picture of points in a plane."""
    figure = plot_latent.draw_latent_plane(points, labels, class_names, TWO, title)
    figure.draw_without_rendering()
    return figure.axes[0]


def texts(axes):
    """Return the texts in the plane, without the names of the prior's circles."""
    return [text for text in axes.texts if "σ" not in text.get_text()]


def test_colors_match_labels():
    """Points are drawn in another order, so that no class lies on top."""
    points, labels = RNG.standard_normal((200, 2)), RNG.integers(0, 10, 200)
    axes = draw(points, labels, ["a"] * 10)
    drawn = axes.collections[0]
    order = [points.tolist().index(point) for point in drawn.get_offsets().tolist()]
    assert sorted(order) == list(range(200)) != order
    colors = matplotlib.colors.to_rgba_array(pictures.COLORS, alpha=0.6)
    np.testing.assert_allclose(drawn.get_facecolors(), colors[labels[order]])


@pytest.mark.parametrize("class_names", [None, ["0", "1"]])  # of y_train alone
def test_without_labels_there_is_one_color_and_no_name(class_names):
    axes = draw(RNG.standard_normal((9, 2)), None, class_names)
    assert len(np.unique(axes.collections[0].get_facecolors(), axis=0)) == 1
    assert texts(axes) == []


def test_names_stand_at_the_densest_places():
    """Class 0 lies on two islands, class 1 has a long tail, class 2 is wide."""
    centers = [(-2, -2), (2, 2), (2, -2), (-2, 2)]
    tail = np.stack([np.linspace(2, 1, 50), np.linspace(-2, 0, 50)], axis=1)
    blobs = [RNG.normal(center, 0.1, (100, 2)) for center in centers]
    blobs[3] = RNG.uniform(-0.4, 0.4, (100, 2)) + centers[3]
    points = np.concatenate([*blobs, tail])
    labels = np.repeat([0, 0, 1, 2, 1], [100, 100, 100, 100, 50])
    axes = draw(points, labels, list("abc"))
    places = {(text.get_text(), *np.round(text.get_position())) for text in texts(axes)}
    expected = [(name, *center) for name, center in zip("aabc", centers, strict=True)]
    assert places == set(expected) and len(texts(axes)) == len(expected)


def test_names_do_not_overlap_or_leave_the_plane():
    points, labels = RNG.uniform(-4, 4, (3000, 2)), RNG.integers(0, 12, 3000)
    names = [f"a class {label}" for label in range(12)]
    axes = draw(points, labels, names)
    plane = axes.get_window_extent()
    boxes = [text.get_window_extent() for text in texts(axes)]
    assert len(boxes) > 4
    for number, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[:number])
        assert plane.x0 < box.x0 < box.x1 < plane.x1
        assert plane.y0 < box.y0 < box.y1 < plane.y1


def test_names_come_out_as_they_are():
    names = ["_hidden", "", "$x", "$\\frac$", "a b  c", "\N{REPLACEMENT CHARACTER}"]
    points = RNG.normal(0, 0.01, (60, 2)) + np.repeat(
        [[-2, -2], [-2, 0], [-2, 2], [1, -2], [1, 0], [1, 2]], 10, axis=0
    )
    axes = draw(points, np.repeat(np.arange(6), 10), names)
    assert [text.get_text() for text in texts(axes)] == names


def test_many_classes_have_colors_but_no_names():
    names = [str(i) for i in range(300)]
    axes = draw(RNG.standard_normal((300, 2)), np.arange(300), names)
    assert len(np.unique(axes.collections[0].get_facecolors(), axis=0)) > 200
    assert texts(axes) == []


@pytest.mark.parametrize("outside", [20, 21])
def test_a_square_that_misses_most_images_says_so(outside):
    points = RNG.uniform(-2.9, 2.9, (40, 2))
    points[:outside, 1] = -3.1
    text = draw(points).figure.get_supxlabel()
    assert ("; 21 of 40 are outside: try --range" in text) == (outside > 20)


def test_strays_do_not_widen_the_axes_and_are_counted():
    points = RNG.uniform(-4, 4, (1000, 2))
    points[:3] = [[50, 0], [0, -60], [70, 70]]
    axes = draw(points, title="all")
    left, right = axes.get_xlim()
    assert axes.get_ylim() == (left, right) and left == -right and 3.9 < right < 4.5
    outside = (np.abs(points).max(axis=1) > right).sum()
    assert 3 <= outside <= 5
    assert axes.get_title() == f"all, {outside} beyond the frame"
    assert axes.get_aspect() == 1


def test_the_circles_names_avoid_the_points():
    angles = RNG.uniform(0, 2 * np.pi, 2000)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = np.concatenate([points, 2 * points])
    points = points[points[:, 0] < 0]  # all but the right half of both circles
    axes = draw(points)
    places = {text.get_text(): np.array(text.get_position()) for text in axes.texts}
    assert np.linalg.norm(places["1σ"]) == pytest.approx(1)
    assert np.linalg.norm(places["2σ"]) == pytest.approx(2)
    assert places["1σ"][0] > 0 < places["2σ"][0]


def test_the_grid_decodes_the_same_plane_of_pca(npz, succeeds, drawn):
    vae = VAE((12, 12), Config(hidden=(8,), latent_dim=3))
    save_untrained(vae, "vae_mnist.weights.h5", npz)
    succeeds("plot_latent.py", "--grid")
    scatter, grid = drawn[0].axes
    z_mean, _ = vae.encode(bars(60, 1)[0])
    directions, _ = pictures.find_plane(z_mean)
    order = np.random.default_rng(0).permutation(60)
    points = scatter.collections[0].get_offsets()
    np.testing.assert_allclose(points, (z_mean @ directions.T)[order], atol=1e-5)
    left, right = scatter.get_xlim()
    assert grid.get_xlim() == grid.get_ylim() == (left, right)
    (image,) = grid.images
    assert image.get_extent() == [left, right, left, right]
    # Where the pixels of the picture have their centers, from the top left.
    size = plot_latent.SIZE
    at = left + (right - left) * (np.arange(size) + 0.5) / size
    z = [x * directions[0] + y * directions[1] for y in at[::-1] for x in at]
    expected = pictures.tile(vae.decode(np.float32(z)), size)
    np.testing.assert_allclose(image.get_array(), expected, atol=1e-4)


def test_other_images_are_not_called_held_out(weights, run_here, npz, drawn):
    with np.load(npz) as arrays:
        np.savez("b.npz", **{**arrays, "x_train": arrays["x_train"][::-1]})
    for source, title in (npz, "60 held-out images"), ("b.npz", "60 images"):
        run_here("plot_latent.py", "--weights", weights, "--data", source)
        axes = drawn.pop().axes[0]
        assert axes.get_title().startswith(f"{title} in the latent plane")
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("z[0]", "z[1]")
        assert {text.get_text() for text in texts(axes)} == {"0", "1", "2"}


def test_mistakes(fails, weights, npz, tmp_path):
    path = tmp_path / "small.npz"
    np.savez(path, x_train=bars(20, 0)[0][:, 2:])
    fails("plot_latent.py", "--weights", weights, "--data", path, says="(12, 12)")
    line = tmp_path / "a.weights.h5"
    save_untrained(VAE((12, 12), Config((4,), 1)), line, npz)
    for script in "plot_latent.py", "generate_grid.py":
        fails(script, "--weights", line, says="one latent dimension")
