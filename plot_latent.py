"""Plot the latent plane: where the encoder puts the held-out images.

    python plot_latent.py
    python plot_latent.py --grid      beside it, what the decoder draws there

Each image is a point at its z_mean, colored by its class. By default the model never
sees a label: where the classes form clusters, it found them by itself. With
--conditional it is given the label, z need not say it, and the classes overlap. With
more than two latent dimensions the picture shows the plane in which the points vary
most (PCA).
"""

from dataclasses import dataclass

from support import cli
from support.trained import NewPicture, Trained


@cli.options(__doc__)
@dataclass
class Options(Trained):
    output: NewPicture = "latent.png"  # the picture to write; its ending is the format
    grid: bool = False  # also decode a grid of points of the plane
    show: bool = False  # open the picture in the browser


from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import patches
from matplotlib.figure import Figure

from support import pictures
from support.errors import UserError
from support.shown import load_images
from vae_mnist import load_vae

SIZE = 24  # images per side of the grid
LABELS_GIVEN = "\nthe labels were given, so z need not tell the classes apart"


def draw_latent_plane(
    points: np.ndarray,
    labels: np.ndarray | None,
    class_names: Sequence[str] | None,
    axis_names: Sequence[str],
    title: str = "",
    decode: Callable[[np.ndarray], np.ndarray] | None = None,
    remark: str = "",
) -> Figure:
    """Return a scatter plot of the latent plane and, given `decode`, a grid beside it.

    points: shape (n, 2). labels: class numbers, shape (n,), or None; class_names[label]
    is the name of a class. decode: returns the images of points of the plane, (m, 2).
    remark: text to add below the plot.
    """
    figure = Figure(figsize=(11, 5.8) if decode else (6, 6), layout="compressed")
    panels = figure.subplots(1, 2 if decode else 1, sharey=True, squeeze=False)[0]
    order = np.random.default_rng(0).permutation(len(points))  # no class on top
    points = points[order]
    labels = None if labels is None else labels[order]
    reach = pictures.find_reach(points)
    if not decode:
        reach = max(reach, 1.05 * pictures.GRID)  # so that the square is in the frame
    area = np.clip(80_000 / len(points), 8, 40)  # small, but not sparse
    pictures.draw_clusters(panels[0], points, labels, class_names, reach, area, 13)
    if outside := int((np.abs(points) > reach).any(axis=1).sum()):
        title += f", {outside:,} beyond the frame"
    panels[0].set(xlabel=axis_names[0], ylabel=axis_names[1], title=title)
    if decode:
        values = reach * (np.arange(SIZE) + 0.5) / SIZE * 2 - reach
        images = decode(pictures.plane_grid(values, np.eye(2)))
        picture = pictures.tile(images, SIZE)
        extent = (-reach, reach, -reach, reach)
        panels[1].imshow(picture, cmap="gray", vmin=0, vmax=1, extent=extent)
        panels[1].set(xlabel=axis_names[0], title="decoded points of the same plane")
    else:
        corner = (-pictures.GRID, -pictures.GRID)
        square = patches.Rectangle(corner, 2 * pictures.GRID, 2 * pictures.GRID)
        square.set(fill=False, linestyle="--", alpha=0.4)
        panels[0].add_patch(square)
        script = "generate_grid.py" + " --label" * bool(remark)
        note = f"dashed: the square that {script} draws"
        outside = int((np.abs(points) > pictures.GRID).any(axis=1).sum())
        if outside > len(points) / 2:
            note += f"; {outside:,} of {len(points):,} are outside: try --range"
        figure.supxlabel(note + remark, size=9)
    return figure


def main(options: Options) -> None:
    vae, settings = load_vae(options.weights)
    if options.grid and vae.class_names:
        problem = "--grid: this VAE draws another plane for every label"
        script = f"generate_grid.py --label {vae.class_names[0]}"
        raise UserError(f"{problem}: {script} draws one")
    shown = load_images(settings, options.weights, options.data)
    z_mean, _ = vae.encode(shown.images, shown.labels)
    directions, axis_names = pictures.find_plane(z_mean)

    def decode(points):
        return vae.decode(points @ directions)

    figure = draw_latent_plane(
        z_mean @ directions.T,
        shown.labels,
        shown.class_names,
        axis_names,
        f"{len(z_mean):,} {shown.kind} in the latent plane",
        decode if options.grid else None,
        LABELS_GIVEN if vae.class_names else "",
    )
    pictures.save_picture(figure, options.output, options.show)


if __name__ == "__main__":
    cli.run(main, Options)
