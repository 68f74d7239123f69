"""Draws the digit manifold: what the decoder makes of every place in the latent plane.

    python generate_grid.py                    equal steps of probability
    python generate_grid.py --range 3          equal steps from -3 to 3

z[0] grows to the right and z[1] grows upward, as in the picture of plot_latent.py:
what is drawn at a place here belongs to the cluster at that place there.
"""

from support import command_line

if __name__ == "__main__":  # before the imports, which take seconds
    options = {
        "size": (20, "images per side"),
        "range": (
            None,
            "equal steps over [-R, R] (default: equal steps of probability)",
            {"type": command_line.amount, "metavar": "R"},
        ),
        "dims": (
            [0, 1],
            "the latent dimensions to scan; the others stay 0",
            {"type": int, "nargs": 2, "metavar": ("I", "J")},
        ),
    }
    args = command_line.read(__doc__, command_line.drawing("grid.png"), options)

import math
import statistics

import matplotlib.pyplot as plt
import numpy as np

from support.pictures import save_picture, tile
from vae_mnist import load_vae

LARGEST_SIZE = 200  # then an image is 5 pixels of the picture


def quantiles(size):
    """`size` values that cut N(0, 1) into pieces of equal probability, ascending.

    They are the middles, by probability, of the pieces: as the prior is N(0, I), the
    grid of them shows each equally probable part of the latent plane once.
    """
    prior = statistics.NormalDist()
    return np.array([prior.inv_cdf((i + 0.5) / size) for i in range(size)])


def plane_grid(values, latent_dim, dims=(0, 1)):
    """The points of a square grid in the latent plane, row by row from the top left.

    values: the coordinates along either axis, ascending, shape (size,).
    dims: the latent dimensions that grow to the right and upward; all others are 0.
    Returns z of shape (size², latent_dim).
    """
    right, up = np.meshgrid(values, values[::-1])  # The top row has the largest.
    z = np.zeros((values.size**2, latent_dim), "float32")
    z[:, dims[0]] = right.ravel()
    z[:, dims[1]] = up.ravel()
    return z


def draw_manifold(picture, values, axis_names, title=None):
    """The tiled picture with the z values of its columns and rows on the axes.

    picture: shape (size·H, size·W) or (size·H, size·W, 3), in [0, 1];
    values: shape (size,), as given to plane_grid. Returns the matplotlib Figure.
    """
    size = len(values)
    figure, axes = plt.subplots(figsize=(8, 8), layout="constrained")
    # In units of whole images, counted from the bottom left corner.
    axes.imshow(
        picture,
        cmap="gray",
        vmin=0,
        vmax=1,
        extent=(0, size, 0, size),
        aspect=picture.shape[0] / picture.shape[1],
    )
    shown = np.arange(0, size, math.ceil(size / 20))
    names = [f"{values[i]:.2f}" for i in shown]
    axes.set_xticks(shown + 0.5, names, fontsize=7)
    axes.set_yticks(shown + 0.5, names, fontsize=7)
    axes.set(
        xlabel=axis_names[0],
        ylabel=axis_names[1],
        title=title,
    )
    return figure


def main(args):
    vae, _ = load_vae(args.weights)
    latent_dim = vae.latent_dim
    i, j = args.dims
    if not (0 <= i < latent_dim and 0 <= j < latent_dim and i != j):
        raise ValueError(
            f"--dims {i} {j}: give two of the latent dimensions, which count from 0;"
            f" this VAE has {latent_dim}"
        )
    if args.size > LARGEST_SIZE:
        raise ValueError(
            f"--size {args.size}: at most {LARGEST_SIZE} can be told apart"
        )
    # float32 of the images, of the picture, and what matplotlib makes of that
    command_line.check_memory(32 * args.size**2 * math.prod(vae.image_shape))
    if args.range is None:
        values = quantiles(args.size)
    else:
        values = np.linspace(-args.range, args.range, args.size)
    images = vae.decode(plane_grid(values, latent_dim, args.dims))
    title = f"{args.size} × {args.size} decoded points of the latent plane"
    if latent_dim > 2:
        title += f", the other {latent_dim - 2} dimensions at 0"
    picture, names = tile(images, args.size), [f"z[{i}]", f"z[{j}]"]
    figure = draw_manifold(picture, values, names, title)
    save_picture(figure, args.output, args.show)


if __name__ == "__main__":
    command_line.run(main, args)
