"""explore.py: the page in a real browser, its arithmetic in Node, and the animation."""

import base64
import functools
import io
import json
import os
import shutil
import subprocess
import time

import numpy as np
import pytest
from conftest import ROOT, bars
from PIL import Image

import explore
import vae_mnist
from support import cli, data
from support.backend import keras, set_seed

CAP = 0.24  # of a stroke one pixel thick, as Chromium draws it
HOSTILE = '<img src=x onerror="document.title=1">"</script><b>'
CHROMIUM = shutil.which("chromium"), shutil.which("chromedriver")
ACTIVATIONS = {
    "linear": lambda h: h,
    "tanh": np.tanh,
    "relu": lambda h: np.maximum(h, 0),
    "elu": lambda h: np.where(h > 0, h, np.expm1(np.minimum(h, 0))),
    "silu": lambda h: h / (1 + np.exp(-h)),
}
# What the page's module keeps to itself, for the tests to see.
NAMES = """state, known, models, pad, plane, lens, disc, zoom, PEN, image, heldOut, encode,
decode, center, posterior, reparameterize, redraw, paint, visibleCells, fit, calm"""


class Reference:
    """A VAE in NumPy's float64, with its weights rounded to 16 bits as in the page."""

    def __init__(self, vae):
        self.vae = vae

    def layer(self, layer, h):
        kernel, bias = (np.float16(w).astype(float) for w in layer.get_weights())
        return ACTIVATIONS[layer.activation.__name__](h @ kernel + bias)

    def encode(self, images):
        h = images.reshape(len(images), -1) / 255
        *hidden, z_mean, z_log_sigma = self.vae.encoder.layers[1:]
        for layer in hidden:
            h = self.layer(layer, h)
        return self.layer(z_mean, h), self.layer(z_log_sigma, h)

    def logits(self, z):
        for layer in self.vae.decoder.layers[1:]:
            z = self.layer(layer, z)
        return z

    def decode(self, z):
        """Return gray levels, from 0 to 255."""
        shape = (len(z), *self.vae.image_shape)
        return 255 / (1 + np.exp(-self.logits(np.asarray(z)))).reshape(shape)

    def reconstruction(self, x, z):
        """Return −log p(x|z), shape (images, points)."""
        logits = self.logits(z)
        return np.logaddexp(0, logits).sum(axis=1) - x @ logits.T

    def negative_log_p(self, x, reach=8.0, side=400):
        """Return −log p(x) by quadrature over a grid."""
        axis = (np.arange(side) + 0.5) * 2 * reach / side - reach
        z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        log_prior = -np.square(z).sum(axis=1) / 2 - np.log(2 * np.pi)
        joint = log_prior - self.reconstruction(x, z)
        return -np.logaddexp.reduce(joint, axis=1) - 2 * np.log(2 * reach / side)


def kl_divergence(z_mean, z_log_sigma):
    return (np.exp(2 * z_log_sigma) + z_mean**2 - 1 - 2 * z_log_sigma).sum(axis=-1) / 2


def make_vae(shape, spread=9, seed=7, **options):
    """Return an untrained VAE, whose encoder spreads images over the plane."""
    set_seed(seed)
    vae = vae_mnist.VAE(shape, vae_mnist.Config(**options))
    mean = vae.encoder.get_layer("z_mean")
    mean.set_weights([spread * weight for weight in mean.get_weights()])
    return vae


def make_dataset(images, labels=None):
    names = None if labels is None else ["flat", HOSTILE, "square"]
    return data.Dataset(images, labels, images, labels, names, "")


@pytest.fixture(scope="session")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    if None in CHROMIUM:
        pytest.skip("Chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM[0]
    for name in ("headless=new", "no-sandbox", "disable-gpu", "disable-quic"):
        options.add_argument(f"--{name}")
    for name in ("background-networking", "component-update", "sync"):
        options.add_argument(f"--disable-{name}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(CHROMIUM[1])
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_window_size(1300, 900)
    yield driver
    driver.quit()


class Page:
    """A page in the browser, and what it was made from."""

    def __init__(self, browser, folder, images, *vaes, labels=None):
        self.vae, self.reference = vaes[0], Reference(vaes[0])
        dataset = make_dataset(images, labels)
        names = [f"model {i}" for i in range(len(vaes))]
        self.html = explore.make_page(list(vaes), names, dataset)
        order = np.random.default_rng(0).permutation(len(images))  # the page's own
        self.images = images[order]
        self.labels = None if labels is None else labels[order]
        self.z_mean, self.z_log_sigma = self.reference.encode(self.images)
        self.path = folder / "explore.html"
        end = self.html.rindex("</script>")
        handle = f"Object.assign(globalThis, {{ {NAMES} }});"
        self.path.write_text(self.html[:end] + handle + self.html[end:], "utf-8")
        self.browser = browser

    def open(self):
        self.browser.get_log("browser")  # forgets what is in it
        self.browser.get(self.path.as_uri())
        self.frame()
        self.dims = self.run("return state.model.dims")
        self.reach = self.run("return state.model.reach")
        return self

    def run(self, script, *arguments):
        script = "const $ = (id) => document.getElementById(id);" + script
        return self.browser.execute_script(script, *arguments)

    def frame(self):
        """Wait until everything is drawn."""
        self.browser.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame("
            "() => requestAnimationFrame(() => setTimeout(done)))"
        )

    def wait(self, condition):
        end = time.monotonic() + 30
        while not self.run(f"return {condition}"):
            assert time.monotonic() < end, condition
        self.frame()

    def wait_for_truth(self):
        self.wait("state.truth && state.draws.count === 1000")

    def at(self, element, right, up):
        """Move the pointer over an element; right and up go from −1 to 1."""
        self.run(
            "const box = arguments[0].getBoundingClientRect();"
            "arguments[0].dispatchEvent(new PointerEvent('pointermove', {"
            " clientX: box.left + (arguments[1] + 1) / 2 * box.width,"
            " clientY: box.top + (1 - arguments[2]) / 2 * box.height}))",
            *(element, float(right), float(up)),
        )
        self.frame()

    def point_at(self, across, up):
        """Move the pointer to a place of the plane. Return the whole z there."""
        self.at(self.element("plane"), across / self.reach, up / self.reach)
        return self.z()

    def array(self, name):
        return np.array(self.run(f"return Array.from(state.{name})"))

    def z(self):
        return self.array("z")

    def marks(self):
        return np.array(self.run("return state.marks.map((z) => Array.from(z))"))

    def pixels(self, name="picture"):
        shape = self.vae.image_shape
        rgb = self.canvas(name)[..., :3]
        return rgb if len(shape) == 3 else rgb[..., 0]

    def canvas(self, name):
        """Return the pixels of a canvas, (height, width, 4)."""
        size = self.run("const c = $(arguments[0]); return [c.height, c.width]", name)
        rgba = self.run(
            "const c = $(arguments[0]); return Array.from("
            "c.getContext('2d').getImageData(0, 0, c.width, c.height).data)",
            name,
        )
        return np.reshape(rgba, (*size, 4))

    def tiles(self, name):
        """Return the images of a row or a sheet, in gray levels, (n, H, W)."""
        height, width = self.vae.image_shape[:2]
        gray = self.canvas(name)[..., 0]
        rows = gray.reshape(len(gray) // height, height, -1, width)
        return rows.swapaxes(1, 2).reshape(-1, height, width)

    def element(self, name):
        return self.browser.find_element("id", name)

    def elements(self, selector):
        return self.browser.find_elements("css selector", selector)

    def number(self, name):
        return float(self.element(name).text.replace("−", "-"))

    def errors(self):
        log = self.browser.get_log("browser")
        return [entry for entry in log if entry["level"] == "SEVERE"]

    def shown(self):
        """Return the index of the held-out image that is shown, or None."""
        return self.run("return state.shown?.index ?? null")

    def set(self, name, value):
        self.run(
            "$(arguments[0]).value = arguments[1];"
            "$(arguments[0]).dispatchEvent(new Event('input'))",
            *(name, value),
        )
        self.frame()

    def pick(self, i):
        self.set("pick", i + 1)

    def click(self, *names):
        for name in names:
            self.element(name).click()
            self.frame()

    def draw(self, strokes, thickness):
        """Draw [left, top, left, top] strokes on the pad with a pen, in its pixels."""
        self.run(
            """
            const box = pad.getBoundingClientRect();
            const [left, top] = [box.left + pad.clientLeft, box.top + pad.clientTop];
            const send = (type, x, y) => pad.dispatchEvent(new PointerEvent(type, {
              clientX: left + x * pad.clientWidth / pad.width,
              clientY: top + y * pad.clientHeight / pad.height,
              bubbles: true, isPrimary: true, pointerType: "pen",
              pressure: arguments[1] / 2 / PEN }));
            for (const [x0, y0, x1, y1] of arguments[0]) {
              send("pointerdown", x0, y0);
              send("pointermove", x1, y1);
              send("pointerup", x1, y1);
            }""",
            *(np.asarray(strokes, float).tolist(), thickness),
        )
        self.frame()

    def drop(self, name, content):
        self.run(
            """
            const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], arguments[0]));
            pad.dispatchEvent(new DragEvent("drop",
              { dataTransfer, bubbles: true, cancelable: true }));""",
            *(name, base64.b64encode(content).decode()),
        )
        self.wait("state.chosen?.name || document.getElementById('status').textContent")


@pytest.fixture(scope="session")
def digits():
    return data.load("mnist_sample").x_test


@pytest.fixture(scope="session")
def make(browser, tmp_path_factory, digits):
    """Make a page of a kind, once."""
    images, _ = bars(80, 0)
    labels = np.arange(80) % 3
    color = np.stack([images, images // 2, 255 - images], axis=-1)

    @functools.cache
    def make(kind):
        folder = tmp_path_factory.mktemp(kind)
        if kind == "gray":  # and three models to switch between
            vaes = [make_vae((12, 12), hidden=(16,))]
            vaes.append(make_vae((12, 12), hidden=(9, 8), beta=4.0, seed=8))
            vaes.append(make_vae((12, 12), hidden=(16,), beta=0.0, seed=9))
            return Page(browser, folder, images, *vaes, labels=labels)
        if kind == "color":
            options = {"hidden": (20, 8), "activation": "relu", "latent_dim": 3}
            vae = make_vae((12, 12, 3), beta=4.0, **options)
            return Page(browser, folder, color, vae, labels=labels)
        if kind == "binary":  # in five dimensions, without labels
            options = {"hidden": (7, 9, 11), "activation": "elu", "latent_dim": 5}
            black_and_white = np.where(images > 0, 255, 0).astype("uint8")
            vae = make_vae((12, 12), binarize=True, **options)
            return Page(browser, folder, black_and_white, vae)
        vae = make_vae((28, 28), spread=2, hidden=(32,), activation="silu")
        return Page(browser, folder, digits[:200], vae)

    return make


@pytest.fixture
def page(make):
    return make("gray").open()


def dithered(image, zoom):
    """Return a picture `zoom` times as large whose squares are as white as the pixels."""
    picture = np.zeros((zoom * image.shape[0], zoom * image.shape[1]), bool)
    rows = sorted(range(zoom), key=lambda row: min(row, zoom - 1 - row))  # rim first
    for (top, left), level in np.ndenumerate(image):
        white = round(zoom * zoom * int(level) / 255)
        for i, row in enumerate(rows):
            length = white // zoom + (i < white % zoom)
            start = zoom * left + (zoom - length if i % 2 else 0)
            picture[zoom * top + row, start : start + length] = True
    return picture


def hatching(picture):
    """Return strokes, one pixel thick, that draw a black and white picture."""
    strokes = []
    for row, line in enumerate(np.pad(picture, ((0, 0), (1, 1))).astype(int)):
        ends = np.flatnonzero(np.diff(line)).reshape(-1, 2)  # of the runs of white
        # A stroke's round ends stick out.
        strokes += [[a + CAP, row + 0.5, b - CAP, row + 0.5] for a, b in ends]
    return strokes


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


# The arithmetic


@pytest.mark.parametrize("kind", ["gray", "color", "binary", "digits"])
def test_the_page_computes_what_numpy_computes(make, kind):
    page = make(kind).open()
    z = np.random.default_rng(0).uniform(-3, 3, (50, page.vae.config.latent_dim))
    drawn = page.run(
        """return arguments[0].map((z) => {
          paint($("picture"), image(Float64Array.from(z)));
          return Array.from($("picture").getContext("2d")
            .getImageData(0, 0, known.shape[1], known.shape[0]).data);
        })""",
        z.tolist(),
    )
    expected = page.reference.decode(z)
    drawn = np.reshape(drawn, (50, *expected.shape[1:3], 4))[..., :3]
    if expected.ndim == 3:
        expected = expected[..., None]
    assert np.ptp(expected) > 10
    assert np.abs(drawn - expected).max() <= 1
    assert page.run("return state.model.bits") == 16

    believed = page.run(
        """return arguments[0].map((i) => {
          const { z_mean, z_log_sigma } = encode(state.model, heldOut(i).x);
          return [Array.from(z_mean), Array.from(z_log_sigma)];
        })""",
        list(range(50)),
    )
    means, log_sigmas = np.swapaxes(believed, 0, 1)
    np.testing.assert_allclose(means, page.z_mean[:50], atol=1e-9)
    np.testing.assert_allclose(log_sigmas, page.z_log_sigma[:50], atol=1e-9)
    for across, up in z[:3, :2]:
        there = page.point_at(across, up)
        np.testing.assert_allclose(
            there[page.dims], [across, up], atol=page.reach / 100
        )
        assert np.abs(page.pixels() - page.reference.decode([there])[0]).max() <= 1
    assert page.errors() == []


@pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed")
def test_the_arithmetic_runs_in_node_without_a_browser():
    vae = make_vae((12, 12), hidden=(16,))
    reference, (images, _) = Reference(vae), bars(6, 1)
    z_mean, z_log_sigma = reference.encode(images)
    model = explore.describe(vae, z_mean.astype("float32"), None, np.arange(6))
    x = images.reshape(6, -1) / 255
    script = """
        import * as vae from "./support/page/vae.js";
        import { makeCells, posterior } from "./support/page/posterior.js";
        import fs from "fs";
        const { model, x } = JSON.parse(fs.readFileSync(0));
        const unpacked = vae.unpack(model);
        const work = makeCells(unpacked, 6);
        let step = work.next();
        while (!step.done) step = work.next();
        console.log(JSON.stringify(x.map((pixels) => {
          const q = vae.encode(unpacked, Float64Array.from(pixels));
          const logits = vae.decode(unpacked, q.z_mean);
          const { negativeLogP, leaves } = posterior(unpacked, step.value, pixels);
          const total = leaves.reduce((sum, { share }) => sum + share, 0);
          return [...q.z_mean, ...q.z_log_sigma, vae.reconstructionLoss(pixels, logits),
            vae.klDivergence(q), negativeLogP, total];
        })));
        console.error(vae.float16(0x3555), vae.float16(0x8001), vae.float16(0xc000));
    """
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", script],
        input=json.dumps({"model": model, "x": x.tolist()}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    result = np.array(json.loads(done.stdout))
    reconstruction = np.diag(reference.reconstruction(x, z_mean))
    expected = [z_mean, z_log_sigma, reconstruction[:, None]]
    expected += [kl_divergence(z_mean, z_log_sigma)[:, None]]
    np.testing.assert_allclose(result[:, :6], np.hstack(expected), atol=1e-9)
    np.testing.assert_allclose(result[:, 6], reference.negative_log_p(x), atol=0.1)
    np.testing.assert_allclose(result[:, 7], 1, atol=1e-9)
    halves = np.uint16([0x3555, 0x8001, 0xC000]).view("float16").astype(float)
    np.testing.assert_array_equal([float(v) for v in done.stderr.split()], halves)


def test_the_true_posterior_agrees_with_a_quadrature(make):
    page = make("digits").open()
    page.pick(0)
    page.wait("state.model.cells")
    x = page.images[:50].reshape(50, -1) / 255
    found, seconds = page.run(
        """const found = [], begun = performance.now();
        for (let i = 0; i < 50; i++) {
          const { negativeLogP } = posterior(state.model, state.model.cells, heldOut(i).x);
          found.push(negativeLogP);
        }
        return [found, (performance.now() - begun) / 50000]"""
    )
    np.testing.assert_allclose(found, page.reference.negative_log_p(x), atol=0.1)
    assert seconds < 0.2  # 0.05 on an idle machine


def test_loss_and_identity(make):
    page = make("gray").open()
    rng = np.random.default_rng(0)
    for i, model, beta in ((3, 0, 1), (7, 1, 4), (7, 2, 0)):
        page.pick(i)
        page.elements("#models input")[model].click()
        page.wait_for_truth()
        vae = [page.vae, *OTHERS][model] if model == 0 else None
        del vae
        reference = Reference(make("gray").vaes[model])
        x = page.images[i].reshape(1, -1) / 255
        z_mean, z_log_sigma = reference.encode(page.images[i : i + 1])
        z = z_mean + np.exp(z_log_sigma) * rng.standard_normal((20_000, 2))
        losses = reference.reconstruction(x, z)[0]
        kl, error = kl_divergence(z_mean, z_log_sigma)[0], losses.std() / 1000**0.5
        here = reference.reconstruction(x, z_mean)[0, 0]
        truth = reference.negative_log_p(x, reach=12, side=600)[0]
        mean = page.number("reconstruction-loss")
        assert mean == pytest.approx(losses.mean(), abs=5 * error + 0.06)
        assert float(page.element("error").text[2:]) == pytest.approx(error, rel=0.2)
        for name, nats in (
            ("kl", kl),
            ("here", here),
            ("total-here", here + beta * kl),
            ("total", mean + beta * kl),
        ):
            assert page.number(name) == pytest.approx(nats, abs=0.11), name
        equation = page.element("equation").text.replace("−", "-")
        bound, p, gap = map(float, equation.replace("=", "+").split(" + "))
        assert bound == pytest.approx(mean + kl, abs=0.11)
        assert p == pytest.approx(truth, abs=0.16)
        assert gap == pytest.approx(bound - p, abs=0.11)
        assert (page.element("bound").text == "loss") == (beta == 1)
        assert page.element("beta").text == ("" if beta == 1 else f"{beta} · ").strip()
