"""Draws latent planes side by side, of two or more weights files of labelled images.

python docs/planes.py OUTPUT TITLE=WEIGHTS TITLE=WEIGHTS ...
"""

import pathlib
import sys

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from support import data
from support.pictures import draw_clusters, save_picture
from vae_mnist import load_vae


def main(output, *runs):
    figure, plots = plt.subplots(
        1, len(runs), figsize=(4.2 * len(runs), 4.4), layout="compressed"
    )
    for axes, run in zip(plots, runs, strict=True):
        title, path = run.rsplit("=", 1)
        vae, settings = load_vae(path)
        held_out = data.load_again(settings, path, None)
        encoded = vae.encoder.predict(held_out.x_test, batch_size=1000, verbose=0)
        shown = np.random.default_rng(0).permutation(len(held_out.x_test))[:4000]
        points, labels = encoded["z_mean"][shown], held_out.y_test[shown]
        # All but a few strays: they would take the room of the others.
        reach = max(3, np.quantile(np.abs(points), 0.995))
        draw_clusters(axes, points, labels, held_out.class_names, reach, 8)
        axes.set(title=title, xlabel="z[0]", ylabel="z[1]")
        if axes is not plots[-1]:
            axes.get_legend().remove()
    save_picture(figure, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
