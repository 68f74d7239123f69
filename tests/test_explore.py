"""extras/explore.py: the page in a real browser, and its arithmetic in Node."""

import base64
import functools
import io
import json
import os
import re
import shutil
import subprocess
import time

import numpy as np
import pytest
from conftest import ROOT, bars, gaussian_kl, save_untrained
from PIL import Image

import vae_mnist
from extras import explore
from support import data, page_data
from support.backend import keras, layers, set_seed
from support.errors import UserError
from support.shown import Shown

try:
    from selenium import webdriver
except ImportError:
    webdriver = None

MEAN, VARIANCE = 0.25, 0.1875  # of the pixels, for the encoder's normalization
CAP = 0.24  # the round ends of a stroke one pixel thick stick out by this much
HOSTILE = '<img src=x onerror="document.title=1">"</script><b>'
CLASSES = ["flat", HOSTILE, "square", "d", "e", "f"]
CHROMIUM = shutil.which("chromium"), shutil.which("chromedriver")
ACTIVATIONS = {
    "linear": lambda h: h,
    "tanh": np.tanh,
    "relu": lambda h: np.maximum(h, 0),
    "elu": lambda h: np.where(h > 0, h, np.expm1(np.minimum(h, 0))),
    "silu": lambda h: h / (1 + np.exp(-h)),
}
# What the page's module keeps to itself, for the tests to see.
HANDLE = """
globalThis.deep = (a) => a?.map ? Array.from(a, deep) : a;
Object.assign(globalThis, { $, state, PEN, image, heldOut, encode, plane, pad });
"""
DRAW = """
const box = pad.getBoundingClientRect();
const send = (type, x, y) => pad.dispatchEvent(new PointerEvent(type, {
  clientX: box.left + pad.clientLeft + x * pad.clientWidth / pad.width,
  clientY: box.top + pad.clientTop + y * pad.clientHeight / pad.height,
  bubbles: true, isPrimary: true, pointerType: "pen", pressure: arguments[1] / 2 / PEN,
}));
for (const [x0, y0, ...end] of arguments[0]) {
  send("pointerdown", x0, y0);
  for (const type of ["pointermove", "pointerup"]) send(type, ...end);
}"""
DROP = """
const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0));
const dataTransfer = new DataTransfer();
dataTransfer.items.add(new File([bytes], arguments[0]));
pad.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));"""
SPY = """
globalThis.written = [];
const { fillText } = CanvasRenderingContext2D.prototype;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  written.push([text, 2 * x / plane.width - 1, 1 - 2 * y / plane.height]);
  fillText.call(this, text, x, y);
};"""
NODE = """
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
    vae.klDivergence(q), total, negativeLogP];
})));
console.error(vae.float16(0x3555), vae.float16(0x8001), vae.float16(0xc000));"""


class Reference:
    """A VAE in NumPy's float64, with its weights rounded to 16 bits as in the page."""

    def __init__(self, vae):
        self.vae = vae

    def layer(self, layer, h):
        kernel, bias = (np.float16(w).astype(float) for w in layer.get_weights())
        return ACTIVATIONS[layer.activation.__name__](h @ kernel + bias)

    def encode(self, images):
        x = np.float32(images.reshape(len(images), -1) / 255)  # as in Keras
        h = (np.float64(x) - MEAN) / VARIANCE**0.5 * 5 / x.shape[1] ** 0.5
        *hidden, z_mean, z_log_sigma = self.vae.encoder.layers[3:]
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

    def reconstruction(self, images, z):
        """Return −log p(x|z), shape (images, points)."""
        logits = self.logits(np.asarray(z))
        x = images.reshape(len(images), -1) / 255
        return np.logaddexp(0, logits).sum(axis=1) - x @ logits.T

    def negative_log_p(self, images, reach=8.0, side=200):
        """Return −log p(x) by quadrature over a grid."""
        axis = (np.arange(side) + 0.5) * 2 * reach / side - reach
        z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        log_prior = -np.square(z).sum(axis=1) / 2 - np.log(2 * np.pi)
        joint = log_prior - self.reconstruction(images, z)
        return -np.logaddexp.reduce(joint, axis=1) - 2 * np.log(2 * reach / side)


def make_vae(shape, seed=7, sharpen=1, **options):
    """Return an untrained VAE, whose encoder spreads images over the plane."""
    set_seed(seed)
    vae = vae_mnist.VAE(shape, vae_mnist.Config(**{"hidden": (8,)} | options))
    normalize = vae.encoder.get_layer("normalize")
    normalize.set_weights([np.full_like(w, MEAN) for w in normalize.get_weights()])
    normalize.variables[1].assign(np.full(normalize.variables[1].shape, VARIANCE))
    normalize.finalize_state()
    factors = [(vae.encoder.get_layer("z_mean"), 9), (vae.decoder.layers[-1], sharpen)]
    for layer, factor in factors:
        layer.set_weights([factor * weight for weight in layer.get_weights()])
    return vae


@pytest.fixture(scope="session")
def browser():
    if webdriver is None or None in CHROMIUM:
        pytest.skip("Selenium, Chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM[0]
    for name in ("gpu", "quic", "background-networking", "component-update", "sync"):
        options.add_argument(f"--disable-{name}")
    for name in ("headless=new", "no-sandbox", "window-size=1300,900"):
        options.add_argument(f"--{name}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(CHROMIUM[1]))
    yield driver
    driver.quit()


class Page:
    """A page in the browser, and what it was made from."""

    def __init__(self, browser, folder, images, *vaes, labels=None):
        self.browser, self.run = browser, browser.execute_script
        self.element = functools.partial(browser.find_element, "id")
        self.elements = functools.partial(browser.find_elements, "css selector")
        self.vae, self.references = vaes[0], [Reference(vae) for vae in vaes]
        self.reference = self.references[0]
        classes = None if labels is None else CLASSES
        shown = Shown(images, labels, [], classes, True, None)
        self.html = explore.make_page(list(vaes), list("abc")[: len(vaes)], shown)
        order = np.random.default_rng(0).permutation(len(images))  # the page's own
        self.images = images[order]
        self.labels = None if labels is None else labels[order]
        self.z_mean, self.z_log_sigma = self.reference.encode(self.images)
        end = self.html.rindex("</script>")
        self.path = folder / "explore.html"
        self.path.write_text(self.html[:end] + HANDLE + self.html[end:], "utf-8")

    def open(self):
        self.browser.get_log("browser")  # forgets what is in it
        self.browser.get(self.path.as_uri())
        self.frame()
        self.dims, self.reach = self.run("return [state.model.dims, state.model.reach]")
        return self

    def get(self, expression):
        """Return a value of the page; arrays in arrays are a NumPy array."""
        value = self.run(f"return deep({expression})")
        return np.array(value) if isinstance(value, list) else value

    def frame(self):
        """Wait until everything is drawn."""
        self.browser.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame("
            "() => requestAnimationFrame(() => setTimeout(done)))"
        )

    def wait(self, condition):
        end = time.monotonic() + 60
        while not self.run(f"return {condition}"):
            assert time.monotonic() < end, condition
            self.frame()
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
        return self.get("state.z")

    def canvas(self, name):
        """Return the pixels of a canvas, (height, width, 4)."""
        url = self.run("return $(arguments[0]).toDataURL()", name)
        with Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))) as picture:
            return np.array(picture.convert("RGBA")).astype(int)

    def pixels(self, name="picture"):
        rgb = self.canvas(name)[..., :3]
        return rgb if len(self.vae.image_shape) == 3 else rgb[..., 0]

    def number(self, name):
        return float(self.element(name).text.replace("−", "-"))

    def set(self, element, value):
        script = "arguments[0].value = arguments[1];"
        script += "arguments[0].dispatchEvent(new Event('input'))"
        self.run(script, element, value)
        self.frame()

    def pick(self, i):
        self.set(self.element("pick"), int(i) + 1)

    def click(self, *names):
        for name in names:
            self.element(name).click()
            self.frame()

    def draw(self, strokes, thickness):
        """Draw [left, top, left, top] strokes on the pad with a pen, in its pixels."""
        self.run(DRAW, np.asarray(strokes, float).tolist(), thickness)
        self.frame()

    def drop(self, name, content):
        self.run(DROP, name, base64.b64encode(content).decode())
        self.wait("state.chosen?.name || $('status').textContent")


@pytest.fixture(scope="session")
def digits():
    return data.load("mnist_sample").test.images


@pytest.fixture(scope="session")
def make(browser, tmp_path_factory, digits):
    """Make a page of a kind, once."""
    images, labels = bars(80, 0)[0], np.arange(80) % len(CLASSES)

    @functools.cache
    def make(kind):
        page = functools.partial(Page, browser, tmp_path_factory.mktemp(kind))
        if kind == "gray":  # and three models to switch between
            one, other = make_vae((12, 12), 7, 8), make_vae((12, 12), 9, 8, beta=0.0)
            deep = make_vae((12, 12), 9, 8, hidden=(9, 8), beta=4.0)
            return page(images, one, deep, other, labels=labels)
        if kind == "color":
            color = np.stack([images, images // 2, 255 - images], axis=-1)
            options = {"hidden": (20, 8), "activation": "relu", "latent_dim": 3}
            return page(color, make_vae((12, 12, 3), **options), labels=labels)
        if kind == "binary":  # in five dimensions, without labels
            vae = make_vae((12, 12), activation="elu", latent_dim=5, binarize=True)
            return page(np.where(images > 0, 255, 0).astype("uint8"), vae)
        return page(digits[:200], make_vae((28, 28), activation="silu"))

    return make


@pytest.fixture
def page(make):
    return make("gray").open()


def dithered(image, zoom):
    """Return a picture, `zoom` times as large, of black and white dots."""
    rows = np.argsort([min(k, zoom - 1 - k) for k in range(zoom)])  # rim first
    rank = np.arange(zoom * zoom).reshape(zoom, zoom)[np.argsort(rows)]
    rank[rows[1::2]] = rank[rows[1::2], ::-1]
    white = np.round(zoom * zoom * (image / 255)).repeat(zoom, 0).repeat(zoom, 1)
    return np.tile(rank, image.shape) < white


def hatching(picture):
    """Return strokes, one pixel thick, that draw a black and white picture."""
    lines = np.pad(picture, ((0, 0), (1, 1))).astype(int)
    runs = [np.flatnonzero(np.diff(line)).reshape(-1, 2) for line in lines]  # of white
    places = [(a, b, row + 0.5) for row, ends in enumerate(runs) for a, b in ends]
    return np.array([[a + CAP, y, b - CAP, y] for a, b, y in places])


@pytest.mark.parametrize("kind", ["gray", "color", "binary", "digits"])
def test_the_page_computes_what_numpy_computes(make, kind):
    page = make(kind).open()
    z = np.random.default_rng(0).uniform(-3, 3, (50, page.vae.config.latent_dim))
    probabilities = page.get(f"{z.tolist()}.map((z) => image(Float64Array.from(z)))")
    expected = page.reference.decode(z)
    assert np.ptp(expected) > 10
    np.testing.assert_allclose(255 * probabilities, expected.reshape(50, -1), atol=1e-9)
    believed = page.get(
        "Array.from({ length: 50 }, (_, i) => encode(state.model, heldOut(i).x))"
        ".map(({ z_mean, z_log_sigma }) => [z_mean, z_log_sigma])"
    )
    expected = np.stack([page.z_mean, page.z_log_sigma], axis=1)[:50]
    np.testing.assert_allclose(believed, expected, atol=1e-6)
    for place in z[:3, :2]:
        there = page.point_at(*place)
        np.testing.assert_allclose(there[page.dims], place, atol=page.reach / 100)
        assert np.abs(page.pixels() - page.reference.decode([there])[0]).max() <= 1


def in_node(vae, images):
    """Return what NODE prints: a row of numbers per image, and three floats."""
    if not shutil.which("node"):
        pytest.skip("Node is not installed")
    model = page_data.describe(vae, images, None, [], np.arange(len(images)))
    x = images.reshape(len(images), -1) / 255
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", NODE],
        input=json.dumps({"model": model, "x": x.tolist()}),
        **{"capture_output": True, "text": True, "cwd": ROOT, "check": True},
    )
    return np.array(json.loads(done.stdout)), done.stderr


@pytest.mark.parametrize("sharpen", [1, 20])  # 20: the posterior needs smaller cells
def test_the_arithmetic_runs_in_node_without_a_browser(sharpen):
    vae, (images, _) = make_vae((12, 12), sharpen=sharpen), bars(6, 1)
    reference = Reference(vae)
    z_mean, z_log_sigma = reference.encode(images)
    found, floats = in_node(vae, images)
    expected = [np.diag(reference.reconstruction(images, z_mean))]
    expected += [gaussian_kl(z_mean, z_log_sigma), np.ones(6)]
    expected = np.column_stack([z_mean, z_log_sigma, *expected])
    np.testing.assert_allclose(found[:, :-1], expected, atol=1e-6)
    truth = reference.negative_log_p(images, side=500)
    np.testing.assert_allclose(found[:, -1], truth, atol=0.1)
    halves = np.uint16([0x3555, 0x8001, 0xC000]).view("float16").astype(float)
    np.testing.assert_array_equal([float(v) for v in floats.split()], halves)


@pytest.mark.parametrize(("i", "model", "beta"), [(3, 0, 1), (7, 1, 4), (7, 2, 0)])
def test_the_loss_and_what_is_true(page, i, model, beta):
    page.pick(i)
    page.elements("#models input")[model].click()
    page.wait("state.truth && state.draws.count === 1000")
    reference, x = page.references[model], page.images[i : i + 1]
    z_mean, z_log_sigma = reference.encode(x)
    noise = np.random.default_rng(0).standard_normal((20_000, 2))
    losses = reference.reconstruction(x, z_mean + np.exp(z_log_sigma) * noise)
    kl, error = gaussian_kl(z_mean, z_log_sigma)[0], losses.std() / 1000**0.5
    here, mean = reference.reconstruction(x, z_mean), page.number("reconstruction-loss")
    assert mean == pytest.approx(losses.mean(), abs=5 * error + 0.06)
    shown = float(page.element("error").text[2:])
    assert shown == pytest.approx(error, rel=0.2, abs=0.006)
    expected = {"kl": kl, "here": here.item(), "total-here": here.item() + beta * kl}
    for name, nats in (expected | {"total": mean + beta * kl}).items():
        assert page.number(name) == pytest.approx(nats, abs=0.11), name
    equation = page.element("equation").text.replace("−", "-")
    bound, p, gap = map(float, equation.replace("=", "+").split(" + "))
    assert bound == pytest.approx(mean + kl, abs=0.11)
    assert p == pytest.approx(reference.negative_log_p(x).item(), abs=0.16)
    assert gap == pytest.approx(bound - p, abs=0.11)
    assert (page.element("bound").text == "loss") == (beta == 1)
    assert page.element("beta").text == ("" if beta == 1 else f"{beta} ·")


def test_it_loads_from_a_file_with_no_error_and_no_network(page):
    assert "http" not in page.html.replace("http-equiv", "")
    page.pick(0)
    page.draw([[50, 50, 200, 220]], 30)
    page.click("clear")
    buffer = io.BytesIO()
    Image.fromarray(page.images[0]).save(buffer, "png")
    page.drop("picture.png", buffer.getvalue())
    assert np.abs(page.pixels("original") - page.images[0]).max() <= 1
    page.click("A", "B", "dream", "sample", "tour", "stop", "grid", "true")
    for radio in page.elements("#models input"):
        radio.click()
    log = page.browser.get_log("browser")
    assert [entry for entry in log if entry["level"] == "SEVERE"] == []
    names = page.get("performance.getEntriesByType('resource').map((e) => e.name)")
    assert all(name.startswith("data:") for name in names)


def test_text_of_the_data_set_is_never_html(page):
    assert [name.text.strip() for name in page.elements("#legend label")] == CLASSES
    page.pick(np.argmax(page.labels == 1))
    assert page.element("name").text == f"class {HOSTILE}"
    page.drop(HOSTILE.replace("/", ""), b"GIF89a, not")
    page.wait("$('status').textContent.startsWith('This browser cannot read <img')")
    assert page.elements("img, b:not(h2 b)") == []
    assert page.browser.title == "Inside a VAE"


def test_near_a_held_out_image_it_is_shown_and_picked(page):
    apart = np.linalg.norm(page.z_mean[:, None] - page.z_mean, axis=-1)
    i, k = np.sort(apart, axis=1)[:, 1].argsort()[-2:]  # the loneliest
    page.point_at(*page.z_mean[i])
    np.testing.assert_array_equal(page.pixels("original"), page.images[i])
    page.element("plane").send_keys(webdriver.Keys.ENTER)
    page.point_at(*page.z_mean[k])
    assert page.get("[state.chosen.index, state.shown.index]").tolist() == [i, k]
    page.elements("#legend input")[page.labels[k]].click()
    page.point_at(*page.z_mean[i])
    page.point_at(*page.z_mean[k])
    assert page.get("state.shown.index") != k  # its class is hidden


def test_points_have_the_color_of_their_class_and_stand_out_in_the_dark(page):
    page.run("for (const i of [0, 1, 2, 3, 4]) state.hidden.add(i)")  # not the darkest
    place = page.z_mean[np.argmax(page.labels == 5)] / page.reach * [1, -1]
    for scheme, color in (("dark", (97, 108, 162)), ("light", (0x1F, 0x1F, 0x6E))):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        page.frame()
        rgba = page.canvas("plane")
        column, row = ((1 + place) / 2 * len(rgba)).astype(int)
        assert np.abs(rgba[row, column, :3] - color).max() < 10


def test_classes_are_named_among_their_points(page):
    page.run(SPY)
    page.elements("#legend input")[5].click()
    page.frame()
    written = [(text, [x, y]) for text, x, y in page.run("return written")]
    assert {text for text, _ in written} & {*CLASSES} == {*CLASSES[:5]}
    for text, place in written:
        if text in CLASSES:
            own = page.z_mean[page.labels == CLASSES.index(text)] / page.reach
            assert np.linalg.norm(own - place, axis=1).min() < 0.2


def test_epsilon_is_dragged_moved_by_keys_and_kept(page):
    disc = page.element("epsilon")
    unit = page.run("return arguments[0].getBoundingClientRect().width / 6", disc)
    page.pick(4)
    chain = webdriver.ActionChains(page.browser).click_and_hold(disc)
    chain.move_by_offset(round(unit), round(-2 * unit)).release().perform()
    before = page.get("state.epsilon")
    np.testing.assert_allclose(before, [1, 2], atol=0.1)
    disc.send_keys(webdriver.Keys.ARROW_DOWN)
    disc.send_keys(webdriver.Keys.SHIFT, webdriver.Keys.ARROW_LEFT)
    epsilon = page.get("state.epsilon")
    np.testing.assert_allclose(epsilon - before, [-0.5, -0.1], atol=1e-9)
    for i in (4, 5):
        page.pick(i)
        np.testing.assert_array_equal(page.get("state.epsilon"), epsilon)
        expected = page.z_mean[i] + np.exp(page.z_log_sigma[i]) * epsilon
        np.testing.assert_allclose(page.get("state.z"), expected, atol=1e-6)
        assert np.abs(page.pixels() - page.reference.decode([expected])[0]).max() <= 1


def test_the_plane_follows_the_keyboard(page):
    keys, start = webdriver.Keys, page.point_at(0, 0)
    plane = page.element("plane")
    for key, change in (("RIGHT", [1, 0]), ("UP", [0, 1]), ("LEFT", [-1, 0])):
        plane.send_keys(getattr(keys, f"ARROW_{key}"))
        start = start + page.reach / 60 * np.array(change)
        np.testing.assert_allclose(page.get("state.z"), start, atol=1e-9)
    plane.send_keys(keys.SHIFT, keys.ARROW_DOWN)
    assert page.get("state.z")[1] == pytest.approx(start[1] - page.reach / 12)


def test_z_is_drawn_from_q_and_from_the_prior(page):
    page.pick(2)
    page.click("sample")
    page.wait("state.marks.length > 2")
    page.click("stop")
    drawn = (page.get("state.marks") - page.z_mean[2]) / np.exp(page.z_log_sigma[2])
    np.testing.assert_allclose(drawn[-1], page.get("state.epsilon"), atol=1e-5)
    assert np.ptp(drawn, axis=0).min() > 0
    dream = "$('dream').click(); return deep(state.marks);"
    marks = page.get(f"Array.from({{ length: 100 }}, () => {{ {dream} }})")
    marks = marks.reshape(-1, 2)  # 2,500 of them
    np.testing.assert_allclose(marks.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(np.cov(marks.T), np.eye(2), atol=0.15)


def test_sliders_are_the_other_dimensions(make):
    page = make("binary").open()
    sliders = page.elements("#sliders input")
    others = sorted(set(np.argsort(page.z_mean.var(axis=0))[:-2]))
    assert [int(s.get_attribute("data-dim")) for s in sliders] == others
    page.set(sliders[1], 1.5)
    assert page.get("state.z")[others[1]] == pytest.approx(1.5, abs=1e-6)
    page.draw([[50, 50, 200, 220]], 30)
    assert set(np.unique(page.pixels("original"))) == {0, 255}  # binarized


def test_a_drawing_lands_where_the_digit_does(make):
    page = make("digits").open()
    for image, expected in zip(page.images[:2], page.z_mean, strict=False):
        strokes = hatching(dithered(image, 10))
        page.draw(strokes + [-25, 7, -25, 7], 1)  # anywhere on the pad
        assert np.abs(page.pixels("original") - image).max() < 8
        np.testing.assert_allclose(page.get("state.q.z_mean"), expected, atol=0.1)
        page.click("clear")


@pytest.mark.parametrize("kind", ["gray", "digits", "binary"])
def test_nothing_sticks_out_at_any_size(make, kind):
    page = make(kind).open()
    page.pick(0)
    page.click("dream", "A")
    size, send = {"deviceScaleFactor": 1, "mobile": False}, page.browser.execute_cdp_cmd
    for width, height in (400, 844), (1280, 800), (1600, 1000):
        size |= {"width": width, "height": height}
        send("Emulation.setDeviceMetricsOverride", size)
        page.wait(f"innerWidth === {width} && plane.width === plane.clientWidth")
        right, bottom, *plane = page.get(
            "[document.documentElement.scrollWidth, Math.max(...Array.from("
            "document.querySelectorAll('section:not(.play)'),"
            " (section) => section.getBoundingClientRect().bottom)),"
            " plane.clientWidth, plane.clientHeight]"
        )
        assert right <= width
        assert bottom <= height or width < 1000
        assert 310 < plane[0] == pytest.approx(plane[1], abs=2)
    send("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize(
    ("level", "share"),  # of the pixels that are lighter
    [(100, 0.5), (100, 7e-4), (100, 0), (0, 0)],
)
def test_nearly_constant_images_are_encoded_as_in_keras(level, share):
    lighter = np.random.default_rng(0).random((60, 12, 12)) < share
    images, vae = np.uint8(level + lighter), make_vae((12, 12))
    vae.adapt(images)
    assert (np.ptp(vae.encode(images)[0], axis=0) > 10).all() == (share > 0)
    images = np.concatenate([images, bars(6, 1)[0]])
    z_mean, z_log_sigma = vae.encode(images)
    found, _ = in_node(vae, images)
    off = np.abs(found[:, :2] - z_mean) / np.exp(z_log_sigma)
    assert max(off.max(), np.abs(found[:, 2:4] - z_log_sigma).max()) < 0.05


def test_weights_that_16_bits_would_spoil_are_sent_with_32():
    vae, (images, _) = make_vae((12, 12)), bars(50, 1)
    z_mean, z_log_sigma, logits = (
        *(vae.encoder.get_layer(name) for name in ("z_mean", "z_log_sigma")),
        vae.decoder.get_layer("logits"),
    )
    assert page_data.bits_needed(vae, images) == 16
    for layer, factor, shift in [
        (logits, 300, 0),  # too coarse
        (logits, 1e6, 0),  # and beyond the range of 16 bits
        (z_mean, 100, 0),
        (z_mean, 1, 1000.3),  # 1000.5 with 16 bits, far from where it is
        (z_log_sigma, 1, -4),  # z_mean moves as far, but σ is small
        (z_log_sigma, 0, 130.06),  # as 130 with 16 bits
    ]:
        before = layer.get_weights()
        kernel, bias = before
        layer.set_weights([factor * kernel, factor * bias + shift])
        exact = vae.encode(images), vae.decode(images[:, 0, :2])
        with np.errstate(over="ignore"):  # of such a σ
            assert page_data.bits_needed(vae, images) == 32
        np.testing.assert_equal(
            (vae.encode(images), vae.decode(images[:, 0, :2])), exact
        )
        layer.set_weights(before)


def test_like_mnist(digits):
    assert page_data.like_mnist(digits)
    framed = digits.copy()
    framed[:, [0, -1]] = 1  # as good as black, in the middle, but 28 pixels high
    others = [np.roll(digits, 2, axis=1), np.roll(digits, 2, axis=2), 255 - digits]
    others += [framed, digits[:, 2:, 2:], np.stack([digits] * 3, axis=-1)]
    assert not any(map(page_data.like_mnist, others))


def test_the_tour_is_smooth_closed_and_passes_through_all_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 200)
    z_mean = rng.standard_normal((200, 3)) + 3 * rng.standard_normal((5, 3))[labels]
    path = page_data.tour(z_mean, labels)
    assert path.shape == (page_data.STEPS, 3)
    for label in range(5):
        median = np.median(z_mean[labels == label], axis=0)
        assert np.linalg.norm(path - median, axis=1).min() < 1e-9
    turns = np.linalg.norm(np.diff(path, 2, axis=0, append=path[:2]), axis=1)
    assert turns[-2:].max() <= 1.5 * turns[:-2].max()
    assert np.abs(page_data.tour(z_mean, None)).max() < 1.5 * np.abs(z_mean).max()
    np.testing.assert_allclose(page_data.tour(np.ones((9, 2)), None), 1)


def test_the_script_writes_one_file_and_names_the_models(succeeds, npz, here):
    paths = ("one.weights.h5", "ten.weights.h5")
    for path, beta in zip(paths, (1.0, 10.0), strict=True):
        save_untrained(make_vae((12, 12), beta=beta), path, npz)
    stdout = succeeds("extras.explore", "--weights", *paths)
    assert stdout == "wrote explore.html\n"
    html = (here / "explore.html").read_text("utf-8")
    assert '"name": "\\u03b2 = 1"' in html and '"name": "\\u03b2 = 10"' in html
    assert sorted(os.listdir()) == ["explore.html", *paths]


def test_a_page_of_constant_images_without_held_out_labels():
    vae, black = make_vae((12, 12)), np.zeros((9, 12, 12), "uint8")
    vae.adapt(black)
    shown = Shown(black, None, [], list("abcdefghi"), True, None)
    assert '"names": []' in explore.make_page([vae], ["a"], shown)


def test_what_no_page_can_show(fails, npz, tmp_path):
    def save(name, **options):
        path = tmp_path / f"{name}.weights.h5"
        return save_untrained(make_vae((12, 12), **options), path, npz)

    plane, line = save("plane"), save("line", latent_dim=1)
    fails("extras.explore", "--weights", line, says="one latent dimension")
    binary = save("binary", binarize=True)
    fails("extras.explore", "--weights", plane, binary, says="need different images")
    gelu = save("gelu", activation="gelu")  # as of a learner who added it to Config
    fails("extras.explore", "--weights", gelu, says="lacks the activation gelu")
    with pytest.raises(UserError, match="dense layers"):
        x = keras.Input([4])
        page_data.dense_layers(keras.Model(x, layers.LayerNormalization()(x)))


def test_python_and_the_page_know_the_same_activations():
    source = (explore.PAGE / "vae.js").read_text("utf-8")
    table = re.search(r"const ACTIVATIONS = \{(.+?)\n\}", source, re.DOTALL)[1]
    names = re.findall(r"^  (\w+)[:,]", table, re.MULTILINE)
    assert sorted(names) == sorted(page_data.ACTIVATIONS) == sorted(ACTIVATIONS)


@pytest.mark.parametrize(
    "line",
    ["let dot;", "class dot {}", "async function dot() {}", "const { a, dot } = {};"],
)
def test_no_two_modules_define_the_same_name(monkeypatch, tmp_path, line):
    """They would be one script, which then fails: vae.js has a function dot, too."""
    shutil.copytree(explore.PAGE, tmp_path / "page")
    monkeypatch.setattr(explore, "PAGE", tmp_path / "page")
    images = bars(9, 0)[0]
    shown = Shown(images, None, [], None, True, None)
    with open(tmp_path / "page" / "ink.js", "a") as file:
        file.write("  const z = 1;\n")  # inside of a block
        explore.make_page([make_vae((12, 12))], ["a"], shown)
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"\['dot'\]"):
        explore.make_page([make_vae((12, 12))], ["a"], shown)
