"""generate_grid.py: the manifold, the right way up."""

import numpy as np
import PIL.Image
import pytest
from conftest import save_untrained

import generate_grid
import plot_latent
from support import pictures
from support.pictures import plane_grid, quantiles, tile
from vae_mnist import VAE, load_vae


def paint(z):
    """A decoder that paints its own z: z[0] in the left half, z[1] in the right."""
    images = np.empty((len(z), 6, 4))
    images[:, :, :2] = z[:, :1, None]
    images[:, :, 2:] = z[:, 1:, None]
    return images


def test_right_is_z0_and_up_is_z1():
    values = np.array([-2.0, 0.5, 3.0])
    picture = tile(paint(plane_grid(values, 2)), 3)
    assert picture.shape == (18, 12)
    for row in range(3):
        for column in range(3):
            cell = picture[6 * row : 6 * row + 6, 4 * column : 4 * column + 4]
            assert (cell[:, :2] == values[column]).all()
            assert (cell[:, 2:] == values[2 - row]).all()


def rendered(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


def test_a_place_in_the_grid_is_the_same_place_in_the_scatter():
    values = np.linspace(-3, 3, 7)
    points = plane_grid(values, 2)
    for target in ([3, 3], [-3, 3], [3, -3]):
        marked = (points == target).all(axis=1)
        images = np.broadcast_to(marked[:, None, None], (49, 8, 8))
        picture = tile(images, 7)
        names = ["z[0]", "z[1]"]
        grid = generate_grid.draw_manifold(picture, values, names)
        scatter = plot_latent.draw_latent_plane(points[marked], None, None, names)
        # The white image and the one point lie in the same quarter of the axes.
        for figure, colour in ((grid, (255, 255, 255)), (scatter, None)):
            pixels = rendered(figure)
            height = len(pixels)
            box = figure.axes[0].get_window_extent()
            inside = pixels[
                int(height - box.y1) + 5 : int(height - box.y0) - 5,
                int(box.x0) + 5 : int(box.x1) - 5,
            ]
            if colour:
                hit = (inside == colour).all(axis=-1)
            else:  # the point's blue, which no circle or text has
                hit = inside[..., 2] - inside[..., 0] > 60
            rows, columns = np.nonzero(hit)
            assert (columns.mean() > inside.shape[1] / 2) == (target[0] > 0)
            assert (rows.mean() < inside.shape[0] / 2) == (target[1] > 0)


def test_images_that_are_not_square_are_not_stretched():
    picture = tile(np.zeros((4, 30, 10)), 2)
    figure = generate_grid.draw_manifold(picture, np.arange(2.0), ["x", "y"])
    figure.canvas.draw()
    width, height = figure.axes[0].get_window_extent().size
    assert height / width == pytest.approx(3, rel=0.01)


def test_axes_show_the_values():
    values = np.array([-1.0, 0.0, 1.0])
    axes = generate_grid.draw_manifold(np.zeros((9, 9)), values, ["x", "y"]).axes[0]
    for ticks, labels in (
        (axes.get_xticks(), axes.get_xticklabels()),
        (axes.get_yticks(), axes.get_yticklabels()),
    ):
        assert ticks.tolist() == [0.5, 1.5, 2.5]
        assert [float(label.get_text().replace("−", "-")) for label in labels] == [
            -1,
            0,
            1,
        ]
    assert axes.get_xlim() == (0, 3) and axes.get_ylim() == (0, 3)


@pytest.mark.parametrize("options", [[], ["--size", 5, "--range", 3]])
def test_writes_one_picture(weights, run_here, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    arguments = ["--weights", weights, *options, "--output", "picture.png"]
    result = run_here("generate_grid.py", *arguments)
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout == "wrote picture.png\n"
    with PIL.Image.open(tmp_path / "picture.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert min(pixels.shape) > 1000
    middle = pixels[200:1000, 200:1000]
    assert middle.std() > 20  # neither black nor grey all over
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.parametrize("dims", [(0, 2), (0, 0), (-1, 0)])
def test_dims_out_of_range(fails, weights, dims):
    arguments = ["--weights", weights, "--dims", *dims]
    fails("generate_grid.py", *arguments, says="this VAE has 2")


def test_output_in_no_folder(fails, weights):
    arguments = ["--weights", weights, "--output", "no/a.png"]
    fails("generate_grid.py", *arguments, says="there is no folder no")


def test_more_images_than_can_be_seen(fails, weights):
    fails("generate_grid.py", "--weights", weights, "--size", 201, says="at most 200")


@pytest.fixture
def draw(weights, run_here, monkeypatch):
    """The axes that the script draws with some options."""
    drawn = []

    def draw(*options, weights=weights):
        result = run_here("generate_grid.py", "--weights", weights, *options)
        assert (result.status, result.stderr) == (0, "")
        return drawn.pop().axes[0]

    monkeypatch.setattr(
        pictures, "save_picture", lambda figure, *_: drawn.append(figure)
    )
    return draw


def ticks(labels):
    return [float(label.get_text().replace("−", "-")) for label in labels]


def test_dims_and_range_reach_the_picture(weights, draw):
    straight = draw("--size", 3, "--range", 1.5)
    turned = draw("--size", 3, "--range", 1.5, "--dims", 1, 0)
    for axes, names in ((straight, ("z[0]", "z[1]")), (turned, ("z[1]", "z[0]"))):
        assert (axes.get_xlabel(), axes.get_ylabel()) == names
        assert ticks(axes.get_xticklabels()) == [-1.5, 0, 1.5]
        assert ticks(axes.get_yticklabels()) == [-1.5, 0, 1.5]
    assert straight.get_title() == "3 × 3 decoded points of the latent plane"
    straight, turned = (axes.images[0].get_array() for axes in (straight, turned))
    assert straight.shape == (36, 36)
    vae, _ = load_vae(weights)
    for place, z in ((slice(0, 12), [[-1.5, 1.5]]), (slice(24, 36), [[1.5, -1.5]])):
        expected = vae.decode(np.float32(z))[0]
        np.testing.assert_allclose(straight[place, place], expected, atol=1e-6)
    # The image at the upper left of one is that at the lower right of the other.
    corner = straight[:12, :12]
    np.testing.assert_allclose(turned[-12:, -12:], corner, atol=1e-6)
    assert np.abs(turned[:12, :12] - corner).max() > 0.1


def test_equal_steps_of_probability_unless_told(draw):
    axes = draw()
    expected = [f"{value:.2f}" for value in quantiles(20)]
    assert [label.get_text() for label in axes.get_xticklabels()] == expected
    # Of many images only some are named.
    assert len(draw("--size", 41).get_xticklabels()) == 14


def test_output_is_a_folder(fails, weights, tmp_path):
    (tmp_path / "a.png").mkdir()
    arguments = ["--weights", weights, "--output", tmp_path / "a.png"]
    fails("generate_grid.py", *arguments, says="is a folder")


@pytest.fixture
def five(npz, tmp_path):
    """The weights of five dimensions, of which z[1] and z[3] change most."""
    vae = VAE((12, 12), [8], latent_dim=5)
    kernel = vae.decoder.layers[1].kernel
    kernel.assign(kernel * np.array([[0.1], [1], [0], [2], [0.2]]))
    return save_untrained(vae, tmp_path / "five.weights.h5", npz, hidden=[8])


def test_the_leading_dimensions_are_scanned_and_told(draw, five):
    axes = draw("--size", 3, weights=five)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z[1]", "z[3]")
    title = (
        "3 × 3 decoded points of the latent plane of z[1] and z[3], the other 3 at 0"
    )
    assert axes.get_title() == title
    z = np.zeros((1, 5), "float32")
    z[0, [1, 3]] = quantiles(3)[[0, -1]]
    expected = load_vae(five)[0].decode(z)[0]
    drawn = axes.images[0].get_array()[:12, :12]
    np.testing.assert_allclose(drawn, expected, atol=1e-6)


def test_random_images_are_the_decoders_at_numpys_draws(draw, five):
    axes = draw("--random", "--size", 3, "--seed", 7, weights=five)
    z = np.random.default_rng(7).standard_normal((9, 5), dtype="float32")
    decoded = load_vae(five)[0].decode(z)
    picture = axes.images[0].get_array()
    assert picture.shape == (36, 36)
    for number, expected in enumerate(decoded):
        row, column = divmod(number, 3)
        cell = picture[12 * row : 12 * row + 12, 12 * column : 12 * column + 12]
        np.testing.assert_allclose(cell, expected, atol=1e-6)
    assert "probability" in axes.get_title() and "9 draws" in axes.get_title()
    assert not len(axes.get_xticks()) and not len(axes.get_yticks())
    other = draw("--random", "--size", 3, weights=five).images[0].get_array()
    assert np.abs(other - picture).max() > 0.01


@pytest.mark.parametrize("option", [("--range", 3), ("--dims", 0, 1)])
def test_random_images_lie_in_no_plane(fails, weights, option):
    arguments = ["--weights", weights, "--random", *option]
    fails("generate_grid.py", *arguments, says=f"leave out {option[0]}")
