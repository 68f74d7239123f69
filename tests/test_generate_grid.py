"""generate_grid.py: the manifold, the right way up."""

import numpy as np
import pytest
from conftest import bars, save_untrained
from PIL import Image

import generate_grid
from support.pictures import quantiles, tile
from vae_mnist import VAE, Config, load_vae


def test_images_that_are_not_square_are_not_stretched():
    def decode(z):
        return np.zeros((len(z), 30, 10))

    figure = generate_grid.scan(decode, np.arange(2.0), np.eye(2), ["x", "y"])
    figure.draw_without_rendering()
    width, height = figure.axes[0].get_window_extent().size
    assert height / width == pytest.approx(3, rel=0.01)


def numbers(labels):
    return [float(label.get_text().replace("−", "-")) for label in labels]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--dims", 0, 2], "this VAE has 2 latent"),
        (["--dims", 0, 0], "this VAE has 2 latent"),
        (["--size", 201], "give 200 or less"),
        (["--random", "--dims", 0, 1], "leave out --random"),
        (["--random", "--quantiles"], "choose one of --random"),
        (["--traverse", "--random"], "choose one of --random"),
        (["--range", 2, "--quantiles"], "choose one of --random"),
        (["--traverse", "--image", 60], "choose from 0 to 59"),
        (["--image", 3], "add --traverse"),
        (["--files", "new"], "add --random"),
        (["--count", 5], "add --random"),
        (["--count", 40_001, "--random"], "give 40000 or less"),
        (["--data", "mnist_sample"], "this picture needs no images"),
        (["--data", "mnist_sample", "--random"], "this picture needs no images"),
        (["--data", "mnist_sample", "--traverse"], "this picture needs no images"),
    ],
)
def test_options_that_make_no_picture(fails, weights, options, says):
    fails("generate_grid.py", "--weights", weights, *options, says=says)


@pytest.fixture
def draw(weights, succeeds, drawn):
    """Return the axes that the script draws with some options."""

    def draw(*options, weights=weights):
        succeeds("generate_grid.py", "--weights", weights, *options)
        return drawn.pop().axes[0]

    return draw


def test_dims_and_range_reach_the_picture(weights, draw):
    straight = draw("--size", 3, "--range", 1.5)
    turned = draw("--size", 3, "--range", 1.5, "--dims", 1, 0)
    for axes, names in ((straight, ("z[0]", "z[1]")), (turned, ("z[1]", "z[0]"))):
        assert (axes.get_xlabel(), axes.get_ylabel()) == names
        assert numbers(axes.get_xticklabels()) == [-1.5, 0, 1.5]
        assert numbers(axes.get_yticklabels()) == [-1.5, 0, 1.5]
    assert straight.get_title() == "3 × 3 decoded points of the latent plane"
    straight, turned = (axes.images[0].get_array() for axes in (straight, turned))
    assert straight.shape == (36, 36)
    vae, _ = load_vae(weights)
    for place, z in ((slice(0, 12), [[-1.5, 1.5]]), (slice(24, 36), [[1.5, -1.5]])):
        expected = vae.decode(np.float32(z))[0]
        np.testing.assert_allclose(straight[place, place], expected, atol=1e-6)
    # The image at the upper left of one is that at the lower right of the other.
    np.testing.assert_allclose(turned[-12:, -12:], straight[:12, :12], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "values"),
    [([], np.linspace(-3, 3, 20)), (["--quantiles"], quantiles(20))],
)
def test_steps_are_equal_or_equally_probable(weights, draw, options, values):
    axes = draw(*options)
    places = (axes.get_xticks() - 0.5).astype(int)
    assert len(places) == 10  # half of the twenty columns have a name
    for labels in axes.get_xticklabels(), axes.get_yticklabels():
        np.testing.assert_allclose(numbers(labels), values[places], atol=0.006)
    z = np.float32([[x, y] for y in values[::-1] for x in values])
    expected = tile(load_vae(weights)[0].decode(z), 20)
    np.testing.assert_allclose(axes.images[0].get_array(), expected, atol=1e-5)


@pytest.fixture
def five(npz, tmp_path):
    """Return weights with five dimensions, ordered by use 3, 1, 4, 0, 2."""
    vae = VAE((12, 12), Config(hidden=(8,), latent_dim=5))
    layer = vae.decoder.layers[1]
    bias, kernel = layer.bias, layer.kernel
    row = np.random.default_rng(0).standard_normal(8)
    kernel.assign(0.1 * np.outer([0.1, 1, 0, 2, 0.2], row))
    bias.assign(0 * np.array(bias))
    return save_untrained(vae, tmp_path / "five.weights.h5", npz)


def test_two_of_many_dimensions(draw, five):
    axes = draw("--size", 3, "--dims", 3, 1, weights=five)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z[3]", "z[1]")
    assert axes.get_title().endswith("through 0, in a latent space of 5 dimensions")
    expected = load_vae(five)[0].decode(np.float32([[0, 3, 0, -3, 0]]))[0]
    drawn = axes.images[0].get_array()[:12, :12]
    np.testing.assert_allclose(drawn, expected, atol=1e-6)


@pytest.mark.parametrize("image", [None, 7])
def test_a_row_per_dimension_the_most_used_first(draw, five, image):
    options = [] if image is None else ["--image", image]
    axes = draw("--traverse", "--size", 5, *options, weights=five)
    order = [3, 1, 4, 0, 2]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [f"z[{dimension}]" for dimension in order]
    assert numbers(axes.get_xticklabels()) == [-3, -1.5, 0, 1.5, 3]
    picture = axes.images[0].get_array()
    assert picture.shape == (60, 60)
    vae, _ = load_vae(five)
    start = np.zeros(5, "float32")
    if image is not None:
        start = vae.encode(bars(60, 1)[0])[0][image]
        assert np.abs(start).max() > 0.1
    expected = np.tile(start, (5, 5, 1))
    for row, dimension in enumerate(order):
        expected[row, :, dimension] = [-3, -1.5, 0, 1.5, 3]
    expected = tile(vae.decode(expected.reshape(25, 5)), 5)
    np.testing.assert_allclose(picture, expected, atol=1e-5)
    assert ("image 7" in axes.get_title()) == (image == 7)


def test_random_images_are_decoded_from_numpys_draws(draw, five, here):
    command = ["--random", "--size", 3, "--seed", 7]
    axes = draw(*command, "--size", 4, "--files", "new/er", weights=five)
    tiles = axes.images[0].get_array().reshape(4, 12, 4, 12).swapaxes(1, 2)
    paths = sorted(here.joinpath("new", "er").iterdir())
    assert [path.name for path in paths[::15]] == ["01.png", "16.png"]
    images = []
    for path in paths:
        with Image.open(path) as image:
            images.append(np.array(image))
    np.testing.assert_allclose(images, 255 * tiles.reshape(16, 12, 12), atol=0.51)
    axes = draw(*command, weights=five)
    z = np.random.default_rng(7).standard_normal((9, 5), dtype="float32")
    picture = axes.images[0].get_array()
    expected = tile(load_vae(five)[0].decode(z), 3)
    np.testing.assert_allclose(picture, expected, atol=1e-6)
    assert "probability" in axes.get_title() and "9 draws" in axes.get_title()
    assert not len(axes.get_xticks()) and not len(axes.get_yticks())
    few = draw("--random", "--count", 7, "--seed", 7, weights=five)
    expected = tile(load_vae(five)[0].decode(z[:7]), 3)  # the rest is black
    np.testing.assert_allclose(few.images[0].get_array(), expected, atol=1e-6)
    other = draw("--random", "--size", 3, weights=five).images[0].get_array()
    assert np.abs(other - picture).max() > 0.001
