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
from conftest import ROOT, bars, save_untrained
from PIL import Image

import explore
import vae_mnist
from support import cli, data
from support.backend import keras, layers, set_seed

MEAN, VARIANCE = 0.25, 0.2  # of the pixels, for the encoder's normalization
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
NAMES = "state, known, zoom, PEN, image, heldOut, encode, center, posterior, paint"


class Reference:
    """A VAE in NumPy's float64, with its weights rounded to 16 bits as in the page."""

    def __init__(self, vae):
        self.vae = vae

    def layer(self, layer, h, scale=1.0, shift=0.0):
        """Return the layer's output for scale·h + shift."""
        kernel, bias = layer.get_weights()
        kernel, bias = scale * kernel, bias + shift * kernel.sum(axis=0)
        kernel, bias = (np.float16(w).astype(float) for w in (kernel, bias))
        return ACTIVATIONS[layer.activation.__name__](h @ kernel + bias)

    def encode(self, images):
        h = images.reshape(len(images), -1) / 255
        first, *hidden, z_mean, z_log_sigma = self.vae.encoder.layers[3:]
        scale = 5 / h.shape[1] ** 0.5 / VARIANCE**0.5
        h = self.layer(first, h, scale, -MEAN * scale)
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
    normalize = vae.encoder.get_layer("normalize")
    normalize.set_weights([np.full_like(w, MEAN) for w in normalize.get_weights()])
    normalize.variables[1].assign(np.full(normalize.variables[1].shape, VARIANCE))
    normalize.finalize_state()
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
        self.vae, self.references = vaes[0], [Reference(vae) for vae in vaes]
        self.reference = self.references[0]
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

    def point_at(self, across, up):
        """Move the pointer to a place of the plane. Return the whole z there."""
        self.run(
            "const box = plane.getBoundingClientRect();"
            "plane.dispatchEvent(new PointerEvent('pointermove', {"
            " clientX: box.left + (arguments[0] + 1) / 2 * box.width,"
            " clientY: box.top + (1 - arguments[1]) / 2 * box.height}))",
            *(float(across / self.reach), float(up / self.reach)),
        )
        self.frame()
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

    def set(self, element, value):
        script = "arguments[0].value = arguments[1];"
        script += "arguments[0].dispatchEvent(new Event('input'))"
        self.run(script, element, value)
        self.frame()

    def pick(self, i):
        self.set(self.element("pick"), i + 1)

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
    """Return a picture, `zoom` times as large, of black and white dots."""
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
        """const { model } = state, found = [], begun = performance.now();
        for (let i = 0; i < 50; i++) {
          found.push(posterior(model, model.cells, heldOut(i).x).negativeLogP);
        }
        return [found, (performance.now() - begun) / 50000]"""
    )
    np.testing.assert_allclose(found, page.reference.negative_log_p(x), atol=0.1)
    assert seconds < 0.2  # 0.05 on an idle machine


def test_the_loss_and_what_is_true(page):
    rng = np.random.default_rng(0)
    for i, model, beta in ((3, 0, 1), (7, 1, 4), (7, 2, 0)):
        page.pick(i)
        page.elements("#models input")[model].click()
        page.wait("state.truth && state.draws.count === 1000")
        reference = page.references[model]
        x = page.images[i].reshape(1, -1) / 255
        z_mean, z_log_sigma = reference.encode(page.images[i : i + 1])
        z = z_mean + np.exp(z_log_sigma) * rng.standard_normal((20_000, 2))
        losses = reference.reconstruction(x, z)[0]
        kl, error = kl_divergence(z_mean, z_log_sigma)[0], losses.std() / 1000**0.5
        here = reference.reconstruction(x, z_mean)[0, 0]
        truth = reference.negative_log_p(x, reach=12, side=600)[0]
        mean = page.number("reconstruction-loss")
        assert mean == pytest.approx(losses.mean(), abs=5 * error + 0.06)
        shown_error = float(page.element("error").text[2:])
        assert shown_error == pytest.approx(error, rel=0.2, abs=0.006)
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


# What the page shows and does


def test_it_loads_from_a_file_with_no_error_and_no_network(page):
    assert "http" not in page.html.replace("http-equiv", "")
    page.pick(0)
    page.draw([[50, 50, 200, 220]], 30)
    page.drop("picture.png", png(page.images[0]))
    page.click("A", "B", "dream", "sample", "tour", "stop", "grid", "true")
    for radio in page.elements("#models input"):
        radio.click()
    assert page.errors() == []
    names = page.run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert all(name.startswith("data:") for name in names)


def test_near_a_held_out_image_it_is_shown(page):
    apart = np.linalg.norm(page.z_mean[:, None] - page.z_mean, axis=-1)
    i, k = np.sort(apart, axis=1)[:, 1].argsort()[-2:]  # the loneliest
    page.point_at(*page.z_mean[i])
    assert page.shown() == i
    np.testing.assert_array_equal(page.pixels("original"), page.images[i])
    color = page.run("return known.colors[arguments[0]]", int(page.labels[i]))
    down, right = (1 + page.z_mean[i][::-1] / page.reach * [-1, 1]) / 2
    page.point_at(*(0.99 * page.reach * -np.sign(page.z_mean[i])))
    rgb = page.canvas("plane")
    rgb = rgb[int(down * len(rgb)), int(right * len(rgb)), :3]
    assert np.abs(rgb - [int(color[n : n + 2], 16) for n in (1, 3, 5)]).max() < 20

    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    page.point_at(*page.z_mean[i])
    page.element("plane").send_keys(keys.ENTER)
    page.point_at(*page.z_mean[k])
    assert page.run("return [state.chosen.index, state.shown.index]") == [i, k]
    chains = pytest.importorskip("selenium.webdriver.common.action_chains")
    right, down = page.z_mean[i] / page.reach * [1, -1]
    half = page.run("return plane.clientWidth / 2")
    chains.ActionChains(page.browser).move_to_element_with_offset(
        page.element("plane"), round(half * right), round(half * down)
    ).click_and_hold().move_by_offset(1, 0).release().perform()  # not quite still
    page.frame()
    assert page.run("return state.chosen.index") == i
    for box in page.elements("#legend input"):
        box.click()
    page.point_at(*page.z_mean[k])
    assert page.shown() == i  # the others are hidden


def test_keyboard(page):
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    start, plane, disc = (
        page.point_at(0, 0),
        page.element("plane"),
        page.element("epsilon"),
    )
    arrows = {keys.ARROW_RIGHT: [1, 0], keys.ARROW_UP: [0, 1]}
    arrows |= {keys.ARROW_LEFT: [-1, 0], keys.ARROW_DOWN: [0, -1]}
    for key, change in arrows.items():
        plane.send_keys(key)
        page.frame()
        start = start + page.reach / 60 * np.array(change)
        np.testing.assert_allclose(page.z(), start, atol=1e-9)
    plane.send_keys(keys.SHIFT, keys.ARROW_UP)
    page.frame()
    assert page.z()[1] == pytest.approx(start[1] + page.reach / 12)
    assert page.run("return getComputedStyle(plane).outlineStyle") == "solid"
    page.pick(2)
    disc.send_keys(keys.ARROW_UP)
    disc.send_keys(keys.SHIFT, keys.ARROW_LEFT)
    page.frame()
    np.testing.assert_allclose(page.array("epsilon"), [-0.5, 0.1], atol=1e-9)


def test_epsilon_is_dragged_and_kept(page):
    chains = pytest.importorskip("selenium.webdriver.common.action_chains")
    disc = page.element("epsilon")
    unit = page.run("return arguments[0].getBoundingClientRect().width / 6", disc)
    page.pick(4)
    chains.ActionChains(page.browser).move_to_element(
        disc
    ).click_and_hold().move_by_offset(round(unit), round(-2 * unit)).release().perform()
    page.frame()
    epsilon = page.array("epsilon")
    np.testing.assert_allclose(epsilon, [1, 2], atol=0.1)
    for i in (4, 5):
        page.pick(i)
        np.testing.assert_array_equal(page.array("epsilon"), epsilon)
        expected = page.z_mean[i] + np.exp(page.z_log_sigma[i]) * epsilon
        np.testing.assert_allclose(page.z(), expected, atol=1e-9)
        assert np.abs(page.pixels() - page.reference.decode([expected])[0]).max() <= 1
        here = page.reference.reconstruction(
            page.images[i].reshape(1, -1) / 255, [expected]
        )
        assert page.number("here") == pytest.approx(here.item(), abs=0.06)


def test_switching_models_keeps_the_drawing(page):
    page.draw([[50, 50, 200, 220]], 30)
    page.click("A")
    page.pick(3)
    page.click("B")
    page.draw([[50, 50, 200, 220]], 30)
    x = page.pixels("original")
    for i in (1, 2, 0):
        page.elements("#models input")[i].click()
        page.frame()
        np.testing.assert_array_equal(page.pixels("original"), x)
        encoded = page.references[i].encode(np.stack([x, page.images[3]]))
        z_mean, z_log_sigma = (values[0] for values in encoded)
        np.testing.assert_allclose(page.array("q.z_mean"), z_mean, atol=0.02)
        np.testing.assert_allclose(page.array("q.z_log_sigma"), z_log_sigma, atol=0.02)
        line = np.linspace(*encoded[0], 9)
        assert np.abs(page.tiles("row") - page.references[i].decode(line)).max() <= 2


def test_ellipses_and_shading_lie_where_q_and_the_true_posterior_do(page):
    page.run(
        """window.ellipses = [];
        const ellipse = CanvasRenderingContext2D.prototype.ellipse;
        CanvasRenderingContext2D.prototype.ellipse = function (...numbers) {
          if (this.canvas === plane) window.ellipses.push(numbers);
          ellipse.apply(this, numbers);
        };"""
    )
    page.pick(5)
    page.wait("state.truth && state.draws.count === 1000")
    drawn = np.array(page.run("return window.ellipses"))[:, :4]
    unit = page.run("return plane.width") / 2 / page.reach
    place = (page.reach + page.z_mean[5] * [1, -1]) * unit
    for n in (1, 2):
        expected = [*place, *(n * np.exp(page.z_log_sigma[5]) * unit)]
        assert np.abs(drawn - expected).max(axis=1).min() < 1e-6 * unit
    before = page.canvas("plane")
    page.click("true")
    changed = np.argwhere((page.canvas("plane") != before).any(axis=-1))
    z = (changed[:, ::-1] / unit - page.reach) * [1, -1]
    x = page.images[5:6].reshape(1, -1) / 255
    log_p = -page.reference.reconstruction(x, z)[0] - np.square(z).sum(axis=1) / 2
    assert np.ptp(log_p) == pytest.approx(-np.log(0.01), abs=1.5)


def test_z_is_drawn_from_q_and_from_the_prior(page):
    page.pick(2)
    page.click("sample")
    page.wait("state.marks.length > 3")
    page.click("stop")
    np.testing.assert_array_equal(page.z(), page.marks()[-1])
    epsilon = (page.marks() - page.z_mean[2]) / np.exp(page.z_log_sigma[2])
    np.testing.assert_allclose(epsilon[-1], page.array("epsilon"), atol=1e-9)
    assert np.ptp(epsilon, axis=0).min() > 0
    assert np.abs(epsilon).max() < 6
    page.click("dream")
    expected = page.reference.decode(page.marks())
    assert np.abs(page.tiles("sheet") - expected).max() <= 1
    marks = page.run(
        """return Array.from({length: 100}, () => {
          $("dream").click();
          return state.marks.map((z) => Array.from(z));
        })"""
    )
    marks = np.reshape(marks, (-1, 2))  # 2,500 of them
    np.testing.assert_allclose(marks.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(np.cov(marks.T), np.eye(2), atol=0.15)


def test_walk_and_tour(page):
    page.run("state.path = [[-1, 0], [1, 0], [1, 1]].map((z) => new Float64Array(z))")
    page.run("$('walk').disabled = false; $('walk').click()")
    seen, end = [[0, 0]], time.monotonic() + 30
    while not (np.max(seen) > 0.5 and np.min(seen) < -0.5 and len(seen) > 5):
        assert time.monotonic() < end
        page.frame()
        seen.append(page.z())
        assert (
            min(abs(seen[-1][1]), abs(seen[-1][0] - 1)) < 1e-9
        )  # not across the corner
    page.click("tour")
    path = explore.tour(page.z_mean, page.labels)
    for _ in range(5):
        page.frame()
        assert np.linalg.norm(path - page.z(), axis=1).min() < 0.1
    page.click("stop")
    stopped = page.z()
    time.sleep(0.2)
    np.testing.assert_array_equal(page.z(), stopped)


def test_sliders_are_the_other_dimensions(make):
    page = make("binary").open()
    assert set(page.dims) == set(np.argsort(page.z_mean.var(axis=0))[-2:])
    sliders = page.elements("#sliders input")
    others = sorted(set(range(5)) - set(page.dims))
    assert [int(s.get_attribute("data-dim")) for s in sliders] == others
    page.set(sliders[1], 1.5)
    assert page.z()[others[1]] == pytest.approx(1.5, abs=1e-6)
    assert np.abs(page.pixels() - page.reference.decode([page.z()])[0]).max() <= 1
    assert page.elements("#legend input") == []
    assert not page.element("identity").is_displayed()
    page.draw([[50, 50, 200, 220]], 30)
    assert set(np.unique(page.pixels("original"))) == {0, 255}  # binarized


def test_the_manifold(page):
    page.run("for (const label of known.labels) state.hidden.add(label)")
    page.click("grid")
    backdrop = page.canvas("plane")[..., :3].mean(axis=-1)
    side = len(backdrop) / 20
    for row, column in [(2, 3), (2, 16), (16, 3), (16, 16)]:
        top, left, bottom, right = (
            round(k * side) for k in (row, column, row + 1, column + 1)
        )
        cell = Image.fromarray(backdrop[top:bottom, left:right].astype("uint8"))
        center = page.reach * np.array([2 * column - 19, 19 - 2 * row]) / 20
        expected = page.reference.decode([center])
        assert (
            np.corrcoef(np.ravel(cell.resize((12, 12))), expected.ravel())[0, 1] > 0.8
        )


def test_a_drawing_lands_where_the_digit_does(make, digits):
    page = make("digits").open()
    for i in range(3):
        strokes = np.array(hatching(dithered(page.images[i], 10)))
        page.draw(strokes + [-25, 17, -25, 17], 1)  # anywhere on the pad
        assert np.abs(page.pixels("original") - page.images[i]).max() < 5
        np.testing.assert_allclose(page.array("q.z_mean"), page.z_mean[i], atol=0.02)
        page.click("clear")
    # A slanted bar: as thick as the digits' strokes, and fitted into 20 pixels.
    page.draw([[140, 100, 160, 200]], 24)
    rows, columns = np.nonzero(page.pixels("original") > 100)
    assert np.ptp(rows) == 19
    assert 5 <= np.ptp(columns) <= 7
    for digit in digits[::200]:
        rows, columns = np.nonzero(digit)
        box = digit[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        ink = np.zeros((280, 280), int)
        white = dithered(box, 7)
        ink[60 : 60 + len(white), 20 : 20 + len(white[0])] = white
        drawn = page.run(
            "return Array.from(center(Uint8Array.from(arguments[0]), 280))",
            "".join(map(str, ink.ravel())),
        )
        np.testing.assert_allclose(255 * np.reshape(drawn, (28, 28)), digit, atol=3)


def test_other_gray_images_are_as_drawn_until_undo_and_clear(page):
    zoom = page.run("return zoom")
    page.draw(hatching(dithered(page.images[0], zoom)), 1)
    assert np.abs(page.pixels("original") - page.images[0]).max() <= 2
    page.click("clear")
    assert page.element("total").text == "–"
    page.draw([[30, 30, 200, 30]], 20)
    one = page.pixels("original")
    page.draw([[30, 30, 30, 200]], 20)
    assert (page.pixels("original") != one).any()
    page.click("undo")
    np.testing.assert_array_equal(page.pixels("original"), one)
    page.click("undo")
    assert page.shown() is None
    assert not page.element("undo").is_enabled()
    assert not page.element("sample").is_enabled()
    page.draw([[100, 100, 100, 100]], 80)  # a dot
    assert page.pixels("original").max() == 255
    page.pick(3)
    np.testing.assert_array_equal(page.pixels("original"), page.images[3])


def test_the_encoder_sees_noise_but_the_target_is_clean(page):
    page.pick(1)
    views = []
    for sigma in (0.5, 0.25, 0.5):
        page.set(page.element("noise"), sigma)
        views.append(page.pixels("seen"))
    np.testing.assert_array_equal(views[0], views[2])
    for view, sigma in zip(views, (0.5, 0.25), strict=False):
        mean = view[page.images[1] == 0].mean() / 255  # the negative half is clipped
        assert mean == pytest.approx(sigma / np.sqrt(2 * np.pi), rel=0.4)
    np.testing.assert_array_equal(page.pixels("original"), page.images[1])
    z_mean, _ = page.reference.encode(views[2][None])
    np.testing.assert_allclose(page.array("q.z_mean"), z_mean[0], atol=0.05)
    x = page.images[1].reshape(1, -1) / 255
    here = page.reference.reconstruction(x, page.z()[None])
    assert page.number("here") == pytest.approx(here.item(), abs=0.06)


@pytest.mark.parametrize("kind", ["gray", "color"])
def test_an_image_file_is_dropped(make, kind):
    page = make(kind).open()
    image = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype("uint8")
    page.drop("wide.png", png(np.pad(image, ((0, 0), (4, 4), (0, 0)))))
    expected = (
        image if kind == "color" else np.array(Image.fromarray(image).convert("L"))
    )
    assert np.abs(page.pixels("original") - expected.astype(int)).max() <= 1
    assert page.element("name").text == "wide.png"
    page.open()
    page.drop(f"{HOSTILE.replace('/', '')}.png", b"GIF89a, not")
    assert page.element("status").text.startswith("This browser cannot read <img")
    assert page.run("return state.chosen") is None


def test_text_of_the_data_set_is_never_html(page):
    names = [name.text.strip() for name in page.elements("#legend label")]
    assert names == ["flat", HOSTILE, "square"]
    page.pick(int(np.argmax(page.labels == 1)))
    assert page.element("name").text == f"class {HOSTILE}"
    assert page.elements("img, b:not(h2 b)") == []
    assert page.browser.title == "Inside a VAE"


def test_every_control_and_canvas_has_a_name(page):
    page.pick(0)
    controls = page.elements("button, input, summary, canvas, fieldset, section")
    assert len(controls) > 30
    inside = page.elements("button canvas, .button canvas")
    unnamed = [c for c in controls if c not in inside and not c.accessible_name.strip()]
    assert [c.get_attribute("outerHTML") for c in unnamed] == []
    for control in page.elements("button, input, summary, [tabindex]"):
        page.run("arguments[0].disabled = false; arguments[0].focus()", control)
        assert page.run("return document.activeElement === arguments[0]", control)


def test_reduced_motion(page):
    reduce = {"name": "prefers-reduced-motion", "value": "reduce"}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [reduce]})
    page.pick(0)
    page.click("sample", "sample")
    time.sleep(0.5)
    assert len(page.marks()) == 2
    page.click("tour")
    seen = {tuple(page.z()) for _ in range(5) if page.frame() is None}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(seen) <= 2


@pytest.mark.parametrize("kind", ["digits", "binary"])
def test_nothing_sticks_out_at_any_size(make, kind):
    page = make(kind)
    for width, height in (400, 844), (640, 400), (1280, 800), (1600, 1000):
        page.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        page.open()
        page.pick(0)
        page.click("dream", "A")
        right, bottom, *plane = page.run(
            "const boxes = [...document.querySelectorAll('section:not(.play)')].map("
            " (section) => section.getBoundingClientRect());"
            "const box = plane.getBoundingClientRect();"
            "return [document.documentElement.scrollWidth,"
            " Math.max(...boxes.map((box) => box.bottom)), box.width, box.height]"
        )
        assert right <= width
        assert bottom <= height or width < 1000
        assert plane[0] == pytest.approx(plane[1], abs=2)
        assert plane[0] > 310
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# explore.py


def test_weights_that_16_bits_would_spoil_are_sent_with_32():
    vae = make_vae((12, 12), hidden=(16,))
    z = np.random.default_rng(0).standard_normal((50, 2)).astype("float32")
    assert explore.bits_needed(vae, z) == 16
    before = vae.decoder.get_weights()
    for factor in (300, 1e6):  # too coarse, and beyond the range of 16 bits
        vae.decoder.set_weights([factor * weight for weight in before])
        exact = vae.decode(z)
        assert explore.bits_needed(vae, z) == 32
        np.testing.assert_array_equal(vae.decode(z), exact)


def test_like_mnist(digits):
    assert explore.like_mnist(digits)
    framed = digits.copy()
    framed[:, [0, -1]] = 1  # as good as black, in the middle, but 28 pixels high
    others = [np.roll(digits, 2, axis=1), np.roll(digits, 2, axis=2), 255 - digits]
    others += [framed, digits[:, 2:, 2:], np.stack([digits] * 3, axis=-1)]
    assert not any(map(explore.like_mnist, others))


def test_the_tour_is_smooth_closed_and_passes_through_all_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 200)
    z_mean = rng.standard_normal((200, 3)) + 3 * rng.standard_normal((5, 3))[labels]
    path = explore.tour(z_mean, labels)
    assert path.shape == (explore.FRAMES, 3)
    for label in range(5):
        median = np.median(z_mean[labels == label], axis=0)
        assert np.linalg.norm(path - median, axis=1).min() < 1e-9
    turns = np.linalg.norm(np.diff(path, 2, axis=0, append=path[:2]), axis=1)
    assert turns[-2:].max() <= 1.5 * turns[:-2].max()
    assert np.abs(explore.tour(z_mean, None)).max() < 1.5 * np.abs(z_mean).max()
    np.testing.assert_allclose(explore.tour(np.ones((9, 2)), None), 1)


@pytest.mark.parametrize("shape", [(12, 12), (8, 10, 3)])
def test_the_animation_shows_the_tour_and_loops(tmp_path, shape):
    vae = make_vae(shape, hidden=(16,))
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    path = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype("float32")
    explore.write_gif(vae, path, tmp_path / "tour")
    expected = 255 * vae.decode(path)
    with Image.open(tmp_path / "tour") as gif:
        assert (gif.n_frames, gif.info["loop"]) == (12, 0)
        for i in range(12):
            gif.seek(i)
            frame = gif.convert("RGB" if len(shape) == 3 else "L")
            small = np.asarray(
                frame.resize(shape[1::-1], Image.Resampling.NEAREST), float
            )
            assert np.abs(small - expected[i]).mean() < 6  # a palette of few colors


def test_the_script_writes_its_files(run_here, npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, beta in (("one", 1.0), ("ten", 10.0)):
        vae = make_vae((12, 12), hidden=(256,), beta=beta)
        save_untrained(vae, f"{name}.weights.h5", npz)
    paths = ("one.weights.h5", "ten.weights.h5")
    assert run_here("explore.py", "--weights", *paths).status == 0
    page = (tmp_path / "explore.html").read_text("utf-8")
    assert '"name": "\\u03b2 = 1"' in page
    result = run_here("explore.py", "--weights", paths[0], "--gif", "tour.gif")
    assert (result.status, result.stdout) == (0, "wrote tour.gif\n")
    assert sorted(os.listdir()) == ["explore.html", *paths, "tour.gif"]


def test_the_page_of_three_default_models_is_small(digits):
    images = np.concatenate([digits, digits[:, ::-1]])  # 2,000, as of all MNIST
    vaes = [make_vae((28, 28)) for _ in range(3)]
    assert (
        len(explore.make_page(vaes, ["a", "b", "c"], make_dataset(images))) < 4_000_000
    )


def test_what_no_page_can_show(fails, npz, tmp_path):
    def save(name, shape=(12, 12), source=npz, **options):
        vae = make_vae(shape, **options)
        return save_untrained(vae, tmp_path / f"{name}.weights.h5", source)

    plane, line = save("plane"), save("line", latent_dim=1)
    binary = save("binary", binarize=True)
    fails("explore.py", "--weights", line, says="one latent dimension")
    fails("explore.py", "--weights", plane, binary, says="different images")
    with pytest.raises(cli.UserError, match="dense layers"):
        x = keras.Input([4])
        explore.dense_layers(keras.Model(x, layers.LayerNormalization()(x)), 16)
