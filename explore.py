"""Makes one HTML page in which to explore the latent plane, by hand.

    python explore.py                  explore.html: open it in any browser
    python explore.py --gif tour.gif   a tour through the classes, for slides

Move over the plane, and the decoder draws what it makes of each point, live: it runs in
the page. Drag a path and walk along it. The page needs no network and no server.
"""

from support import command_line

if __name__ == "__main__":  # before the imports, which take seconds
    options = command_line.drawing("explore.html", [".html"]) | {
        "gif": (
            None,
            "write the tour as an animation instead (default: none)",
            command_line.file_ending_in(".gif"),
        )
    }
    args = command_line.read(__doc__, command_line.TRAINED_ON, options)

import base64
import io
import json
import pathlib
import webbrowser

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image
from sklearn.cluster import KMeans

from support import data, files
from support.pictures import LEGEND, class_colours, tile
from vae_mnist import load_vae

PAGE = pathlib.Path(__file__).parent / "support" / "explore.html"
IMAGES = 2000  # held-out images in the page …
PIXELS = 2_000_000  # … or so many that they have this many numbers: 3 MB in all
FRAMES = 200  # of the tour
SECONDS = 20  # that the tour takes


def tour(z_mean, labels):
    """A closed, smooth path through the classes of the latent space.

    z_mean: shape (n, latent_dim); labels: class numbers, shape (n,), or None.
    Each stop is the median of a class; without classes, the centre of a cluster that
    k-means finds. Between the stops lies a closed Catmull-Rom spline (Catmull & Rom
    1974). Returns shape (FRAMES, latent_dim).
    """
    if labels is None or not 3 <= len(np.unique(labels)) <= FRAMES:
        clusters = min(10, len(np.unique(z_mean, axis=0)))
        labels = KMeans(clusters, random_state=0).fit_predict(z_mean)
    stops = np.stack(
        [np.median(z_mean[labels == c], axis=0) for c in np.unique(labels)]
    )
    position = np.arange(FRAMES) / FRAMES * len(stops)
    at, t = position.astype(int), (position % 1)[:, None]
    before, start, end, after = (stops[(at + i) % len(stops)] for i in (-1, 0, 1, 2))
    return start + t / 2 * (
        end
        - before
        + t * (2 * before - 5 * start + 4 * end - after)
        + t**2 * (3 * (start - end) + after - before)
    )


def grey_levels(probabilities):
    """uint8 of probabilities in [0, 1]."""
    return np.round(255 * probabilities).astype("uint8")


def write_gif(vae, path, file):
    """Writes what the decoder makes of a path, shape (n, latent_dim), as a GIF."""
    height, width, *channels = vae.image_shape
    scale = max(1, 224 // max(height, width))
    frames = [
        Image.fromarray(image)
        .resize((scale * width, scale * height), Image.Resampling.NEAREST)
        .quantize(256 if channels else 32)
        for image in grey_levels(vae.decode(path))
    ]
    duration = round(1000 * SECONDS / len(frames) / 10) * 10  # GIF counts in 10 ms.
    with files.replacing(file) as part:
        frames[0].save(
            part, save_all=True, append_images=frames[1:], duration=duration, loop=0
        )


def floats(array):
    """An array as base64 of 32-bit floats, as the page reads it."""
    return base64.b64encode(np.asarray(array, "<f4").tobytes()).decode()


def contact_sheet(images, columns):
    """All images in one, `columns` to a row, as a data URL of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(tile(images, columns)).save(buffer, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def make_page(vae, images, z_mean, labels, class_names):
    """The HTML of the page.

    images: held-out images, uint8, shape (n, *image_shape); z_mean: theirs, shape
    (n, latent_dim); labels: shape (n,), or None; class_names: class_names[label].
    """
    dims = sorted(np.argsort(z_mean.var(axis=0))[-2:].tolist())
    chosen = np.random.default_rng(0).permutation(len(images))
    chosen = chosen[: min(IMAGES, max(1, PIXELS // images[0].size))]
    columns = int(np.ceil(len(chosen) ** 0.5))
    if labels is None:
        class_names = []
    colours = class_colours(len(class_names))
    dense = [layer for layer in vae.decoder.layers if layer.weights]
    known = {
        "shape": vae.image_shape,
        "layers": [
            {
                "activation": layer.activation.__name__,
                "kernel": floats(layer.get_weights()[0]),
                "bias": floats(layer.get_weights()[1]),
            }
            for layer in dense
        ],
        "latentDim": z_mean.shape[1],
        "dims": dims,
        "reach": max(3.0, 1.05 * float(np.abs(z_mean[:, dims]).max())),
        "z": floats(z_mean[chosen]),
        "labels": None if labels is None else labels[chosen].tolist(),
        "classes": class_names if len(class_names) <= LEGEND else [],
        "colours": [to_hex(colour) for colour in colours],
        "sheet": contact_sheet(images[chosen], columns),
        "columns": columns,
        "tour": floats(tour(z_mean, labels)),
        "seconds": SECONDS,
    }
    # No text of the data set may end the script element.
    known = json.dumps(known).replace("<", "\\u003c")
    return PAGE.read_text(encoding="utf-8").replace('"DATA"', known)


def main(args):
    if args.given >= {"gif", "output"}:
        raise ValueError("--gif writes an animation, --output the page: give one")
    output = args.gif or args.output
    files.check_place(output)
    vae, settings = load_vae(args.weights)
    dataset = data.load_again(settings, args.weights, args.data)
    if vae.latent_dim == 1:
        raise ValueError("one latent dimension makes no plane: train with two or more")
    z_mean = vae.encoder.predict(dataset.x_test, batch_size=1000, verbose=0)["z_mean"]
    if args.gif:
        write_gif(vae, tour(z_mean, dataset.y_test), args.gif)
    else:
        page = make_page(
            vae, dataset.x_test, z_mean, dataset.y_test, dataset.class_names
        )
        with files.replacing(args.output) as part:
            part.write_text(page, encoding="utf-8")
    print(f"wrote {output}")
    if args.show:
        webbrowser.open(pathlib.Path(output).resolve().as_uri())


if __name__ == "__main__":
    command_line.run(main, args)
