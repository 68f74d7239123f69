"""Makes one HTML page in which to explore the latent plane, by hand.

    python explore.py                  explore.html: open it in any browser
    python explore.py --gif tour.gif   a tour through the classes, for slides

Move over the plane, and the decoder draws what it makes of each point, live: it runs in
the page. Drag a path and walk along it. The page needs no network and no server.
"""

import base64
import io
import json
import pathlib
import webbrowser

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image
from sklearn.cluster import KMeans

import vae_mnist

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
    height, width, *channels = vae.config["image_shape"]
    scale = max(1, 224 // max(height, width))
    frames = [
        Image.fromarray(image)
        .resize((scale * width, scale * height), Image.Resampling.NEAREST)
        .quantize(256 if channels else 32)
        for image in grey_levels(vae.decode(path))
    ]
    duration = round(1000 * SECONDS / len(frames) / 10) * 10  # GIF counts in 10 ms.
    with vae_mnist.replacing(file) as part:
        frames[0].save(
            part, save_all=True, append_images=frames[1:], duration=duration, loop=0
        )


def floats(array):
    """An array as base64 of 32-bit floats, as the page reads it."""
    return base64.b64encode(np.asarray(array, "<f4").tobytes()).decode()


def contact_sheet(images, columns):
    """All images in one, `columns` to a row, as a data URL of a PNG."""
    height, width, *channels = images.shape[1:]
    rows = -(-len(images) // columns)
    sheet = np.zeros((rows * columns, height, width, *channels), "uint8")
    sheet[: len(images)] = images
    sheet = sheet.reshape(rows, columns, height, width, *channels).swapaxes(1, 2)
    buffer = io.BytesIO()
    Image.fromarray(sheet.reshape(rows * height, columns * width, *channels)).save(
        buffer, "png", optimize=True
    )
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
    colours = vae_mnist.class_colours(len(class_names))
    dense = [layer for layer in vae.decoder.layers if layer.weights]
    known = {
        "shape": vae.config["image_shape"],
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
        "classes": class_names if len(class_names) <= vae_mnist.LEGEND else [],
        "colours": [to_hex(colour) for colour in colours],
        "sheet": contact_sheet(images[chosen], columns),
        "columns": columns,
        "tour": floats(tour(z_mean, labels)),
        "seconds": SECONDS,
    }
    # No text of the data set may end the script element.
    return PAGE.replace("DATA", json.dumps(known).replace("<", "\\u003c"))


def main():
    parser = vae_mnist.command_line(__doc__, images=True)
    option = parser.add_argument
    option(
        "--output",
        type=vae_mnist.ending_in(".html"),
        default="explore.html",
        metavar="FILE",
        help="the page (default: %(default)s)",
    )
    option("--show", action="store_true", help="open it in the browser, too")
    option(
        "--gif",
        type=vae_mnist.ending_in(".gif"),
        metavar="FILE",
        help="write the tour as an animation instead of the page",
    )
    args = parser.parse_args()
    output = args.gif or args.output
    vae_mnist.check_place(output)

    vae, dataset = vae_mnist.load_vae_and_images(args.weights, args.data)
    if vae.config["latent_dim"] == 1:
        raise ValueError("one latent dimension makes no plane: train with two or more")
    z_mean = vae.encoder.predict(dataset.x_test, batch_size=1000, verbose=0)["z_mean"]
    if args.gif:
        write_gif(vae, tour(z_mean, dataset.y_test), args.gif)
    else:
        page = make_page(
            vae, dataset.x_test, z_mean, dataset.y_test, dataset.class_names
        )
        with vae_mnist.replacing(args.output) as part:
            part.write_text(page, encoding="utf-8")
    print(f"wrote {output}")
    if args.show:
        webbrowser.open(pathlib.Path(output).resolve().as_uri())


PAGE = r"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
  img-src data:; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<title>The latent plane of a VAE</title>
<style>
  :root {
    color-scheme: light dark;
    --paper: #ffffff; --ink: #1b1b1f; --faint: #d5d5dd; --accent: #0b57d0;
  }
  @media (prefers-color-scheme: dark) {
    :root { --paper: #16161a; --ink: #ececf1; --faint: #44444f; --accent: #8ab4f8; }
  }
  * { box-sizing: border-box; }
  body {
    margin: 0 auto; padding: 1rem;
    background: var(--paper); color: var(--ink);
    font: 1rem/1.4 system-ui, sans-serif;
  }
  h1 { font-size: 1.3rem; margin: 0; }
  p { margin: .3rem 0 .8rem; }
  main { display: grid; gap: 0 1.5rem; justify-content: start;
    --side: min(50vw - 2rem, 100vh - 14rem);
    grid-template: auto 1fr / repeat(2, minmax(17rem, var(--side))); }
  #shown { grid-area: 1 / 2 / span 2; }
  canvas { display: block; width: 100%; }
  #plane { aspect-ratio: 1; border: 1px solid var(--faint); touch-action: none;
    cursor: crosshair; }
  #picture, #original, #reconstruction { image-rendering: pixelated;
    border: 1px solid var(--faint); }
  :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
  fieldset { border: 0; margin: .6rem 0 0; padding: 0; min-width: 0;
    display: flex; flex-wrap: wrap; gap: .2rem .9rem; align-items: center; }
  label { white-space: nowrap; overflow: hidden; text-overflow: ellipsis;
    max-width: 100%; }
  button { font: inherit; padding: .3rem .8rem; }
  .swatch { display: inline-block; width: .8em; height: .8em; border-radius: 50%; }
  #near { display: flex; gap: 1rem; margin-top: .8rem; visibility: hidden; }
  #near figure { margin: 0; width: 8rem; }
  #sliders { max-height: 14rem; overflow-y: auto; }
  output { font-variant-numeric: tabular-nums; }
  @media (max-width: 45rem) {
    main { grid-template: none / minmax(0, 1fr); gap: .6rem; }
    #shown { grid-area: auto; display: grid; gap: .6rem;
      grid-template-columns: 1fr 1fr; }
    #near { margin: 0; gap: .5rem; font-size: .75rem; }
    #near figure { flex: 1; min-width: 0; }
  }
</style>
<h1>The latent plane of a variational autoencoder</h1>
<p>Move over the plane: the decoder draws what it makes of each point.
  Drag a path, then walk it.</p>
<main>
  <div id="shown">
    <canvas id="picture" role="img" aria-label="What the decoder draws"></canvas>
    <div id="near">
      <figure>
        <canvas id="original"></canvas>
        <figcaption>held-out image</figcaption>
      </figure>
      <figure>
        <canvas id="reconstruction"></canvas>
        <figcaption>its reconstruction</figcaption>
      </figure>
    </div>
  </div>
  <canvas id="plane" tabindex="0" role="img" aria-label="The latent plane.
    Arrow keys move the point; with Shift, faster."></canvas>
  <div>
    <fieldset>
      <button id="walk" disabled>Walk the path</button>
      <button id="tour">Tour</button>
      <button id="stop" disabled>Stop</button>
      <label><input type="checkbox" id="grid"> manifold</label>
      <output id="z"></output>
    </fieldset>
    <fieldset id="legend"></fieldset>
    <fieldset id="sliders"></fieldset>
  </div>
</main>
<script type="application/json" id="data">DATA</script>
<script>
"use strict";
const $ = (id) => document.getElementById(id);
const known = JSON.parse($("data").textContent);
const floats = (text) => new Float32Array(
  Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);

// The decoder: dense layers, h ↦ activation(h · kernel + bias), then a sigmoid.
const ACTIVATIONS = {
  linear: (x) => x,
  tanh: Math.tanh,
  relu: (x) => Math.max(0, x),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  silu: (x) => x / (1 + Math.exp(-x)),
};
const layers = known.layers.map(({ kernel, bias, activation }) => ({
  kernel: floats(kernel), bias: floats(bias), activation: ACTIVATIONS[activation],
  sum: new Float64Array(floats(bias).length),
}));

function decode(z) {  // → the logit of each pixel, until the next call
  let h = z;
  for (const { kernel, bias, activation, sum } of layers) {
    sum.set(bias);
    for (let i = 0; i < h.length; i++) {
      const value = h[i], row = i * sum.length;
      for (let j = 0; j < sum.length; j++) sum[j] += value * kernel[row + j];
    }
    for (let j = 0; j < sum.length; j++) sum[j] = activation(sum[j]);
    h = sum;
  }
  return h;
}

const [height, width, channels = 1] = known.shape;
const pixels = new ImageData(width, height);
function decoded(z) {
  const logits = decode(z);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      const logit = logits[channels === 3 ? 3 * i + c : i];
      pixels.data[4 * i + c] = Math.round(255 / (1 + Math.exp(-logit)));
    }
    pixels.data[4 * i + 3] = 255;
  }
  return pixels;
}
for (const id of ["picture", "original", "reconstruction"]) {
  $(id).width = width;
  $(id).height = height;
}
const paint = (id, z) => $(id).getContext("2d").putImageData(decoded(z), 0, 0);

// The latent space. z is the point that is shown; across and up are its place.
const dim = known.latentDim, [across, up] = known.dims;
const z = new Float64Array(dim), points = floats(known.z);
const count = points.length / dim;
const point = (i) => points.subarray(i * dim, (i + 1) * dim);
const sheet = new Image();
sheet.src = known.sheet;

const plane = $("plane"), hidden = new Set();
let path = [], walk = null, backdrop = null;
const toPixel = (value, size) => (value / known.reach + 1) / 2 * size;
const x = (value) => toPixel(value, plane.width);
const y = (value) => toPixel(-value, plane.height);
const classOf = (i) => (known.labels ? known.labels[i] : 0);
const style = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name);

function drawBackdrop() {
  backdrop = document.createElement("canvas");
  backdrop.width = backdrop.height = plane.width;
  const pen = backdrop.getContext("2d"), size = plane.width;
  if ($("grid").checked) {
    const cells = 20, cell = size / cells, tile = document.createElement("canvas");
    tile.width = width;
    tile.height = height;
    pen.globalAlpha = 0.35;
    const here = Float64Array.from(z);
    for (let row = 0; row < cells; row++) {
      for (let column = 0; column < cells; column++) {
        here[across] = known.reach * (2 * (column + 0.5) / cells - 1);
        here[up] = known.reach * (1 - 2 * (row + 0.5) / cells);
        tile.getContext("2d").putImageData(decoded(here), 0, 0);
        pen.drawImage(tile, column * cell, row * cell, cell, cell);
      }
    }
  }
  pen.globalAlpha = 1;
  pen.strokeStyle = pen.fillStyle = style("--faint");
  pen.beginPath();
  pen.moveTo(0, size / 2);
  pen.lineTo(size, size / 2);
  pen.moveTo(size / 2, 0);
  pen.lineTo(size / 2, size);
  pen.stroke();
  pen.globalAlpha = 0.65;
  for (let i = 0; i < count; i++) {
    if (hidden.has(classOf(i))) continue;
    pen.fillStyle = known.colours[classOf(i) % known.colours.length];
    pen.beginPath();
    pen.arc(x(point(i)[across]), y(point(i)[up]), size / 220, 0, 2 * Math.PI);
    pen.fill();
  }
}

function nearest() {  // the visible held-out image whose point is close by, or −1
  let best = -1, least = (known.reach / 40) ** 2;
  for (let i = 0; i < count; i++) {
    const distance = (point(i)[across] - z[across]) ** 2 + (point(i)[up] - z[up]) ** 2;
    if (distance < least && !hidden.has(classOf(i))) [best, least] = [i, distance];
  }
  return best;
}

let asked = false;
function show() {  // at most once per frame of the screen
  if (!asked) requestAnimationFrame(draw);
  asked = true;
}

function draw() {
  asked = false;
  if (!backdrop) drawBackdrop();
  const pen = plane.getContext("2d"), size = plane.width;
  pen.clearRect(0, 0, size, size);
  pen.drawImage(backdrop, 0, 0);
  pen.strokeStyle = pen.fillStyle = style("--ink");
  pen.lineWidth = size / 250;
  pen.beginPath();
  for (const place of path) pen.lineTo(x(place[across]), y(place[up]));
  pen.stroke();
  pen.beginPath();
  pen.arc(x(z[across]), y(z[up]), size / 70, 0, 2 * Math.PI);
  pen.stroke();

  const written = Array.from(z, (value) => value.toFixed(2).replace("-", "−"));
  $("z").textContent = dim === 2 ? `z = (${written.join(", ")})`
    : `z[${across}] = ${written[across]}, z[${up}] = ${written[up]}`;
  $("z").dataset.z = JSON.stringify(Array.from(z));
  for (const slider of $("sliders").querySelectorAll("input")) {
    slider.value = z[slider.dataset.dim];
  }
  const i = nearest();
  $("near").style.visibility = i < 0 ? "hidden" : "visible";
  if (i >= 0) {
    const left = i % known.columns * width;
    const top = Math.floor(i / known.columns) * height;
    $("original").getContext("2d")
      .drawImage(sheet, left, top, width, height, 0, 0, width, height);
    paint("reconstruction", point(i));
  }
  paint("picture", z);
}

function moveTo(place) {
  const limit = known.reach;
  place.forEach((value, i) => { z[i] = Math.min(limit, Math.max(-limit, value)); });
  show();
}

// Pointers: hovering moves the point, dragging draws a path as well.
function placeOf(event) {
  const box = plane.getBoundingClientRect(), place = Float64Array.from(z);
  place[across] = known.reach * (2 * (event.clientX - box.left) / box.width - 1);
  place[up] = known.reach * (1 - 2 * (event.clientY - box.top) / box.height);
  return place;
}
let drawing = false;
plane.addEventListener("pointerdown", (event) => {
  if (event.button || !event.isPrimary) return;
  stopWalk();
  drawing = true;
  plane.setPointerCapture(event.pointerId);
  path = [];
  moveTo(placeOf(event));
});
plane.addEventListener("pointermove", (event) => {
  if (walk) return;
  moveTo(placeOf(event));
  if (drawing) path.push(Float64Array.from(z));
});
plane.addEventListener("lostpointercapture", () => {
  drawing = false;
  $("walk").disabled = path.length < 2;
});
plane.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1],
    ArrowDown: [0, -1] };
  if (!(event.key in moves)) return;
  event.preventDefault();
  stopWalk();
  const step = known.reach / (event.shiftKey ? 12 : 60), place = Float64Array.from(z);
  place[across] += step * moves[event.key][0];
  place[up] += step * moves[event.key][1];
  moveTo(place);
});

// Walks, in a loop.
function startWalk(places, seconds) {
  stopWalk();
  $("stop").disabled = false;
  const start = performance.now(), mine = walk = {};
  function step(now) {
    if (walk !== mine) return;
    const position = Math.max(0, now - start) / 1000 / seconds * places.length;
    const i = Math.floor(position), t = position - i;
    const from = places[i % places.length], to = places[(i + 1) % places.length];
    moveTo(Array.from(from, (value, k) => (1 - t) * value + t * to[k]));
    requestAnimationFrame(step);
  }
  requestAnimationFrame(step);
}
function stopWalk() {
  if (walk && dim > 2 && $("grid").checked) redraw();  // elsewhere in other dimensions
  walk = null;
  $("stop").disabled = true;
}
$("stop").addEventListener("click", stopWalk);
$("walk").addEventListener("click", () => {  // there and back: so that it closes
  const back = path.slice(1, -1).reverse();
  startWalk([...path, ...back], Math.max(2, path.length / 15));
});
$("tour").addEventListener("click", () => {
  const tour = floats(known.tour);
  path = [];
  for (let i = 0; i < tour.length; i += dim) path.push(tour.slice(i, i + dim));
  path.push(path[0]);
  $("walk").disabled = false;
  startWalk(path.slice(0, -1), known.seconds);
});

function redraw() {
  backdrop = null;
  show();
}
$("grid").addEventListener("change", redraw);

known.classes.forEach((name, i) => {
  const label = document.createElement("label"), box = document.createElement("input");
  const swatch = document.createElement("span");
  box.type = "checkbox";
  box.checked = true;
  box.addEventListener("change", () => {
    if (box.checked) hidden.delete(i); else hidden.add(i);
    redraw();
  });
  swatch.className = "swatch";
  swatch.style.background = known.colours[i % known.colours.length];
  label.append(box, " ", swatch, " ", name);
  $("legend").append(label);
});

for (let i = 0; i < dim; i++) {
  if (i === across || i === up) continue;
  const label = document.createElement("label");
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = -known.reach;
  slider.max = known.reach;
  slider.step = "any";
  slider.dataset.dim = i;
  slider.addEventListener("input", () => {
    stopWalk();
    z[i] = Number(slider.value);
    if ($("grid").checked) backdrop = null;
    show();
  });
  label.append(`z[${i}] `, slider);
  $("sliders").append(label);
}

function resize() {
  const size = Math.round(plane.clientWidth * window.devicePixelRatio);
  if (size === plane.width && size === plane.height) return;
  plane.width = plane.height = size;
  redraw();
}
new ResizeObserver(resize).observe(plane);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
sheet.decode().then(show);
</script>
</html>
"""


if __name__ == "__main__":
    with vae_mnist.errors_in_one_line():
        main()
