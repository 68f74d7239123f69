"""Draws the digit manifold: what the decoder makes of every place in the latent plane.

    python generate_grid.py                    equal steps of probability
    python generate_grid.py --range 3          equal steps from -3 to 3
    python generate_grid.py --random           anywhere, as the prior has it

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
            None,
            "the latent dimensions to scan; the others stay 0 (default: the two that"
            " change the images most)",
            {"type": int, "nargs": 2, "metavar": ("I", "J")},
        ),
        "random": (False, "images of random z instead of a scan"),
    }
    drawing = command_line.drawing("grid.png")
    args = command_line.read(__doc__, drawing, options, command_line.SEED)

import math

import matplotlib.pyplot as plt
import numpy as np

from support.pictures import leading_dims, plane_grid, quantiles, save_picture, tile
from vae_mnist import load_vae

LARGEST_SIZE = 200  # then an image is 5 pixels of the picture


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


def scan(vae, size, reach=None, dims=None):
    """The Figure of a size×size grid in the plane of two latent dimensions.

    reach: of equal steps; None for equal steps of probability. dims: the dimensions,
    None for the leading ones. Raises ValueError where the VAE does not have them.
    """
    i, j = dims or leading_dims(vae.decode, vae.latent_dim)
    if not (0 <= i < vae.latent_dim and 0 <= j < vae.latent_dim and i != j):
        raise ValueError(
            f"--dims {i} {j}: give two of the latent dimensions, which count from 0;"
            f" this VAE has {vae.latent_dim}"
        )
    values = quantiles(size) if reach is None else np.linspace(-reach, reach, size)
    images = vae.decode(plane_grid(values, vae.latent_dim, (i, j)))
    title = f"{size} × {size} decoded points of the latent plane"
    if vae.latent_dim > 2:
        title += f" of z[{i}] and z[{j}], the other {vae.latent_dim - 2} at 0"
    return draw_manifold(tile(images, size), values, [f"z[{i}]", f"z[{j}]"], title)


def sample(vae, size, seed):
    """The Figure of size² images that the decoder makes of random z ~ N(0, I)."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((size**2, vae.latent_dim), "float32")
    title = f"{size**2:,} draws of z ~ N(0, I), decoded: each pixel's probability"
    figure, axes = plt.subplots(figsize=(8, 8), layout="constrained")
    axes.imshow(tile(vae.decode(z), size), cmap="gray", vmin=0, vmax=1)
    axes.set(title=title, xticks=[], yticks=[])
    return figure


def main(args):
    if args.random and (scanning := sorted(args.given & {"range", "dims"})):
        raise ValueError(f"--random scans nothing: leave out --{scanning[0]}")
    if args.size > LARGEST_SIZE:
        raise ValueError(
            f"--size {args.size}: at most {LARGEST_SIZE} can be told apart"
        )
    vae, _ = load_vae(args.weights)
    # float32 of the images, of the picture, and what matplotlib makes of that
    command_line.check_memory(32 * args.size**2 * math.prod(vae.image_shape))
    if args.random:
        figure = sample(vae, args.size, args.seed)
    else:
        figure = scan(vae, args.size, args.range, args.dims)
    save_picture(figure, args.output, args.show)


if __name__ == "__main__":
    command_line.run(main, args)
