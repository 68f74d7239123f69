"""explore.py: the page in a real browser, and the animation."""

import json
import os
import shutil
import time

import numpy as np
import pytest
from conftest import bars
from PIL import Image

import explore
import vae_mnist

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
        self, browser, folder, shape=(12, 12), latent_dim=2, labelled=True, **settings
    ):
        vae_mnist.set_seed(7)
        self.vae = vae_mnist.VAE(shape, latent_dim=latent_dim, **settings)
        images, self.labels = bars(80, 0)
        if len(shape) == 3:
            images = np.stack([images, images // 2, 255 - images], axis=-1)
        self.images = images
        self.z_mean = 9 * self.vae.encoder.predict(images, verbose=0)["z_mean"]
        names = ["flat", HOSTILE, "square"]
        self.html = explore.make_page(
            self.vae, images, self.z_mean, self.labels if labelled else None, names
        )
        path = folder / "explore.html"
        path.write_text(self.html, encoding="utf-8")
        self.browser = browser
        browser.get(path.as_uri())
        self.dims = self.run("return known.dims")
        self.reach = self.run("return known.reach")
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
        return np.array(json.loads(self.run("return $('z').dataset.z")))

    def pixels(self, name="picture"):
        shape = self.vae.config["image_shape"]
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

    def visible(self):
        return self.run("return $('near').style.visibility") == "visible"


@pytest.fixture
def page(browser, tmp_path):
    return Page(browser, tmp_path, hidden=[16])


def test_loads_from_a_file_with_no_error_and_no_network(browser, page):
    browser.get_log("browser")
    browser.refresh()
    page.frame()
    assert page.errors() == []
    assert browser.current_url.startswith("file://")
    assert "http" not in page.html.replace("http-equiv", "")
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
    for across, up in np.random.default_rng(0).uniform(-1, 1, (50, 2)) * page.reach:
        z = page.point_at(across, up)
        np.testing.assert_allclose(z[page.dims], [across, up], atol=page.reach / 100)
        assert np.abs(page.pixels() - page.decoded(z)).max() <= 1


def test_near_a_held_out_image_it_is_shown_with_its_reconstruction(page):
    shown = 0
    for i in np.random.default_rng(1).permutation(80)[:20]:
        z = page.point_at(*(page.z_mean[i] + [page.reach / 60, 0]))
        assert page.visible()
        nearest = np.linalg.norm(page.z_mean - z, axis=1).argsort()
        gap = np.linalg.norm(page.z_mean[nearest[1]] - z) - page.reach / 60
        if nearest[0] != i or gap < page.reach / 200:
            continue  # too close to call
        shown += 1
        np.testing.assert_array_equal(page.pixels("original"), page.images[i])
        difference = page.pixels("reconstruction") - page.decoded(page.z_mean[i])
        assert np.abs(difference).max() <= 1
    assert shown > 3
    corner = 0.99 * page.reach * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    distances = np.linalg.norm(page.z_mean[:, None] - corner, axis=-1).min(axis=0)
    page.point_at(*corner[distances.argmax()])
    assert not page.visible()


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
    drawn = "return Array.from(backdrop.getContext('2d').getImageData(0, 0, 600, 600)"
    drawn += ".data).filter((value, i) => i % 4 === 3 && value > 0).length"
    shares = [page.run(drawn)]
    for box in boxes:
        box.click()
        page.frame()
        shares.append(page.run(drawn))
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < shares[0] / 2
    assert not page.visible()
    boxes[2].click()
    page.frame()
    assert page.visible()


def test_the_manifold_is_behind_the_points(page):
    page.element("grid").click()
    page.frame()
    size = page.run("return plane.width")
    shades, expected = [], []
    for row, column in [(0, 0), (0, 19), (19, 0), (19, 19), (3, 11)]:
        corner = [int((k + 0.25) * size / 20) for k in (column, row)]
        cell = page.run(
            "return Array.from(backdrop.getContext('2d').getImageData("
            "...arguments[0], ...arguments[1]).data)",
            *(corner, [size // 40, size // 40]),
        )
        shades.append(np.reshape(cell, (-1, 4))[:, 0].mean())
        centre = page.reach * np.array([2 * column - 19, 19 - 2 * row]) / 20
        expected.append(page.decoded(centre)[3:9, 3:9].mean())
    np.testing.assert_allclose(shades, expected, atol=25)
    assert np.ptp(expected) > 0


def test_without_labels_there_is_no_legend(browser, tmp_path):
    page = Page(browser, tmp_path, labelled=False, hidden=[16])
    assert browser.find_elements("css selector", "#legend input") == []
    page.point_at(*page.z_mean[0])
    assert page.visible()
    assert page.errors() == []


def test_text_of_the_data_set_is_never_html(page):
    names = page.browser.find_elements("css selector", "#legend label")
    assert [name.text.strip() for name in names] == ["flat", HOSTILE, "square"]
    assert page.browser.find_elements("css selector", "img, b") == []
    assert page.browser.title == "The latent plane of a VAE"
    assert page.errors() == []


@pytest.mark.parametrize("width", [390, 1300, 1900])
def test_nothing_sticks_out_at_any_width(page, width):
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    page.frame()
    wide = page.run("return document.documentElement.scrollWidth")
    place = page.run(
        "const b = plane.getBoundingClientRect(); return [b.width, b.height]"
    )
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= width
    assert place[0] == pytest.approx(place[1], abs=2)
    assert place[0] > 270


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


def test_the_page_of_the_default_model_is_small():
    vae = vae_mnist.VAE((28, 28))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10_000, 28, 28)).astype("uint8")  # the worst
    z_mean = rng.standard_normal((10_000, 2)).astype("float32")
    labels = rng.integers(0, 10, 10_000)
    page = explore.make_page(vae, images, z_mean, labels, list("0123456789"))
    assert len(page) < 3_400_000  # noise: what is no noise compresses


def test_one_dimension_is_no_plane(fails, npz, tmp_path):
    path = tmp_path / "one.weights.h5"
    vae_mnist.save_vae(vae_mnist.VAE((12, 12), latent_dim=1), path, str(npz))
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
