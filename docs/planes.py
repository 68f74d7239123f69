"""Compare VAEs: each one's latent plane and, below it, images of random z ~ N(0, I).

    python docs/planes.py OUTPUT TITLE=WEIGHTS TITLE=WEIGHTS ...

All VAEs decode the same random z.
"""

import pathlib
import sys

import numpy as np
from matplotlib.figure import Figure

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from support import files, pictures
from support.shown import load_images
from vae_mnist import load_vae

COLUMNS, ROWS = 8, 3  # of the images


def main(output: str, *runs: str) -> None:
    files.check_writable(output)
    figure = Figure(figsize=(4 * len(runs), 6), layout="compressed")
    planes, samples = figure.subplots(2, len(runs), height_ratios=[8, 3])
    z = np.random.default_rng(0).standard_normal((COLUMNS * ROWS, 2), "float32")
    for above, below, run in zip(planes, samples, runs, strict=True):
        title, path = run.rsplit("=", 1)
        vae, settings = load_vae(path)
        shown = load_images(settings, path)
        some = np.random.default_rng(0).permutation(len(shown.images))[:4000]
        points, _ = vae.encode(shown.images[some])
        labels, names = shown.labels[some], shown.class_names
        reach = pictures.find_reach(points)
        pictures.draw_clusters(above, points, labels, names, reach, area=8)
        above.set_title(title)
        picture = pictures.tile(vae.decode(z), COLUMNS)
        below.imshow(picture, cmap="gray", vmin=0, vmax=1)
        below.set(xticks=[], yticks=[])
    samples[0].set_title(f"the same {len(z)} random z, decoded", loc="left", size=10)
    pictures.save_picture(figure, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
