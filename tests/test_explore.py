"""explore.py: the page in a real browser, and the animation."""

import base64
import io
import os
import shutil
import time

import numpy as np
import pytest
from conftest import bars, save_untrained
from PIL import Image

import explore
import vae_mnist
from support import data
from support.backend import set_seed

CAP = 0.24  # of a stroke one pixel thick, as Chromium draws it
HOSTILE = '<img src=x onerror="document.title=1">"</script><b>'


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    places = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in places:
        pytest.skip("there is no chromium, or no chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = places[0]
    for name in ("headless=new", "no-sandbox", "disable-gpu", "disable-quic"):
        options.add_argument(f"--{name}")
    for name in ("background-networking", "component-update", "sync"):
        options.add_argument(f"--disable-{name}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(places[1])
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_window_size(1300, 900)
    yield driver
    driver.quit()


class Page:
    """A page in the browser, and what it was made from."""

    def __init__(
        self,
        browser,
        folder,
        shape=(12, 12),
        latent_dim=2,
        labelled=True,
        images=None,
        spread=9,
        **settings,
    ):
        set_seed(7)
        self.vae = vae_mnist.VAE(shape, latent_dim=latent_dim, **settings)
        mean = self.vae.encoder.get_layer("z_mean")
        mean.set_weights([spread * weight for weight in mean.get_weights()])
        if images is None:
            images, _ = bars(80, 0)
        if len(shape) == 3:
            images = np.stack([images, images // 2, 255 - images], axis=-1)
        labels = np.arange(len(images)) % 3
        z_mean = self.vae.encoder.predict(images, verbose=0)["z_mean"]
        names = ["flat", HOSTILE, "square"]
        self.html = explore.make_page(
            self.vae, images, z_mean, labels if labelled else None, names
        )
        order = np.random.default_rng(0).permutation(len(images))  # the page's own
        self.images, self.labels, self.z_mean = (
            images[order],
            labels[order],
            z_mean[order],
        )
        self.path = folder / "explore.html"
        self.path.write_text(self.html, encoding="utf-8")
        self.browser = browser
        self.open()
        self.dims = self.run("return known.dims")
        self.reach = self.run("return known.reach")

    def open(self):
        self.browser.get_log("browser")  # forgets what is in it
        self.browser.get(self.path.as_uri())
        self.frame()

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def frame(self):
        """Waits until what was asked for is drawn."""
        self.browser.execute_async_script(
            "const done = arguments[0];"
            "sheet.decode().then(() => requestAnimationFrame("
            " () => requestAnimationFrame(() => setTimeout(done))));"
        )

    def point_at(self, across, up):
        """Moves the pointer to a place of the plane. Returns the whole z there."""
        self.run(
            "const box = plane.getBoundingClientRect();"
            "plane.dispatchEvent(new PointerEvent('pointermove', {"
            " clientX: box.left + (arguments[0] / known.reach + 1) / 2 * box.width,"
            " clientY: box.top + (1 - arguments[1] / known.reach) / 2 * box.height}))",
            *(float(across), float(up)),
        )
        self.frame()
        return self.z()

    def z(self):
        return np.array(self.run("return Array.from(z)"))

    def pixels(self, name="picture"):
        shape = self.vae.image_shape
        rgba = self.run(
            "const c = $(arguments[0]); return Array.from("
            "c.getContext('2d').getImageData(0, 0, c.width, c.height).data)",
            name,
        )
        rgb = np.array(rgba).reshape(*shape[:2], 4)[..., :3]
        return rgb if len(shape) == 3 else rgb[..., 0]

    def decoded(self, z):
        """What Keras' decoder makes of z, in grey levels."""
        return 255 * self.vae.decode(np.float32(z)[None])[0]

    def element(self, name):
        return self.browser.find_element("id", name)

    def errors(self):
        log = self.browser.get_log("browser")
        return [entry for entry in log if entry["level"] == "SEVERE"]

    def belief(self):
        return self.run("return [Array.from(q.z_mean), Array.from(q.z_log_sigma)]")

    def shown(self):
        """The number of the held-out image that is shown, or None."""
        return self.run("return shown?.index ?? null")

    def set(self, name, value):
        """Sets an input as a user does."""
        self.run(
            "$(arguments[0]).value = arguments[1];"
            "$(arguments[0]).dispatchEvent(new Event('input'))",
            *(name, value),
        )
        self.frame()

    def pick(self, i):
        self.set("pick", i + 1)

    def click(self, name):
        self.element(name).click()
        self.frame()

    def tiles(self, name):
        """The images of a row or a sheet, in grey levels, shape (n, H, W)."""
        height, width = self.vae.image_shape
        rgba = self.run(
            "const { height: h, width: w } = $(arguments[0]);"
            "const pen = $(arguments[0]).getContext('2d');"
            "return [h, w, ...pen.getImageData(0, 0, w, h).data]",
            name,
        )
        grey = np.array(rgba[2:]).reshape(rgba[0], rgba[1], 4)[..., 0]
        rows = grey.reshape(rgba[0] // height, height, rgba[1] // width, width)
        return rows.swapaxes(1, 2).reshape(-1, height, width)

    def draw(self, strokes, thickness):
        """Draws on the pad with pointer events of a pen of that thickness.

        strokes: [[left, top, left, top], …] from where to where, in the pad's pixels.
        """
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


def dithered(image, zoom):
    """A black and white picture, zoom times as large, each of whose squares is as white
    as a pixel of the image: True where it is white."""
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
    """Strokes, one pixel thick, that make a black and white picture."""
    strokes = []
    for row, line in enumerate(np.pad(picture, ((0, 0), (1, 1))).astype(int)):
        ends = np.flatnonzero(np.diff(line)).reshape(-1, 2)  # of the runs of white
        # A stroke's round ends go beyond it.
        strokes += [[a + CAP, row + 0.5, b - CAP, row + 0.5] for a, b in ends]
    return strokes


def drop(page, name, content):
    page.run(
        """
        const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0));
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], arguments[0]));
        pad.dispatchEvent(new DragEvent("drop",
          { dataTransfer, bubbles: true, cancelable: true }));""",
        *(name, base64.b64encode(content).decode()),
    )
    end = time.monotonic() + 30
    while not page.run("return chosen?.name || $('status').textContent"):
        assert time.monotonic() < end
    page.frame()


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def digits():
    return data.load("mnist_sample").x_test


@pytest.fixture(scope="module")
def usual_page(browser, tmp_path_factory):
    return Page(browser, tmp_path_factory.mktemp("page"), hidden=[16])


@pytest.fixture
def page(usual_page):
    usual_page.open()
    return usual_page


def test_loads_from_a_file_with_no_error_and_no_network(browser, page):
    browser.get_log("browser")
    browser.refresh()
    page.frame()
    assert page.errors() == []
    assert browser.current_url.startswith("file://")
    assert "http" not in page.html.replace("http-equiv", "")
    page.pick(0)
    page.draw([[50, 50, 200, 220]], 30)
    drop(page, "picture.png", png(page.images[0]))
    for name in ("A", "B", "dream", "sample", "tour", "stop", "grid"):
        page.click(name)
    assert page.errors() == []
    names = page.run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert all(name.startswith("data:") for name in names)


@pytest.mark.parametrize(
    ("shape", "latent_dim", "hidden", "activation"),
    [
        ((12, 12), 2, [16], "tanh"),
        ((12, 12, 3), 2, [20, 8], "relu"),
        ((12, 12), 5, [16], "elu"),
        ((12, 12, 3), 3, [7, 9, 11], "silu"),
    ],
)
def test_the_page_decodes_as_keras_does(
    browser, tmp_path, shape, latent_dim, hidden, activation
):
    page = Page(
        browser, tmp_path, shape, latent_dim, hidden=hidden, activation=activation
    )
    z = np.random.default_rng(0).uniform(-3, 3, (50, latent_dim))
    drawn = page.run(
        """return arguments[0].map((z) => {
          paint($("picture"), image(Float64Array.from(z)));
          return Array.from($("picture").getContext("2d")
            .getImageData(0, 0, width, height).data);
        })""",
        z.tolist(),
    )
    drawn = np.reshape(drawn, (50, *shape[:2], 4))[..., :3]
    expected = 255 * page.vae.decode(z.astype("float32"))
    if len(shape) == 2:
        expected = expected[..., None]
    assert np.ptp(expected) > 10
    assert np.abs(drawn - expected).max() <= 1
    assert page.run("return known.bits") == 16

    believed = page.run(
        """return arguments[0].map((i) => {
          const { z_mean, z_log_sigma } = encode(vae, heldOut(i).x);
          return [Array.from(z_mean), Array.from(z_log_sigma)];
        })""",
        list(range(50)),
    )
    expected = page.vae.encoder.predict(page.images[:50], verbose=0)
    means, log_sigmas = np.swapaxes(believed, 0, 1)
    assert np.ptp(expected["z_mean"], axis=0).min() > 0.5
    np.testing.assert_allclose(means, expected["z_mean"], atol=0.01)
    np.testing.assert_allclose(log_sigmas, expected["z_log_sigma"], atol=0.002)

    for across, up in z[:3, :2]:
        there = page.point_at(across, up)
        np.testing.assert_allclose(
            there[page.dims], [across, up], atol=page.reach / 100
        )
        assert np.abs(page.pixels() - page.decoded(there)).max() <= 1


def test_near_a_held_out_image_it_is_shown_with_its_reconstruction(page):
    shown = 0
    for i in np.random.default_rng(1).permutation(80)[:20]:
        z = page.point_at(*(page.z_mean[i] + [page.reach / 60, 0]))
        nearest = np.linalg.norm(page.z_mean - z, axis=1).argsort()
        gap = np.linalg.norm(page.z_mean[nearest[1]] - z) - page.reach / 60
        if nearest[0] != i or gap < page.reach / 200:
            continue  # too close to call
        shown += 1
        assert page.shown() == i
        np.testing.assert_array_equal(page.pixels("original"), page.images[i])
        difference = page.pixels("reconstruction") - page.decoded(page.z_mean[i])
        assert np.abs(difference).max() <= 1
    assert shown > 3
    corner = 0.99 * page.reach * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    distances = np.linalg.norm(page.z_mean[:, None] - corner, axis=-1).min(axis=0)
    page.point_at(*corner[distances.argmax()])
    assert page.shown() is None


def test_the_plane_has_z0_to_the_right_and_z1_upward(page):
    plane = page.run(
        "const b = plane.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]"
    )
    chains = pytest.importorskip("selenium.webdriver.common.action_chains")
    right, above = 0.3 * plane[2], 0.2 * plane[3]
    chains.ActionChains(page.browser).move_to_element_with_offset(
        page.element("plane"), round(right), -round(above)
    ).perform()
    page.frame()
    expected = page.reach * np.array([0.6, 0.4])
    np.testing.assert_allclose(page.z(), expected, atol=page.reach / 50)
    assert np.abs(page.pixels() - page.decoded(page.z())).max() <= 1


def test_points_are_drawn_at_their_place_in_the_colour_of_their_class(page):
    page.point_at(page.reach, page.reach)
    size = page.run("return plane.width")
    far = np.linalg.norm(page.z_mean[:, None] - page.z_mean, axis=-1)
    alone = np.sort(far, axis=1)[:, 1].argsort()[-5:]
    colours = page.run("return known.colours")
    for i in alone:
        right, down = (1 + page.z_mean[i] / page.reach * [1, -1]) / 2 * size
        drawn = page.run(
            "return Array.from(plane.getContext('2d')"
            ".getImageData(arguments[0], arguments[1], 1, 1).data)",
            *(int(right), int(down)),
        )
        colour = colours[page.labels[i]]
        expected = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
        assert np.abs(np.array(drawn[:3]) - expected).max() < 20
        assert drawn[3] > 100


def test_keyboard(page):
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    start = page.point_at(0, 0)
    plane = page.element("plane")
    for key, change in (
        (keys.ARROW_RIGHT, [1, 0]),
        (keys.ARROW_UP, [1, 1]),
        (keys.ARROW_LEFT, [0, 1]),
        (keys.ARROW_DOWN, [0, 0]),
    ):
        plane.send_keys(key)
        page.frame()
        expected = start + page.reach / 60 * np.array(change)
        np.testing.assert_allclose(page.z(), expected, atol=1e-9)
    assert page.run("return document.activeElement === plane")
    plane.send_keys(keys.SHIFT, keys.ARROW_UP)
    page.frame()
    assert page.z()[1] == pytest.approx(start[1] + page.reach / 12)
    outline = "return getComputedStyle(plane).outlineStyle"
    assert page.run(outline) == "solid"


def test_touch_moves_and_draws(page):
    actions = pytest.importorskip("selenium.webdriver.common.actions.action_builder")
    pointer = pytest.importorskip("selenium.webdriver.common.actions.pointer_input")
    touch = pointer.PointerInput("touch", "finger")
    builder = actions.ActionBuilder(page.browser, mouse=touch)
    plane = page.element("plane")
    builder.pointer_action.move_to(plane, 20, 30).pointer_down()
    builder.pointer_action.move_to(plane, 60, -40).move_to(plane, -80, 50).pointer_up()
    builder.perform()
    page.frame()
    width = page.run("return plane.getBoundingClientRect().width")
    expected = page.reach * np.array([-160, -100]) / width
    np.testing.assert_allclose(page.z(), expected, atol=page.reach / 50)
    assert page.run("return path.length") >= 2
    assert page.element("walk").is_enabled()


def test_walking_a_path_goes_there_and_back(page):
    page.run("path = [[-1, 0], [1, 0], [1, 1]].map((p) => new Float64Array(p))")
    page.run("$('walk').disabled = false; $('walk').click()")
    seen = []
    end = time.monotonic() + 30
    while not (len(seen) > 2 and max(seen) > 1.5 and min(seen) < -0.5 > seen[-1]):
        assert time.monotonic() < end
        page.frame()
        across, up = page.z()
        assert min(abs(up), abs(across - 1)) < 1e-9  # never across the corner
        assert -1 <= across <= 1
        assert 0 <= up <= 1
        seen.append(across + up)
    page.element("stop").click()
    page.frame()
    stopped = page.z()
    time.sleep(0.2)
    np.testing.assert_array_equal(page.z(), stopped)


def test_the_tour_button_walks_the_tour(page):
    page.element("tour").click()
    path = explore.tour(page.z_mean, page.labels)
    seen = []
    for _ in range(10):
        page.frame()
        seen.append(page.z())
        assert np.linalg.norm(path - seen[-1], axis=1).min() < 0.1
    assert np.ptp(seen, axis=0).max() > 0
    assert page.element("stop").is_enabled()


def test_sliders_are_the_other_dimensions(browser, tmp_path):
    page = Page(browser, tmp_path, latent_dim=5, hidden=[16])
    variances = page.z_mean.var(axis=0)
    assert set(page.dims) == set(np.argsort(variances)[-2:])
    others = sorted(set(range(5)) - set(page.dims))
    sliders = browser.find_elements("css selector", "#sliders input")
    assert [int(s.get_attribute("data-dim")) for s in sliders] == others
    before = page.pixels()
    page.run(
        "arguments[0].value = 1.5; arguments[0].dispatchEvent(new Event('input'))",
        sliders[1],
    )
    page.frame()
    assert page.z()[others[1]] == pytest.approx(1.5, abs=1e-6)
    assert np.abs(page.pixels() - page.decoded(page.z())).max() <= 1
    assert (page.pixels() != before).any()


def test_the_legend_hides_classes(page):
    i = int(np.argmax(page.labels == 2))
    page.point_at(*page.z_mean[i])
    boxes = page.browser.find_elements("css selector", "#legend input")
    assert len(boxes) == 3
    drawn = """
        const pixels = backdrop.getContext('2d').getImageData(0, 0, 600, 600).data;
        return pixels.filter((value, i) => i % 4 == 0 &&
          Math.abs(value - pixels[i + 1]) > 30).length
    """
    shares = [page.run(drawn)]
    for box in boxes:
        box.click()
        page.frame()
        shares.append(page.run(drawn))
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < shares[0] / 100
    assert page.shown() is None
    boxes[2].click()
    page.frame()
    assert page.shown() is not None


def test_the_manifold_is_behind_the_points(page):
    page.run("for (const label of known.labels) hidden.add(label)")
    page.element("grid").click()
    page.frame()
    size = page.run("return plane.width")
    for row, column in [(2, 3), (2, 16), (16, 3), (16, 16), (4, 11)]:
        left, top, right, bottom = (
            round(k * size / 20) for k in (column, row, column + 1, row + 1)
        )
        cell = page.run(
            "const [left, top, wide, high] = arguments[0];"
            "const pen = backdrop.getContext('2d');"
            "return Array.from(pen.getImageData(left, top, wide, high).data)",
            [left, top, right - left, bottom - top],
        )
        cell = np.reshape(cell, (bottom - top, right - left, 4))[..., 0]
        small = Image.fromarray(cell.astype("uint8")).resize((12, 12))
        centre = page.reach * np.array([2 * column - 19, 19 - 2 * row]) / 20
        expected = page.decoded(centre)
        assert np.corrcoef(np.ravel(small), expected.ravel())[0, 1] > 0.8


def test_without_labels_there_is_no_legend(browser, tmp_path):
    page = Page(browser, tmp_path, labelled=False, hidden=[16])
    assert browser.find_elements("css selector", "#legend input") == []
    page.point_at(*page.z_mean[0])
    assert page.shown() is not None
    assert page.errors() == []


def test_a_drawing_lands_where_keras_puts_the_digit(browser, tmp_path, digits):
    page = Page(browser, tmp_path, (28, 28), images=digits[:200], spread=2, hidden=[32])
    assert page.run("return known.centred")
    expected = page.vae.encoder.predict(page.images[:4], verbose=0)
    for i in range(4):
        strokes = np.array(hatching(dithered(page.images[i], 10)))
        page.draw(strokes + [-25, 17, -25, 17], 1)  # anywhere on the pad
        assert np.abs(page.pixels("original") - page.images[i]).max() < 5
        z_mean, z_log_sigma = page.belief()
        np.testing.assert_allclose(z_mean, expected["z_mean"][i], atol=0.02)
        np.testing.assert_allclose(z_log_sigma, expected["z_log_sigma"][i], atol=0.02)
        np.testing.assert_allclose(page.z(), z_mean)
        page.click("clear")
    # A bar that leans: as thick as the digits' strokes, and fitted into 20 pixels.
    page.draw([[140, 100, 160, 200]], 24)
    rows, columns = np.nonzero(page.pixels("original") > 100)
    assert np.ptp(rows) == 19
    assert 5 <= np.ptp(columns) <= 7


def test_digits_are_centred_as_in_mnist(page, digits):
    for digit in digits[::100]:
        rows, columns = np.nonzero(digit)
        box = digit[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        for zoom, top, left in ((10, 0, 0), (7, 60, 20), (13, 3, 5)):
            ink = np.zeros((280, 280))
            white = dithered(box, zoom)
            ink[top : top + len(white), left : left + len(white[0])] = white
            drawn = page.run(
                "return Array.from(centre(Uint8Array.from(arguments[0]), 280))",
                "".join(map(str, ink.ravel().astype(int))),
            )
            np.testing.assert_allclose(255 * np.reshape(drawn, (28, 28)), digit, atol=3)


def test_other_grey_images_are_as_drawn(page):
    assert not page.run("return known.centred")
    zoom = page.run("return zoom")
    for i in (0, 1):
        page.draw(hatching(dithered(page.images[i], zoom)), 1)
        assert np.abs(page.pixels("original") - page.images[i]).max() <= 2
        z_mean, _ = page.belief()
        np.testing.assert_allclose(z_mean, page.z_mean[i], atol=0.02)
        page.click("clear")
    assert page.shown() is None


def test_undo_and_clear(page):
    page.draw([[30, 30, 200, 30]], 20)
    one = page.pixels("original")
    page.draw([[30, 30, 30, 200]], 20)
    assert (page.pixels("original") != one).any()
    page.click("undo")
    np.testing.assert_array_equal(page.pixels("original"), one)
    page.click("undo")
    assert page.run("return shown") is None
    assert not page.element("undo").is_enabled()
    assert not page.element("sample").is_enabled()
    page.draw([[100, 100, 100, 100]], 80)  # a dot
    assert page.pixels("original").max() == 255
    page.pick(3)  # takes the drawing's place
    np.testing.assert_array_equal(page.pixels("original"), page.images[3])
    page.click("clear")
    assert page.element("total").text == "–"


@pytest.mark.parametrize("latent_dim", [2, 4])
def test_the_ellipses_are_those_of_q(browser, tmp_path, latent_dim):
    page = Page(browser, tmp_path, latent_dim=latent_dim, hidden=[16])
    page.run(
        """window.seen_ = [];
        const ellipse = CanvasRenderingContext2D.prototype.ellipse;
        CanvasRenderingContext2D.prototype.ellipse = function (...numbers) {
          window.seen_.push(numbers);
          ellipse.apply(this, numbers);
        }; redraw()"""
    )
    page.pick(5)
    drawn = np.array(page.run("return window.seen_"))[:, :4]
    unit = page.run("return plane.width") / 2 / page.reach
    expected = page.vae.encoder.predict(page.images[5:6], verbose=0)
    mean, sigma = expected["z_mean"][0], np.exp(expected["z_log_sigma"][0])
    mean, sigma = mean[page.dims], sigma[page.dims]
    for n in (1, 2):
        place = (page.reach + mean * [1, -1]) * unit
        ellipse = [*place, *(n * sigma * unit)]
        assert np.abs(drawn - ellipse).max(axis=1).min() < 0.02 * unit
        circle = np.array([page.reach, page.reach, n, n]) * unit
        assert np.abs(drawn - circle).max(axis=1).min() < 1e-6 * unit


def test_z_is_drawn_from_q(page):
    page.pick(2)
    z_mean, z_log_sigma = page.belief()
    draws = np.array(
        page.run("return Array.from({length: 4000}, () => Array.from(sample(q)))")
    )
    sigma = np.exp(z_log_sigma)
    np.testing.assert_allclose(draws.mean(axis=0), z_mean, atol=0.08 * sigma.max())
    np.testing.assert_allclose(draws.std(axis=0), sigma, rtol=0.06)

    page.click("sample")
    end = time.monotonic() + 30
    while page.run("return marks.length") < 3:
        assert time.monotonic() < end
    page.click("stop")
    marks = np.array(page.run("return marks.map((z) => Array.from(z))"))
    assert (np.abs(marks - z_mean) < 6 * sigma).all()
    assert np.ptp(marks, axis=0).min() > 0
    np.testing.assert_array_equal(page.z(), marks[-1])
    for name in ("picture", "reconstruction"):
        assert np.abs(page.pixels(name) - page.decoded(marks[-1])).max() <= 1

    page.click("clear")  # now of an image that is only near the pointer
    page.point_at(*page.z_mean[9])
    near = page.shown()
    assert near is not None
    page.click("sample")
    page.click("stop")
    assert page.shown() == near
    assert page.run("return marks.length") > 0


def test_samples_of_the_prior(page):
    page.click("dream")
    marks = np.array(page.run("return marks.map((z) => Array.from(z))"))
    assert marks.shape == (25, 2)
    expected = 255 * page.vae.decode(marks.astype("float32"))
    assert np.abs(page.tiles("sheet") - expected).max() <= 1
    marks = page.run(
        """return Array.from({length: 100}, () => {
          $("dream").click();
          return marks.map((z) => Array.from(z));
        })"""
    )
    marks = np.reshape(marks, (-1, 2))  # 2,500 of them
    np.testing.assert_allclose(marks.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(np.cov(marks.T), np.eye(2), atol=0.15)


def test_from_a_to_b(page):
    page.pick(4)
    page.click("A")
    page.draw([[50, 50, 200, 220]], 30)
    end, _ = page.belief()
    page.click("B")
    line = np.linspace(page.z_mean[4], end, 9).astype("float32")
    assert np.abs(page.tiles("row") - 255 * page.vae.decode(line)).max() <= 1
    assert np.ptp(page.tiles("row"), axis=0).max() > 5
    path = page.run("return path.map((z) => Array.from(z))")
    np.testing.assert_allclose(path, line, atol=0.01)
    assert page.element("walk").is_enabled()


def test_the_encoder_sees_noise_but_the_loss_compares_with_the_clean_image(page):
    page.pick(1)
    clean = page.pixels("seen")
    np.testing.assert_array_equal(clean, page.images[1])
    views = []
    for sigma in (0.5, 0.25, 0.5):
        page.set("noise", sigma)
        views.append(page.pixels("seen"))
    np.testing.assert_array_equal(views[0], views[2])
    black = clean == 0  # of whose noise the negative half is clipped
    for view, sigma in zip(views, (0.5, 0.25), strict=False):
        mean = np.mean(view[black]) / 255
        assert mean == pytest.approx(sigma / np.sqrt(2 * np.pi), rel=0.4)
    np.testing.assert_array_equal(page.pixels("original"), clean)
    expected = page.vae.encoder.predict(views[2][None].astype("uint8"), verbose=0)
    z_mean, _ = page.belief()
    np.testing.assert_allclose(z_mean, expected["z_mean"][0], atol=0.05)
    assert np.abs(z_mean - page.z_mean[1]).max() > 0.1
    logits = page.vae.decoder.predict(np.float32([z_mean]), verbose=0)
    expected = vae_mnist.reconstruction_loss(clean.reshape(1, -1) / 255, logits)
    shown = float(page.element("reconstruction-loss").text)
    assert shown == pytest.approx(float(expected[0]), rel=2e-3)


@pytest.mark.parametrize(("shape", "beta"), [((12, 12), 1.0), ((12, 12, 3), 4.0)])
def test_the_loss_and_its_terms(browser, tmp_path, shape, beta):
    page = Page(browser, tmp_path, shape, hidden=[16], beta=beta)
    for i in (0, 7):
        page.pick(i)
        q = page.vae.encoder.predict(page.images[i : i + 1], verbose=0)
        logits = page.vae.decoder.predict(q["z_mean"], verbose=0)
        x = page.images[i].reshape(1, -1) / 255
        reconstruction = float(vae_mnist.reconstruction_loss(x, logits)[0])
        kl = float(vae_mnist.kl_divergence(q["z_mean"], q["z_log_sigma"])[0])
        for name, nats in (
            ("reconstruction-loss", reconstruction),
            ("kl", kl),
            ("total", reconstruction + beta * kl),
        ):
            assert float(page.element(name).text) == pytest.approx(nats, rel=2e-3)
    assert ("4 ·" in page.element("beta").text) == (beta == 4)


def test_a_vae_of_binary_pixels_sees_binary_pixels(browser, tmp_path):
    page = Page(browser, tmp_path, hidden=[16], binarize=True)
    page.pick(0)
    seen, grey = page.pixels("seen"), page.images[0]
    assert set(np.unique(seen)) <= {0, 255}
    np.testing.assert_array_equal(seen[grey == 0], 0)
    inside = grey > 0
    assert seen[inside].mean() == pytest.approx(grey[inside].mean(), abs=110)


@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 3)])
def test_an_image_is_dropped(browser, tmp_path, shape):
    page = Page(browser, tmp_path, shape, hidden=[16])
    image = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype("uint8")
    wide = np.concatenate([image[:, :4] * 0, image, image[:, :4] * 0], axis=1)
    drop(page, "wide.png", png(wide))
    expected = (
        image if len(shape) == 3 else np.asarray(Image.fromarray(image).convert("L"))
    )
    assert np.abs(page.pixels("original") - expected.astype(int)).max() <= 1
    assert page.element("name").text == "wide.png"
    assert page.element("status").text == ""


def test_a_dropped_file_that_is_no_image_is_explained_in_one_line(page):
    drop(page, f"{HOSTILE.replace('/', '')}.png", b"GIF89a, not")
    text = page.element("status").text
    assert text.startswith("<img")
    assert text.endswith("is no image that this browser can read.")
    assert "\n" not in text
    assert page.browser.find_elements("css selector", "img, b:not(h2 b)") == []
    assert page.run("return chosen") is None


def test_a_click_or_enter_picks_a_held_out_image(page):
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    apart = np.linalg.norm(page.z_mean[:, None] - page.z_mean, axis=-1)
    i, k = np.sort(apart, axis=1)[:, 1].argsort()[-2:]  # the loneliest
    page.point_at(*page.z_mean[i])
    page.element("plane").send_keys(keys.ENTER)
    page.frame()
    assert page.run("return chosen.index") == i
    chains = pytest.importorskip("selenium.webdriver.common.action_chains")
    half = page.run("return plane.clientWidth") / 2
    right, down = page.z_mean[k] / page.reach * half * [1, -1]
    chains.ActionChains(page.browser).move_to_element_with_offset(
        page.element("plane"), round(right), round(down)
    ).click_and_hold().move_by_offset(1, 0).release().perform()  # not quite still
    page.frame()
    assert page.run("return chosen.index") == k
    page.point_at(0.99 * page.reach, 0.99 * page.reach)
    page.run("plane.dispatchEvent(new PointerEvent('pointerleave'))")
    page.frame()
    assert page.shown() == k


def test_every_control_has_a_name_and_every_canvas_too(page):
    page.pick(0)
    controls = page.browser.find_elements(
        "css selector", "button, input, summary, canvas, fieldset, section"
    )
    assert len(controls) > 30
    inside = page.run("return [...document.querySelectorAll('button canvas')]")
    assert [c.get_attribute("outerHTML") for c in controls
            if c not in inside and not c.accessible_name.strip()] == []  # fmt: skip
    for control in page.browser.find_elements("css selector", "button, input, summary"):
        page.run("arguments[0].disabled = false; arguments[0].focus()", control)
        assert page.run("return document.activeElement === arguments[0]", control)


def test_reduced_motion(page):
    page.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]},
    )
    page.pick(0)
    page.click("sample")
    page.click("sample")
    time.sleep(0.5)
    assert page.run("return marks.length") == 2
    page.click("tour")
    seen = {tuple(page.z()) for _ in range(5) if page.frame() is None}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(seen) <= 2


def test_weights_that_16_bits_would_spoil_are_sent_with_32(browser, tmp_path):
    vae = vae_mnist.VAE((12, 12), hidden=[16])
    z = np.random.default_rng(0).standard_normal((50, 2)).astype("float32")
    assert explore.bits_needed(vae, z) == 16
    before = vae.decoder.get_weights()
    vae.decoder.set_weights([300 * weight for weight in before])
    exact = vae.decode(z)
    assert explore.bits_needed(vae, z) == 32
    np.testing.assert_array_equal(vae.decode(z), exact)  # the weights are as they were
    vae.decoder.set_weights([1e6 * weight for weight in before])  # beyond 16 bits
    assert explore.bits_needed(vae, z) == 32


def test_like_mnist(digits):
    assert explore.like_mnist(digits)
    assert not explore.like_mnist(np.roll(digits, 2, axis=1))
    assert not explore.like_mnist(np.roll(digits, 2, axis=2))
    assert not explore.like_mnist(255 - digits)
    framed = digits.copy()
    framed[:, [0, -1]] = 1  # as good as black, in the middle, but 28 pixels high
    assert not explore.like_mnist(framed)
    assert not explore.like_mnist(digits[:, 2:, 2:])
    assert not explore.like_mnist(np.stack([digits] * 3, axis=-1))
    assert not explore.like_mnist(np.zeros((5, 28, 28), "uint8"))


def test_text_of_the_data_set_is_never_html(page):
    names = page.browser.find_elements("css selector", "#legend label")
    assert [name.text.strip() for name in names] == ["flat", HOSTILE, "square"]
    page.pick(int(np.argmax(page.labels == 1)))
    assert page.run("return $('name').textContent") == f"class {HOSTILE}"
    assert page.browser.find_elements("css selector", "img, b:not(h2 b)") == []
    assert page.browser.title == "The latent plane of a VAE"
    assert page.errors() == []


@pytest.mark.parametrize("latent_dim", [2, 16])
def test_nothing_sticks_out_at_any_size(browser, tmp_path, latent_dim):
    page = Page(browser, tmp_path, latent_dim=latent_dim, hidden=[16])
    try:
        for width, height in (390, 844), (1200, 800), (1300, 850), (1900, 1000):
            browser.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": height, "deviceScaleFactor": 1}
                | {"mobile": width < 500},
            )
            page.open()
            page.pick(0)
            page.click("dream")
            page.click("A")
            right, bottom, *plane = page.run(
                "const { scrollWidth, scrollHeight } = document.documentElement;"
                "const box = plane.getBoundingClientRect();"
                "return [scrollWidth, scrollHeight, box.width, box.height]"
            )
            assert right <= width
            assert bottom <= height or width < 500
            assert plane[0] == pytest.approx(plane[1], abs=2)
            assert plane[0] > 330
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_tour_is_closed_and_passes_through_all_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 200)
    z_mean = rng.standard_normal((200, 3)) + 3 * rng.standard_normal((5, 3))[labels]
    path = explore.tour(z_mean, labels)
    assert path.shape == (explore.FRAMES, 3)
    for label in range(5):
        median = np.median(z_mean[labels == label], axis=0)
        assert np.linalg.norm(path - median, axis=1).min() < 1e-9
    steps = np.linalg.norm(np.roll(path, -1, axis=0) - path, axis=1)
    turns = np.linalg.norm(np.diff(path, 2, axis=0, append=path[:2]), axis=1)
    assert steps[-1] <= steps[:-1].max()  # from the last point to the first
    assert turns[-2:].max() <= 1.5 * turns[:-2].max()


def test_a_tour_without_classes():
    z_mean = np.random.default_rng(0).standard_normal((50, 2))
    path = explore.tour(z_mean, None)
    assert path.shape == (explore.FRAMES, 2)
    assert np.isfinite(path).all()
    assert np.abs(path).max() < 1.5 * np.abs(z_mean).max()


@pytest.mark.parametrize("shape", [(12, 12), (8, 10, 3)])
def test_the_animation_shows_the_tour_and_loops(tmp_path, shape):
    vae = vae_mnist.VAE(shape, hidden=[16])
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    path = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype("float32")
    explore.write_gif(vae, path, tmp_path / "tour.gif")
    expected = 255 * vae.decode(path)
    with Image.open(tmp_path / "tour.gif") as gif:
        assert gif.n_frames == 12
        assert gif.info["loop"] == 0
        for i in range(12):
            gif.seek(i)
            frame = gif.convert("RGB" if len(shape) == 3 else "L")
            small = frame.resize(shape[1::-1], Image.Resampling.NEAREST)
            error = np.abs(np.asarray(small).astype(float) - expected[i])
            assert error.mean() < 6  # a palette of few colours


def test_the_scripts_files(run_here, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_here("explore.py", "--weights", weights).status == 0
    assert os.listdir() == ["explore.html"]
    assert os.path.getsize("explore.html") < 3_000_000
    result = run_here("explore.py", "--weights", weights, "--gif", "tour.gif")
    assert result.status == 0
    assert result.stdout == "wrote tour.gif\n"
    assert sorted(os.listdir()) == ["explore.html", "tour.gif"]


def test_the_page_of_the_default_model_is_small(digits):
    images = np.concatenate([digits, digits[:, ::-1]])  # 2,000, as of all MNIST
    z_mean = np.random.default_rng(0).standard_normal((2000, 2)).astype("float32")
    names = list("0123456789")
    page = explore.make_page(vae_mnist.VAE((28, 28)), images, z_mean, None, names)
    assert len(page) < 2_500_000


def test_the_page_of_large_colour_images_is_not_too_large():
    vae = vae_mnist.VAE((64, 64, 3))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, 64, 64, 3)).astype("uint8")  # noise: the worst
    z_mean = rng.standard_normal((200, 2)).astype("float32")
    assert len(explore.make_page(vae, images, z_mean, None, None)) < 20_000_000


def test_one_dimension_is_no_plane(fails, npz, tmp_path):
    path = tmp_path / "one.weights.h5"
    save_untrained(vae_mnist.VAE((12, 12), latent_dim=1), path, npz)
    fails("explore.py", "--weights", path, says="one latent dimension")


@pytest.mark.parametrize(
    "options", [["--output", "page.txt"], ["--gif", "tour.png"], ["--gif", "tour"]]
)
def test_files_have_the_right_ending(run_here, options):
    result = run_here("explore.py", *options)
    assert result.status != 0
    assert "must end in" in result.stderr


def test_the_page_or_the_animation_but_not_both(fails, weights):
    options = ("--gif", "a.gif", "--output", "b.html")
    fails("explore.py", "--weights", weights, *options, says="give one")
