"""Make one HTML page in which to explore a VAE by hand.

    python -m extras.explore                  explore.html: open it in any browser
    python -m extras.explore --weights a.weights.h5 b.weights.h5        to compare

Draw an image: the page shows where the encoder puts it, how sure it is, and what the
decoder makes of it. Move over the latent plane to see what is drawn at each point. The
page is a single file that needs no network and no server.
"""

from dataclasses import dataclass
from typing import Annotated

from support import cli
from support.trained import Trained, WeightsFile


@cli.options(__doc__)
@dataclass
class Options(Trained):
    weights: tuple[WeightsFile, ...] = (cli.WEIGHTS,)  # one file or several to compare
    output: Annotated[str, cli.writable(".html")] = "explore.html"  # the page to write
    show: bool = False  # open the page in a browser


import collections
import json
import pathlib
import re
import webbrowser

import numpy as np
from matplotlib.colors import to_hex

from support import files, page_data, page_grid, pictures
from support.errors import UserError
from support.shown import Shown, load_images
from vae_mnist import VAE, load_vae

Array = np.ndarray
PAGE = pathlib.Path(pictures.__file__).with_name("page")
IMAGES = 2000  # images in the page, at most …
PIXELS = 2_000_000  # … and numbers in them


def bundle(name: str, bundled: set[str]) -> str:
    """Return a JavaScript module of the page after those that it imports, each once.

    A page opened from disk cannot import modules, so all become one, without the words
    `import` and `export`.
    """
    bundled.add(name)
    source = (PAGE / name).read_text(encoding="utf-8")
    needed = re.findall(r'^import [^;]*"\./(.+)";\n', source, flags=re.MULTILINE)
    before = [bundle(file, bundled) for file in needed if file not in bundled]
    source = re.sub(r"^import [^;]*;\n|^export ", "", source, flags=re.MULTILINE)
    return "".join(before) + source


def check_names(script: str) -> None:
    """Raise ValueError if modules of a bundle define the same name."""
    defined = r"^(?:async )?(?:const|let|class|function\*?) (\w+|[{[][^=]*[}\]])"
    names = " ".join(re.findall(defined, script, flags=re.MULTILINE))
    counts = collections.Counter(re.findall(r"\w+", names))
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"several modules of the page define {twice}")


def make_page(vaes: list[VAE], names: list[str], shown: Shown) -> str:
    """Return the HTML of the page for models and their images."""
    images, labels, classes = shown.images, shown.labels, shown.class_names or []
    named = [] if labels is None or len(classes) > pictures.LEGEND else classes
    chosen = np.random.default_rng(0).permutation(len(images))
    chosen = chosen[: min(IMAGES, max(1, PIXELS // images[0].size))]
    columns = int(np.ceil(len(chosen) ** 0.5))
    picks = page_grid.quick_picks(vaes[0], images[chosen])
    known = {
        "shape": images.shape[1:],
        "models": [
            {"name": name} | page_data.describe(vae, images, labels, named, chosen)
            for name, vae in zip(names, vaes, strict=True)
        ],
        "centered": page_data.like_mnist(images[chosen]),
        "labels": None if labels is None else labels[chosen].tolist(),
        "classNames": classes,
        "classes": named,
        "colors": [to_hex(color) for color in pictures.class_colors(len(classes))],
        "sheet": page_data.contact_sheet(images[chosen], columns),
        "columns": columns,
        "picks": picks,
    }
    html = (PAGE / "index.html").read_text("utf-8")
    style = f"<style>\n{(PAGE / 'style.css').read_text('utf-8')}</style>"
    html = html.replace('<link rel="stylesheet" href="style.css">', style)
    icon = page_data.contact_sheet(images[chosen][picks[:1]], 1)
    html = html.replace('href="ICON"', f'href="{icon}"')
    script = bundle("main.js", set())
    check_names(script)
    html = html.replace(' src="main.js">', f">\n{script}")
    # No text of the data set may end the script element.
    return html.replace('"DATA"', json.dumps(known).replace("<", "\\u003c"))


def label_names(part: Shown) -> list[str] | None:
    """Return the name of the class of each image."""
    if part.labels is None:
        return None
    return [part.class_names[label] for label in part.labels]


def describe_option(name: str, value: object) -> str:
    """Return "β = 4" for beta = 4.0, and the like."""
    name = {"beta": "β"}.get(name, name)
    if isinstance(value, tuple):
        value = " ".join(map(str, value))
    return f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}"


def names_of(paths: tuple[str, ...], vaes: list[VAE]) -> list[str]:
    """Name models by the options that differ between them, or else by their files."""
    configs = [vae.config.stored() | {"data": None} for vae in vaes]
    differing = [k for k in configs[0] if len({str(c[k]) for c in configs}) > 1]
    names = [", ".join(describe_option(k, c[k]) for k in differing) for c in configs]
    return names if len(set(names)) == len(names) else list(paths)


def main(options: Options) -> None:
    vaes, loaded = [], []
    for path in options.weights:
        vae, settings = load_vae(path)
        pictures.check_plane(vae.config.latent_dim)
        if vae.config.network == "conv":
            raise UserError(f"{path}: the page cannot show --network conv")
        if len(vae.class_names) > pictures.LEGEND:
            raise UserError(f"{path}: too many labels for the page")
        vaes.append(vae)
        loaded.append(load_images(settings, path, options.data))
    # A conditional model knows its labels by their numbers, so these are the page's.
    conditional = [i for i, vae in enumerate(vaes) if vae.class_names]
    shown = loaded[(conditional or [0])[0]]
    for i, (path, other) in enumerate(zip(options.weights, loaded, strict=True)):
        same = np.array_equal(shown.images, other.images)
        if i in conditional:
            same = same and shown.class_names == other.class_names
        if conditional:
            same = same and label_names(shown) == label_names(other)
        if not same:
            problem = f"{path} needs other images or labels than the first model"
            raise UserError(f"{problem}: make a page of each")
    page = make_page(vaes, names_of(options.weights, vaes), shown)
    with files.replacing(options.output) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"wrote {options.output}")
    if options.show:
        webbrowser.open(pathlib.Path(options.output).resolve().as_uri())


if __name__ == "__main__":
    cli.run(main, Options)
