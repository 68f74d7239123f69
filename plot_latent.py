"""Plots the latent plane: where the encoder puts the held-out images.

    python plot_latent.py

Each image is a point at its z_mean, coloured by its class. The model never saw a
label: where the classes form clusters, it found them by itself. With more than two
latent dimensions the picture shows the plane in which the points vary most (PCA).
"""

from support import command_line

if __name__ == "__main__":  # before the imports, which take seconds
    drawing = command_line.drawing("latent.png")
    args = command_line.read(__doc__, command_line.TRAINED_ON, drawing)

import matplotlib.pyplot as plt
import numpy as np

from support import data
from support.pictures import check_plane, draw_clusters, save_picture
from vae_mnist import load_vae


def project(z_mean):
    """The plane of the two directions in which the points vary most.

    Principal components, but turned about the origin instead of the mean, so that
    the prior N(0, I) keeps its place and its shape.

    z_mean: shape (n, latent_dim). Returns points of shape (n, 2) and what to call the
    two axes. Raises ValueError where the points lie in no plane.
    """
    check_plane(z_mean.shape[1])
    if z_mean.shape[1] == 2:
        return z_mean, ["z[0]", "z[1]"]
    if len(z_mean) < 2 or not z_mean.var() > 0:
        raise ValueError("all images lie at one point: there is no plane through them")
    variances, directions = np.linalg.eigh(np.cov(z_mean, rowvar=False))
    largest = [-1, -2]  # eigh sorts ascending.
    shares = variances[largest] / variances.sum()
    names = [
        f"principal component {i} ({share:.0%} of the variance of z_mean)"
        for i, share in enumerate(shares, start=1)
    ]
    return z_mean @ directions[:, largest], names


def draw_latent_plane(points, labels, class_names, axis_names, title=None):
    """A scatter plot of the latent plane.

    points: shape (n, 2); labels: class numbers, shape (n,), or None;
    class_names: class_names[label] is what the legend calls a class.
    Returns the matplotlib Figure.
    """
    figure, axes = plt.subplots(figsize=(9, 8), layout="compressed")
    # In random order, so that no class lies on top of the others.
    order = np.random.default_rng(0).permutation(len(points))
    points, labels = points[order], None if labels is None else labels[order]
    reach = max(3, 1.05 * np.abs(points).max())
    area = np.clip(80_000 / len(points), 8, 40)  # small, but not sparse
    draw_clusters(axes, points, labels, class_names, reach, area)
    axes.set(
        xlabel=axis_names[0],
        ylabel=axis_names[1],
        title=title,
    )
    return figure


def main(args):
    vae, settings = load_vae(args.weights)
    dataset = data.load_again(settings, args.weights, args.data)
    z_mean = vae.encoder.predict(dataset.x_test, batch_size=1000, verbose=0)["z_mean"]
    points, axis_names = project(z_mean)
    kind = "held-out images" if dataset.held_out else "images"
    title = f"{len(points):,} {kind} in the latent plane"
    names = dataset.class_names, axis_names
    figure = draw_latent_plane(points, dataset.y_test, *names, title)
    save_picture(figure, args.output, args.show)


if __name__ == "__main__":
    command_line.run(main, args)
