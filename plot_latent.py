"""Plot the latent plane: where the encoder puts the held-out images.

    python plot_latent.py
    python plot_latent.py --grid      beside it, what the decoder draws there

Each image is a point at its z_mean, colored by its class. The model never saw a label:
where the classes form clusters, it found them by itself. With more than two latent
dimensions the picture shows the plane in which the points vary most (PCA).
"""

from dataclasses import dataclass

from support import cli


@dataclass
class Options(cli.Trained):
    output: str = "latent.png"  # the picture to write; its ending is the format
    grid: bool = False  # also decode a grid of points of the plane
    show: bool = False  # open the picture in the browser


if __name__ == "__main__":
    options = cli.parse(Options, __doc__)  # before the slow imports below

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from support import data, pictures
from support.cli import UserError
from vae_mnist import load_vae

SIZE = 24  # images per side of the grid


def find_plane(z_mean: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the directions in which the points vary most, and the axes' names.

    These are the two principal components, (2, latent_dim). The plane passes through
    the origin, not the mean, so that the prior keeps its place and its shape: a point's
    coordinates are z_mean @ directions.T.
    Raises UserError if the points do not span a plane.
    """
    pictures.check_plane(z_mean.shape[1])
    if z_mean.shape[1] == 2:
        return np.eye(2), ["z[0]", "z[1]"]
    centered = z_mean - z_mean.mean(axis=0, dtype=float)
    _, spread, directions = np.linalg.svd(centered, full_matrices=False)
    if len(z_mean) < 2 or not np.ptp(z_mean, axis=0).any():
        raise UserError("all images lie at one point: no plane to draw")
    shares = spread**2 / (spread**2).sum()
    names = [
        f"principal component {i + 1} ({shares[i]:.0%} of the variance of z_mean)"
        for i in range(2)
    ]
    return directions[:2], names


def draw_latent_plane(
    points: np.ndarray,
    labels: np.ndarray | None,
    class_names: Sequence[str] | None,
    axis_names: Sequence[str],
    title: str = "",
    decode: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Figure:
    """Return a scatter plot of the latent plane and, given `decode`, a grid beside it.

    points: shape (n, 2). labels: class numbers, shape (n,), or None; class_names[label]
    is the name of a class. decode: returns the images of points of the plane, (m, 2).
    """
    figure = Figure(figsize=(11, 5.8) if decode else (6, 6), layout="compressed")
    axes, *others = np.ravel(figure.subplots(1, 2 if decode else 1, sharey=True))
    order = np.random.default_rng(0).permutation(len(points))  # no class on top
    points, labels = points[order], None if labels is None else labels[order]
    reach = pictures.find_reach(points)
    area = np.clip(80_000 / len(points), 8, 40)  # small, but not sparse
    pictures.draw_clusters(axes, points, labels, class_names, reach, area, 13)
    if outside := int((np.abs(points) > reach).any(axis=1).sum()):
        title += f", {outside:,} beyond the frame"
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1], title=title)
    for axes in others:
        values = reach * (np.arange(SIZE) + 0.5) / SIZE * 2 - reach
        images = decode(pictures.plane_grid(values, np.eye(2)))
        picture = pictures.tile(images, SIZE)
        extent = (-reach, reach, -reach, reach)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, extent=extent)
        axes.set(xlabel=axis_names[0], title="decoded points of the same plane")
    return figure


def main(options: Options) -> None:
    pictures.check_picture(options.output)
    vae, settings = load_vae(options.weights)
    dataset = data.load_again(settings, options.weights, options.data)
    z_mean, _ = vae.encode(dataset.x_test)
    directions, axis_names = find_plane(z_mean)
    kind = "held-out images" if dataset.disjoint else "images"
    figure = draw_latent_plane(
        z_mean @ directions.T,
        dataset.y_test,
        dataset.class_names,
        axis_names,
        f"{len(z_mean):,} {kind} in the latent plane",
        (lambda points: vae.decode(points @ np.float32(directions)))
        if options.grid
        else None,
    )
    pictures.save_picture(figure, options.output, options.show)


if __name__ == "__main__":
    cli.run(main, options)
