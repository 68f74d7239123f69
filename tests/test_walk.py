"""extras/walk.py: from image to image through the latent space."""

import numpy as np
import pytest
from conftest import bars
from PIL import Image

from extras import walk
from vae_mnist import load_vae

T = np.linspace(0, 1, 7)


def test_the_way_is_an_arc_at_an_even_pace():
    rng = np.random.default_rng(0)
    start, end = rng.standard_normal(5), 3 * rng.standard_normal(5)
    way = walk.interpolate(start, end, T)
    np.testing.assert_allclose(way[[0, -1]], [start, end])
    norms = np.linalg.norm(way, axis=1)
    ends = np.linalg.norm([start, end], axis=1)
    np.testing.assert_allclose(norms, np.linspace(*ends, 7))
    turns = np.arccos((way[1:] * way[:-1]).sum(axis=1) / norms[1:] / norms[:-1])
    np.testing.assert_allclose(turns, turns[0])
    # All in the plane of the two
    assert np.linalg.matrix_rank([start, end, *way]) == 2


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ([1, 2], [-3, 0.5]),  # in the plane
        ([0, 0, 0], [1, 2, 3]),
        ([1, 2, 3], [-2, -4, -6]),  # any arc leads there
        ([1, 2, 3], [2, 4, 6]),
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_the_way_is_straight(start, end):
    start, end = np.float32([start, end])
    expected = start + T[:, None] * (end - start)
    np.testing.assert_allclose(walk.interpolate(start, end, T), expected, atol=1e-6)


def test_the_strip_and_the_film(weights, succeeds, here, fails):
    images = bars(3, 5)[0]
    for name, image in zip("abc", images, strict=True):
        Image.fromarray(image).save(f"{name}.png")
    command = ["extras.walk", "--weights", weights, "--steps", 4]
    succeeds(*command, "a.png", "b.png", "c.png")
    vae, _ = load_vae(weights)
    z_mean, _ = vae.encode(images)
    middle = z_mean[1] + (z_mean[2] - z_mean[1]) / 4
    expected = 255 * vae.decode(np.float32([*z_mean, middle]))
    with Image.open("walk.png") as strip:
        tiles = np.array(strip)[4::9, 4::9]  # of 9 × 9 pixels each
    tiles = tiles.reshape(2, 12, 5, 12).swapaxes(1, 2)
    shown = tiles[0, 0], tiles[0, -1], tiles[1, -1], tiles[1, 1]
    np.testing.assert_allclose(shown, expected, atol=0.51)
    np.testing.assert_array_equal(tiles[0, -1], tiles[1, 0])
    succeeds(*command, "a.png", "b.png", "--output", "walk.gif")
    with Image.open("walk.gif") as film:
        assert (film.n_frames, film.size) == (8, (324, 324))
    fails(*command, "a.png", says="give two or more")
    fails(*command, "a.png", "no.png", says="no.png")
