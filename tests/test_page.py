"""support/page: the page in a real browser."""

import base64
import functools
import io
import json
import re
import shutil
import time
import zlib

import numpy as np
import pytest
from conftest import bars, gaussian_kl
from PIL import Image
from reference import Reference, make_vae
from scipy import ndimage, stats

from extras import explore
from support import data
from support.shown import Shown

try:
    from selenium import webdriver
except ImportError:
    webdriver = None

CAP = 0.24  # the round ends of a stroke one pixel thick stick out by this much
HOSTILE = '<img src=x onerror="document.title=1">"</script><b>'
CLASSES = ["flat", HOSTILE, "square", "d", "e", "f"]
CHROMIUM = shutil.which("chromium"), shutil.which("chromedriver")
# What the page's module keeps to itself, for the tests to see.
HANDLE = """
globalThis.deep = (a) => a?.map ? Array.from(a, deep) : a;
Object.assign(globalThis, { $, state, PEN, image, pageImage, encode, plane, pad });
Object.assign(globalThis, { choose });
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
        self.vae = vaes[0]
        self.references = [Reference(v, 0 if v.class_names else None) for v in vaes]
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
        self.wait("state.chosen")
        self.run("document.dispatchEvent(new KeyboardEvent('keydown')); choose(null)")
        self.frame()  # without the image and the tour of the opening
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
            "plane.dispatchEvent(new PointerEvent('pointermove', { isPrimary: true,"
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
            options = {"hidden": (9, 8), "gated": True, "beta": 4.0}
            deep = make_vae((12, 12), 9, 8, **options)
            return page(images, one, deep, other, labels=labels)
        if kind == "color":
            color = np.stack([images, images // 2, 255 - images], axis=-1)
            options = {"hidden": (20, 8), "activation": "relu", "latent_dim": 3}
            return page(color, make_vae((12, 12, 3), **options), labels=labels)
        if kind == "binary":  # in five dimensions, without labels
            vae = make_vae((12, 12), activation="elu", latent_dim=5, binarize=True)
            return page(np.where(images > 0, 255, 0).astype("uint8"), vae)
        if kind == "conditional":  # and a plain one
            vae = make_vae((12, 12), sharpen=4, classes=CLASSES, beta=2.5)
            return page(images, vae, make_vae((12, 12), 9, 8), labels=labels)
        if kind == "many":  # enough to train on
            return page(bars(500, 0)[0], make_vae((12, 12)))
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
        "Array.from({ length: 50 }, (_, i) => encode(state.model, pageImage(i).x))"
        ".map(({ z_mean, z_log_sigma }) => [z_mean, z_log_sigma])"
    )
    expected = np.stack([page.z_mean, page.z_log_sigma], axis=1)[:50]
    np.testing.assert_allclose(believed, expected, atol=1e-6)
    for place in z[:3, :2]:
        there = page.point_at(*place)
        np.testing.assert_allclose(there[page.dims], place, atol=page.reach / 100)
        assert np.abs(page.pixels() - page.reference.decode([there])[0]).max() <= 1


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
    expected = {"kl": beta * kl, "here": here.item()}
    for name, nats in (expected | {"total": mean + beta * kl}).items():
        assert page.number(name) == pytest.approx(nats, abs=0.11), name
    p, gap = page.number("truth"), page.number("gap")
    assert page.number("bound") == pytest.approx(mean + kl, abs=0.11)
    assert p == pytest.approx(reference.negative_log_p(x).item(), abs=0.16)
    # Columns of rounded numbers add up.
    price = page.number("kl")
    assert round(mean + price, 1) == page.number("total")
    assert round(page.number("here") + price, 1) == page.number("total-here")
    assert round(p + gap, 1) == page.number("bound")
    for k in range(12):
        page.pick(k)
        ids = ["reconstruction-loss", "kl", "total"]
        parts = page.run("return arguments[0].map((id) => $(id).textContent)", ids)
        parts = [float(part) for part in parts]  # at one moment
        assert round(sum(parts[:2]), 1) == parts[2]
    page.pick(i)
    of_beta = f"β·KL = {beta} × {kl:.1f}"
    assert page.element("kl-price").text == ("KL" if beta == 1 else of_beta)


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
    assert page.element("name").text == f", class {HOSTILE}"
    page.drop(HOSTILE.replace("/", ""), b"GIF89a, not")
    page.wait("$('status').textContent.startsWith('This browser cannot read <img')")
    assert page.elements("img, b:not(h2 b, #score b)") == []
    assert page.browser.title == "Inside a VAE"


def test_near_a_held_out_image_it_is_shown_and_picked(page):
    apart = np.linalg.norm(page.z_mean[:, None] - page.z_mean, axis=-1)
    i, k = np.sort(apart, axis=1)[:, 1].argsort()[-2:]  # the loneliest
    page.point_at(*page.z_mean[i])
    np.testing.assert_array_equal(page.pixels("original"), page.images[i])
    page.element("plane").send_keys(webdriver.Keys.ENTER)
    page.point_at(*page.z_mean[k])
    assert page.get("[state.chosen.index, state.shown.index]").tolist() == [i, i]
    page.click("clear")
    page.point_at(*page.z_mean[k])
    assert page.get("state.shown.index") == k
    page.elements("#legend input")[page.labels[k]].click()
    page.point_at(*page.z_mean[i])
    page.point_at(*page.z_mean[k])
    assert page.get("state.shown?.index") != k  # its class is hidden


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
        assert rgba[row, column, 3] > 150  # not dimmed


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
    drawn = (page.get("state.marks.map((mark) => mark.z)") - page.z_mean[2]) / np.exp(
        page.z_log_sigma[2]
    )
    np.testing.assert_allclose(drawn[-1], page.get("state.epsilon"), atol=1e-5)
    assert np.ptp(drawn, axis=0).min() > 0
    dream = "$('dream').click(); return deep(state.marks.map((mark) => mark.z));"
    marks = page.get(f"Array.from({{ length: 100 }}, () => {{ {dream} }})")
    prior, clouds = marks[:, :16].reshape(-1, 2), marks[:, 16:].reshape(-1, 2)
    np.testing.assert_allclose(prior.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(np.cov(prior.T), np.eye(2), atol=0.15)
    away = (clouds[:, None] - page.z_mean) / np.exp(page.z_log_sigma)
    nearest = away[range(1600), np.square(away).sum(axis=2).argmin(axis=1)]
    assert 0.3 < np.square(nearest).mean() < 1.2  # z of some image's cloud
    np.testing.assert_allclose(clouds.mean(axis=0), page.z_mean.mean(axis=0), atol=0.5)


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


def clouds_hold(page, name):
    """Check that z = z_mean + σ·ε and that x is still the image of this name."""
    q = page.get("[state.q.z_mean, state.q.z_log_sigma, state.epsilon, state.z]")
    np.testing.assert_allclose(q[3], q[0] + np.exp(q[1]) * q[2], atol=1e-9)
    assert page.element("name").text == f", {name}"
    assert page.element("where").text.startswith("z = z_mean + σ·ε")


def test_it_opens_with_an_image_and_a_tour(make):
    page = make("gray")
    page.browser.get(page.path.as_uri())
    page.wait("state.source === 'motion' && state.tail.length > 2 && state.truth")
    filled = ("picture", "original", "input", "row", "sheet", "cloud-sheet", "lens")
    assert all(np.ptp(page.canvas(name)[..., :3]) > 0 for name in filled)
    texts = ("reconstruction-loss", "here", "truth", "size", "mutual", "belief")
    page.wait("/[0-9]/.test($('mutual').textContent)")
    assert all(set(page.element(name).text) & {*"0123456789"} for name in texts)
    index = page.get("state.chosen.index")
    webdriver.ActionChains(page.browser).send_keys("a").perform()
    page.frame()
    clouds_hold(page, f"class {CLASSES[page.labels[index]]}")
    assert page.get("state.tail").size == 0
    media = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    page.browser.get(page.path.as_uri())
    page.wait("state.truth")
    clouds_hold(page, f"class {CLASSES[page.labels[index]]}")
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_pointer_moves_z_and_leaves_x_alone(page):
    page.draw([[50, 50, 200, 220]], 30)
    clouds_hold(page, "your drawing")
    move = webdriver.ActionChains(page.browser, duration=50).move_to_element
    before = page.pixels("original")
    for place in ("plane", "picture"):
        move(page.element(place)).perform()
        page.frame()
        np.testing.assert_array_equal(page.pixels("original"), before)
        if place == "plane":
            assert page.element("where").text == "z is where you point."
            here = page.reference.decode([page.get("state.z")])[0]
            assert np.abs(page.pixels() - here).max() <= 1
            assert page.number("here") != page.number("reconstruction-loss")
    clouds_hold(page, "your drawing")
    move(page.element("plane")).click().perform()  # Its dots may be picked …
    page.pick(5)
    touch = "plane.dispatchEvent(new PointerEvent('%s', { pointerType: 'touch',"
    touch += " isPrimary: true, pointerId: 1, clientX: 500, clientY: 300 }))"
    page.run("plane.setPointerCapture = () => {}")
    for kind in ("down", "move", "up", "leave"):
        page.run(touch % f"pointer{kind}")
    page.frame()
    assert page.element("where").text == "z is where you point."  # … and z stays.
    assert page.get("state.chosen.index") == 5
    page.click("back")
    clouds_hold(page, f"class {CLASSES[page.labels[5]]}")
    page.run(touch % "pointerdown")
    page.run("plane.dispatchEvent(new PointerEvent('pointercancel'))")  # it scrolls
    page.run(touch.replace("isPrimary: true", "isPrimary: false") % "pointermove")
    page.frame()
    clouds_hold(page, f"class {CLASSES[page.labels[5]]}")


def test_another_model_leaves_nothing_of_the_old_one(page):
    page.pick(3)
    page.click("A")
    page.pick(4)
    page.click("B", "dream")
    page.wait("state.truth")
    names = ("picture", "row", "sheet", "cloud-sheet", "plane", "lens")
    before = {name: page.canvas(name) for name in names}
    page.elements("#models input")[2].click()
    page.wait("state.truth && /[0-9]/.test($('mutual').textContent)")
    for name in names:
        assert (page.canvas(name) != before[name]).any(), name
    z = page.get("state.marks.map((mark) => mark.z)")
    expected = page.references[2].decode(z)
    for sheet, images in (("sheet", expected[:16]), ("cloud-sheet", expected[16:])):
        tiles = page.pixels(sheet).reshape(4, 12, 4, 12).swapaxes(1, 2)
        assert np.abs(tiles.reshape(16, 12, 12) - images).max() <= 1


def given(page, label):
    """Return the model in NumPy, given a label."""
    return Reference(page.vae, label, page.get("state.model.bits"))


def label_of(page):
    """Return the number of the label that the model is given."""
    return int(page.get("state.model.label"))


def test_the_label_is_that_of_the_image_or_chosen(make):
    page = make("conditional").open()
    names = [label.text for label in page.elements("#labels label")]
    assert names == ["auto", *CLASSES]
    for number in (4, 9):
        page.pick(number)
        own = page.labels[number]
        assert label_of(page) == own
        text = page.run("return $('given').textContent")
        assert text == f"{CLASSES[own]}, that of the image"
        for chosen in (own, 3):
            if chosen != own:
                page.elements("#labels input")[chosen + 1].click()
                page.frame()
            page.wait("state.truth && state.draws.count === 1000")
            reference = given(page, chosen)
            x = page.images[number : number + 1]
            z_mean, z_log_sigma = reference.encode(x)
            np.testing.assert_allclose(page.get("state.q.z_mean"), z_mean[0], atol=1e-6)
            np.testing.assert_allclose(page.get("state.z"), z_mean[0], atol=1e-6)
            assert np.abs(page.pixels() - reference.decode(z_mean)[0]).max() <= 1
            here = reference.reconstruction(x, z_mean).item()
            assert page.number("here") == pytest.approx(here, abs=0.11)
            truth = reference.negative_log_p(x).item()
            assert page.number("truth") == pytest.approx(truth, abs=0.16)
        page.elements("#labels input")[0].click()
        page.frame()
        assert label_of(page) == own
    gap = "return $('gap').previousSibling.textContent"
    assert page.run(gap) == "+ KL(q(z|x,y) ‖ p(z|x,y))"
    page.elements("#models input")[1].click()
    page.frame()
    assert page.run(gap) == "+ KL(q(z|x) ‖ p(z|x))"
    assert not page.element("label-row").is_displayed()
    assert not page.element("every").is_displayed()
    page.elements("#models input")[0].click()
    page.frame()
    assert label_of(page) == page.labels[9]


def test_a_drawing_gets_the_label_of_the_least_loss(make):
    page = make("conditional").open()
    labels = set()
    for stroke in ([50, 50, 200, 220], [140, 30, 140, 250], [40, 140, 250, 140]):
        page.click("clear")
        page.draw([stroke], 30)
        x = np.rint(255 * page.get("state.chosen.x")).astype("uint8").reshape(1, 12, 12)
        losses = []
        for label in range(len(CLASSES)):
            reference = given(page, label)
            z_mean, z_log_sigma = reference.encode(x)
            kl = gaussian_kl(z_mean, z_log_sigma)[0]
            losses.append(reference.reconstruction(x, z_mean).item() + 2.5 * kl)
        assert label_of(page) == np.argmin(losses)
        labels.add(int(np.argmin(losses)))
    assert page.element("given").text.endswith("found by the model")
    assert len(labels) > 1


def test_the_same_z_with_every_label(make):
    page = make("conditional").open()
    page.pick(4)
    z = page.get("state.z")[None]
    tiles = page.pixels("every-label")
    rows = -(-len(CLASSES) // 5)
    tiles = tiles.reshape(rows, 12, 5, 12).swapaxes(1, 2).reshape(-1, 12, 12)
    for label in range(len(CLASSES)):
        expected = given(page, label).decode(z)[0]
        assert np.abs(tiles[label] - expected).max() <= 1
    # A click gives the decoder its label, and leaves z where it is.
    element = page.element("every-label")
    size = element.size
    actions = webdriver.ActionChains(page.browser)
    x, y = 1.5 * size["width"] / 5, size["height"] / rows / 2
    actions.move_to_element_with_offset(
        element, x - size["width"] / 2, y - size["height"] / 2
    ).click().perform()
    page.frame()
    assert label_of(page) == 1
    np.testing.assert_array_equal(page.get("state.z"), z[0])
    np.testing.assert_array_equal(page.pixels(), tiles[1])
    page.click("back")
    assert page.get("state.source") == "cloud"
    # Also without an image
    page.click("clear")
    assert page.get("state.label") is None
    page.elements("#labels input")[4].click()
    page.frame()
    assert label_of(page) == 3
    assert page.run("return $('given').textContent") == CLASSES[3]
    page.elements("#labels input")[2].click()
    assert page.run("return document.querySelectorAll('#labels input')[2].checked")


def test_rows_and_sheets_keep_their_labels(make):
    page = make("conditional").open()
    page.pick(4)
    page.click("A")
    page.pick(9)
    page.click("B")
    ends = [
        given(page, page.labels[i]).encode(page.images[i : i + 1])[0][0] for i in (4, 9)
    ]
    z = ends[0] + np.linspace(0, 1, 9)[:, None] * (ends[1] - ends[0])
    row = page.pixels("row").reshape(12, 9, 12).swapaxes(0, 1)
    expected = given(page, page.labels[9]).decode(z)  # all with the label shown
    assert np.abs(row - expected).max() <= 1
    before = page.canvas("sheet")
    page.elements("#labels input")[3].click()
    page.frame()
    np.testing.assert_array_equal(page.canvas("sheet"), before)
    row = page.pixels("row").reshape(12, 9, 12).swapaxes(0, 1)
    assert np.abs(row - expected).max() > 3


def test_numbers_of_images_that_do_not_exist(page):
    assert page.element("count").text == "of 80"
    for number, exists in (("80", True), ("81", False), ("0", False), ("1.5", False)):
        page.set(page.element("pick"), number)
        assert (page.element("status").text == "") == exists
        assert page.get("state.chosen.index") == 79
    assert page.element("status").text == "Images are numbered 1 to 80."


def test_the_size_of_an_image(page):
    page.pick(7)
    page.wait("state.draws.count === 1000 && $('PNG').textContent")
    nats = page.number("bound")
    size, png = page.element("size").text, page.element("PNG").text
    bits = nats / np.log(2)
    expected = f"{nats} nats = {np.ceil(bits):.0f} bits = {np.ceil(bits / 8):.0f} bytes"
    assert size == expected
    rows = np.packbits(page.images[7] >= 127.5, axis=1)
    rows = np.pad(rows, ((0, 0), (1, 0)))
    found = int(re.search(r"\d+", png)[0])
    assert found == pytest.approx(57 + len(zlib.compress(rows.tobytes())), abs=8)


SEVEN = np.array([[60, 60, 200, 60], [200, 60, 130, 150], [130, 150, 100, 240]])


def test_a_small_drawing_has_the_strokes_of_a_large_one(make):
    page = make("digits").open()
    page.draw(SEVEN, 24)
    large = page.pixels("original")
    page.click("clear")
    page.draw(SEVEN / 4 + 20, 24)
    small = page.pixels("original")
    assert small.sum() == pytest.approx(large.sum(), rel=0.25)
    assert np.abs(small - large).mean() < 20


def photo_of(digit, rng, thin=1, lined=False):
    """Return a gray photo, 300 × 400, of a digit in dark ink on paper."""
    ink = Image.fromarray(digit).resize((150, 150), Image.Resampling.BICUBIC)
    ink = ndimage.grey_erosion(np.array(ink), thin) / 255.0
    photo = np.full((300, 400), 0.85)
    photo[90:240, 160:310] *= 1 - 0.8 * ink
    photo[20::28] *= 0.88 if lined else 1
    photo *= np.linspace(1, 0.55, 400)  # a shadow
    photo[40:43, 60:63] = 0.3  # a speck
    photo[280:, :] = 0.25  # the edge of the table
    return np.uint8(255 * np.clip(photo + rng.normal(0, 0.015, photo.shape), 0, 1))


@pytest.mark.parametrize(("thin", "lined"), [(1, False), (5, True)])  # 5: a ballpoint
def test_a_photo_of_ink_on_paper_becomes_the_digit(make, thin, lined):
    page, rng = make("digits").open(), np.random.default_rng(0)
    for digit in page.images[:4]:
        buffer = io.BytesIO()
        Image.fromarray(photo_of(digit, rng, thin, lined)).save(buffer, "png")
        page.run("choose(null)")
        page.drop("photo.png", buffer.getvalue())
        found = page.pixels("original")
        near = ndimage.grey_dilation(digit, 5)  # a stroke's width around
        assert found[near == 0].mean() < 8
        assert np.corrcoef(found.ravel(), digit.ravel())[0, 1] > 0.55
        assert 0.7 < found.sum() / digit.sum() < 1.7
        assert page.element("status").text.startswith("Cut to the ink")
    thin = np.full((300, 400), 200, "uint8")
    thin[60:240, 200:203] = 40  # as good as no stroke, in 20 × 20 pixels
    buffer = io.BytesIO()
    Image.fromarray(thin).save(buffer, "png")
    page.drop("thin.png", buffer.getvalue())
    page.wait("state.chosen.name === 'thin.png'")
    assert (page.pixels("original")[14] > 200).sum() >= 2
    buffer = io.BytesIO()
    Image.new("L", (300, 400), 200).save(buffer, "png")
    page.drop("blank.png", buffer.getvalue())
    page.wait("$('status').textContent === 'No ink was found.'")
    assert page.pixels("original").max() == 0
    page.pick(0)
    assert page.element("status").text == ""


def test_on_a_phone_the_page_scrolls_and_targets_are_large(page):
    send = page.browser.execute_cdp_cmd
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    send("Emulation.setDeviceMetricsOverride", size)
    send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    page.browser.refresh()
    page.wait("state.truth")
    selector = "button, .button, select, label:has(input)"
    small = page.get(
        f"Array.from(document.querySelectorAll({selector!r}), (e) => [e.id, "
        "e.getBoundingClientRect().height]).filter(([, h]) => h > 0 && h < 39.5).length"
    )
    assert small == 0
    assert page.get("getComputedStyle(plane).touchAction") == "pan-y"
    page.run(
        "choose(pageImage(0)); state.source = 'pointer'; state.z = state.z.map(() => 1)"
    )
    page.frame()
    decoded = page.reference.decode([[1, 1]])[0].repeat(13, 0).repeat(13, 1)
    inset = page.canvas("plane")[2:158, 2:158, 0]  # what z draws, in a corner
    assert np.abs(inset - decoded).max() <= 2
    send("Emulation.setTouchEmulationEnabled", {"enabled": False})
    send("Emulation.clearDeviceMetricsOverride", {})


def test_find_z_yourself(page):
    page.pick(page.get("JSON.parse($('data').textContent).picks[1]"))
    page.wait("state.truth")
    before = page.canvas("plane")
    page.elements("#picks button")[1].click()
    page.frame()
    i = page.get("state.chosen.index")
    assert i == page.get("JSON.parse($('data').textContent).picks[1]")
    for name in ("losses", "identity"):
        assert not page.element(name).is_displayed()
    assert "hidden" in page.element("belief").text
    assert np.ptp(page.canvas("lens")) == 0
    x, places = page.images[i : i + 1], [(1, 1), (-2, 0.5), (0, -1)]
    losses = page.reference.reconstruction(x, places)[0]
    losses += np.square(places).sum(axis=1) / 2
    for place, loss in zip(places, losses, strict=True):
        page.point_at(*place)
        assert page.number("search-here") == pytest.approx(loss, rel=0.02)
    assert page.number("search-best") == pytest.approx(losses.min(), rel=0.02)
    # Nothing gives the answer away: not the way to the button, the tour or the disc.
    leave = "plane.dispatchEvent(new PointerEvent('pointerleave', { pointerType: %r }))"
    page.run(leave % "mouse")
    page.element("epsilon").send_keys(webdriver.Keys.ARROW_DOWN)
    page.click("tour", "stop")
    away = np.linalg.norm(page.get("state.z") - page.z_mean[i])
    assert away > 10 * np.exp(page.z_log_sigma[i]).max()
    page.click("answer")
    page.wait("state.search.gap && state.draws.count === 1000")
    z_mean, z_log_sigma = page.z_mean[i : i + 1], page.z_log_sigma[i : i + 1]
    at_mean = page.reference.reconstruction(x, z_mean).item()
    at_mean += np.square(z_mean).sum() / 2
    assert page.number("encoder-nats") == pytest.approx(at_mean, abs=0.06)
    gap = page.number("amortization") + page.number("approximation")
    assert round(gap, 1) == page.number("gap")
    ellipse = np.ravel(page.get("[state.search.gap.best].flatMap(Object.values)"))
    own = page.reference.bound(x, np.r_[z_mean[0], z_log_sigma[0]])
    gained = own - page.reference.bound(x, ellipse)
    assert page.number("amortization") == pytest.approx(gained, abs=0.5)
    # The split follows what the encoder sees.
    page.set(page.element("noise"), 0.5)
    page.wait("state.search.gap && state.draws.count === 1000")
    gap = page.number("amortization") + page.number("approximation")
    assert round(gap, 1) == page.number("gap")
    page.set(page.element("noise"), 0)
    page.click("true")
    page.pick(i)  # ends the search
    opacity = page.canvas("plane")[..., 3].sum()
    assert opacity == pytest.approx(before[..., 3].sum(), rel=0.01)  # no dot is dimmed
    assert not page.element("searching").is_displayed()
    clouds_hold(page, f"class {CLASSES[page.labels[i]]}")


def test_the_landscape_is_darkest_where_x_could_come_from(page):
    page.pick(5)
    page.wait("state.truth")
    joint = page.get("state.truth.joint").reshape(128, 128)
    size = page.get("state.model.cells.size") * 128
    axis = (np.arange(128) + 0.5) / 128 * size - size / 2
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    cost = page.reference.reconstruction(page.images[5:6], z)[0]
    cost = (cost + np.square(z).sum(axis=1) / 2).reshape(128, 128)
    np.testing.assert_allclose(joint - joint.max(), cost.min() - cost, atol=0.01)
    page.run("for (const i of [0, 1, 2, 3, 4, 5]) state.hidden.add(i)")
    page.click("true")
    rgba = page.canvas("plane")
    rows = np.int32((page.reach - z[:, 1]) / page.reach / 2 * len(rgba))
    columns = np.int32((z[:, 0] + page.reach) / page.reach / 2 * len(rgba))
    inside = (np.abs(z) < 0.95 * page.reach).all(axis=1)
    shades = rgba[rows[inside], columns[inside], 3]
    order = stats.spearmanr(-cost.ravel()[inside], shades).statistic
    assert order > 0.8


def test_train_your_own(make):
    page = make("many").open()
    page.pick(3)
    page.elements("#models input")[-1].click()
    page.wait("state.model.name === 'train your own' && state.model.cells")
    losses = "Number($('epoch').value.replaceAll('−', '-').match(/= ([-0-9.]+)/)[1])"
    before, points = page.get(losses), page.get("state.model.points")
    page.click("train")
    page.wait(f"{losses} < 0.75 * {before}")
    page.run(
        "$('own-beta').value = 100; $('own-beta').dispatchEvent(new Event('change'))"
    )
    page.wait("Number($('epoch').value.match(/× ([-0-9.]+)/)?.[1]) < 0.5")
    page.click("train")
    page.wait("state.model.cells && state.truth")
    assert (page.get("state.model.points") != points).any()
    # Every other panel works on it, too.
    layers = page.get(
        "[state.model.decoder.map((l) => [[...l.kernel], [...l.bias]])][0]"
        ".map((l) => JSON.stringify(l))"
    )
    (w1, b1), (w2, b2) = (map(np.array, json.loads(layer)) for layer in layers)
    h = np.tanh(np.reshape(page.get("state.z"), (1, 2)) @ w1.reshape(-1, 2).T + b1)
    decoded = 255 / (1 + np.exp(-(h @ w2.reshape(144, -1).T + b2)))
    assert np.abs(page.pixels().ravel() - decoded).max() <= 1
    # A mean over the pixels collapses; a KL that is subtracted grows without end.
    kl = "Number($('epoch').value.match(/[-+−] ([0-9.e+]+)$/)?.[1])"
    for mistake, end in (("mean", f"{kl} < 0.5"), ("sign", f"{kl} > 50")):
        page.run(
            "$('own-beta').value = 1; $('mistake').value = arguments[0];"
            "$('mistake').dispatchEvent(new Event('change'))",
            mistake,
        )
        page.run("$('restart').click(); $('train').click()")
        page.wait(end)
        page.run(
            "$('restart').click(); $('train').click()"
        )  # starts over, still training, and pauses
        assert page.element("train").text == "Train"
    # What is shown is of the model as it is, also after another was chosen meanwhile.
    page.run("$('restart').click(); $('train').click()")
    page.wait("/epoch [1-9]/.test($('epoch').value)")
    for i in (0, -1):
        page.elements("#models input")[i].click()
    page.wait("state.model.cells && /[0-9]/.test($('mutual').textContent)")
    there = page.get("encode(state.model, pageImage(0).x).z_mean")
    np.testing.assert_allclose(page.get("state.model.points")[:2], there, atol=1e-4)
    page.elements("#models input")[0].click()
    page.wait("state.truth")
    z_mean, _ = page.reference.encode(page.images[3:4])
    np.testing.assert_allclose(page.get("state.q.z_mean"), z_mean[0], atol=0.01)
    assert not page.element("own").is_displayed()
