"""Makes one HTML page in which to explore the latent plane, by hand.

    python explore.py                  explore.html: open it in any browser
    python explore.py --gif tour.gif   a tour through the classes, for slides

Draw an image, and see where the encoder puts it, how sure it is, and what the decoder
makes of that; move over the plane, and see what is drawn at each point. Both run in the
page, which needs no network and no server.
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
import re
import webbrowser

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image
from sklearn.cluster import KMeans

from support import data, files
from support.backend import layers
from support.pictures import LEGEND, check_plane, class_colours, tile
from vae_mnist import load_vae

SUPPORT = pathlib.Path(__file__).parent / "support"
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


def floats(array, bits=32):
    """An array as base64 of 16-bit or 32-bit floats, as the page reads it."""
    return base64.b64encode(np.asarray(array, f"<f{bits // 8}").tobytes()).decode()


def dense_layers(model, bits):
    """The dense layers of a model for JSON, by name, as floats of so many bits.

    Raises ValueError where there are others.
    """
    found = {}
    for layer in model.layers:
        if layer.weights:
            if not isinstance(layer, layers.Dense):
                raise ValueError(
                    f"the page knows dense layers only: {layer.name} is none"
                )
            kernel, bias = layer.get_weights()
            found[layer.name] = {
                "kernel": floats(kernel, bits),
                "bias": floats(bias, bits),
                "activation": layer.activation.__name__,
            }
    return found


def bits_needed(vae, z):
    """16, where the decoder's pixels at z stay within a grey level of what they are
    when its weights are rounded to floats of so few bits; otherwise 32."""
    weights, exact = vae.decoder.get_weights(), vae.decode(z)
    with np.errstate(over="ignore"):
        vae.decoder.set_weights([np.float16(weight) for weight in weights])
    difference = np.abs(vae.decode(z) - exact).max()
    vae.decoder.set_weights(weights)
    return 16 if difference <= 1 / 255 else 32


def like_mnist(images):
    """Whether images are placed as MNIST's digits are: what is not black fits into
    20 × 20 pixels, and has its centre of mass in the middle of 28 × 28."""
    if images.shape[1:] != (28, 28):
        return False
    mass = images.sum(axis=(1, 2), dtype="float64")
    for axis in (1, 2):
        lines = images.any(axis=3 - axis)  # (n, 28): rows or columns with ink
        extent = 28 - lines.argmax(axis=1) - lines[:, ::-1].argmax(axis=1)
        along = images.sum(axis=3 - axis, dtype="float64") @ (np.arange(28) + 0.5)
        placed = (extent <= 20) & (np.abs(along / np.maximum(mass, 1) - 14.5) < 0.6)
        if placed.mean() < 0.95:
            return False
    return True


def contact_sheet(images, columns):
    """All images in one, `columns` to a row, as a data URL of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(tile(images, columns)).save(buffer, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def read_page():
    """support/explore.html, with the style and the scripts that it names inside."""

    def text(name):
        return (SUPPORT / name).read_text(encoding="utf-8")

    page = text("explore.html")
    for element, tag in (
        ('<link rel="stylesheet" href="(.+)">', "style"),
        ('<script src="(.+)"></script>', "script"),
    ):
        page = re.sub(element, lambda m, t=tag: f"<{t}>\n{text(m[1])}</{t}>", page)
    return page


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
    bits = bits_needed(vae, z_mean[chosen])
    encoder = dense_layers(vae.encoder, bits)  # The page itself brings x to [0, 1].
    decoder = dense_layers(vae.decoder, bits)
    known = {
        "shape": vae.image_shape,
        "bits": bits,
        "z_mean": encoder.pop("z_mean"),
        "z_log_sigma": encoder.pop("z_log_sigma"),
        "hidden": list(encoder.values()),
        "decoder": list(decoder.values()),
        "beta": vae.beta,
        "binarize": vae.binarize,
        "centred": like_mnist(images[chosen]),
        "latentDim": z_mean.shape[1],
        "dims": dims,
        "reach": max(3.0, 1.05 * float(np.abs(z_mean[:, dims]).max())),
        "z": floats(z_mean[chosen]),
        "labels": None if labels is None else labels[chosen].tolist(),
        "classNames": class_names,
        "classes": class_names if len(class_names) <= LEGEND else [],
        "colours": [to_hex(colour) for colour in colours],
        "sheet": contact_sheet(images[chosen], columns),
        "columns": columns,
        "tour": floats(tour(z_mean, labels)),
        "seconds": SECONDS,
    }
    # No text of the data set may end the script element.
    return read_page().replace('"DATA"', json.dumps(known).replace("<", "\\u003c"))


def main(args):
    if args.given >= {"gif", "output"}:
        raise ValueError("--gif writes an animation, --output the page: give one")
    output = args.gif or args.output
    files.check_place(output)
    vae, settings = load_vae(args.weights)
    dataset = data.load_again(settings, args.weights, args.data)
    check_plane(vae.latent_dim)
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
