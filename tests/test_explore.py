"""extras/explore.py and support/page_data.py; the page's arithmetic, in Node."""

import functools
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from conftest import ROOT, bars, gaussian_kl, save_untrained
from reference import ACTIVATIONS, Reference, make_vae
from scipy import optimize, special, stats

from extras import explore
from support import data, page_data, page_grid
from support.backend import keras, layers
from support.errors import UserError
from support.shown import Shown

NODE = """
import * as vae from "./support/page/vae.js";
import { floats, float16, unpack } from "./support/page/unpack.js";
import { makeCells, posterior } from "./support/page/posterior.js";
import { findBestEllipse } from "./support/page/ellipse.js";
import { measureClouds } from "./support/page/clouds.js";
import fs from "fs";
const { model, x } = JSON.parse(fs.readFileSync(0));
const { LABEL } = process.env;
const unpacked = LABEL ? vae.given(unpack(model), Number(LABEL)) : unpack(model);
const grid = model.grid ?? model.grids[Number(LABEL)];
function finish(work) {
  let step = work.next();
  while (!step.done) step = work.next();
  return step.value;
}
const cells = finish(makeCells(unpacked, {
  ...grid, softplus: process.env.SOFTPLUS ? floats(grid.softplus) : null
}));
const rows = x.map((pixels) => {
  pixels = Float64Array.from(pixels);
  const q = vae.encode(unpacked, pixels);
  const logits = vae.decode(unpacked, q.z_mean);
  const truth = posterior(unpacked, cells, pixels);
  const { negativeLogP, leaves } = truth;
  const total = leaves.reduce((sum, { share }) => sum + share, 0);
  const best = finish(findBestEllipse(unpacked, pixels, q, truth));
  return [...q.z_mean, ...q.z_log_sigma, vae.reconstructionLoss(pixels, logits),
    vae.klDivergence(q), total, negativeLogP, ...best.z_mean, ...best.z_log_sigma];
});
const clouds = { z_mean: floats(model.points), z_log_sigma: floats(model.logSigmas) };
console.log(JSON.stringify({
  rows,
  clouds: finish(measureClouds(clouds, model.latentDim, model.dims)),
  halves: [0x3555, 0x8001, 0xc000].map(float16),
}));"""


@pytest.fixture(scope="session")
def digits():
    return data.load("mnist_sample").test.images


def in_node(vae, images, **environment):
    """Return what NODE prints."""
    if not shutil.which("node"):
        pytest.skip("Node is not installed")
    labels = np.arange(len(images)) % max(1, len(vae.class_names))
    model = page_data.describe(vae, images, labels, [], np.arange(len(images)))
    x = images.reshape(len(images), -1) / 255
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", NODE],
        input=json.dumps({"model": model, "x": x.tolist()}),
        env=os.environ | environment,
        **{"capture_output": True, "text": True, "cwd": ROOT, "check": True},
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("sharpen", [1, 20])  # 20: the posterior needs smaller cells
def test_the_arithmetic_runs_in_node_without_a_browser(sharpen):
    vae, (images, _) = make_vae((12, 12), sharpen=sharpen), bars(6, 1)
    reference = Reference(vae)
    z_mean, z_log_sigma = reference.encode(images)
    found = in_node(vae, images, SOFTPLUS="given")
    rows = np.array(found["rows"])
    expected = [np.diag(reference.reconstruction(images, z_mean))]
    expected += [gaussian_kl(z_mean, z_log_sigma), np.ones(6)]
    expected = np.column_stack([z_mean, z_log_sigma, *expected])
    np.testing.assert_allclose(rows[:, :7], expected, atol=1e-6)
    truth = reference.negative_log_p(images, side=500)
    np.testing.assert_allclose(rows[:, 7], truth, atol=0.1)
    computed = np.array(in_node(vae, images)["rows"])  # Σ softplus(logits), too
    np.testing.assert_allclose(computed[:, 7], rows[:, 7], atol=1e-3)
    halves = np.uint16([0x3555, 0x8001, 0xC000]).view("float16").astype(float)
    np.testing.assert_array_equal(found["halves"], halves)


@pytest.mark.parametrize("gated", [False, True])
def test_a_label_given_in_node(gated):
    vae, (images, _) = make_vae((12, 12), classes="abc", gated=gated), bars(6, 1)
    label, more = (2, {"SOFTPLUS": "given"}) if gated else (1, {})
    reference = Reference(vae, label)
    z_mean, z_log_sigma = reference.encode(images)
    rows = np.array(in_node(vae, images, LABEL=str(label), **more)["rows"])
    expected = np.diag(reference.reconstruction(images, z_mean))
    expected = np.column_stack([z_mean, z_log_sigma, expected])
    np.testing.assert_allclose(rows[:, :5], expected, atol=1e-5)
    truth = reference.negative_log_p(images, side=500)
    np.testing.assert_allclose(rows[:, 7], truth, atol=0.1)


def test_the_best_ellipse_is_as_good_as_scipys():
    vae, (images, _) = make_vae((12, 12), sharpen=4), bars(4, 1)
    reference = Reference(vae)
    z_mean, z_log_sigma = reference.encode(images)
    for i, row in enumerate(in_node(vae, images)["rows"]):
        of = functools.partial(reference.bound, images[i : i + 1])
        own, found = np.array([*z_mean[i], *z_log_sigma[i]]), np.array(row[8:12])
        assert of(found) <= of(own)
        best = min(optimize.minimize(of, start).fun for start in (own, found))
        assert of(found) == pytest.approx(best, abs=0.1)


def test_the_clouds_against_the_prior():
    """A mixture of Gaussians, by numerical integration."""
    vae, (images, _) = make_vae((12, 12)), bars(60, 1)
    layer = vae.encoder.get_layer("z_mean")
    layer.set_weights([weight / 2.5 for weight in layer.get_weights()])
    z_mean, z_log_sigma = vae.encode(images)
    found = in_node(vae, images)["clouds"]
    axis = np.linspace(-8, 8, 301)
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 1, 2)
    sigma = np.exp(z_log_sigma)
    density = np.exp(-np.square((z - z_mean) / sigma).sum(axis=-1) / 2)
    density /= 2 * np.pi * sigma.prod(axis=-1)
    mixture, area = density.mean(axis=1), (axis[1] - axis[0]) ** 2
    beyond = mixture[np.linalg.norm(z[:, 0], axis=1) > 2].sum() * area
    entropies = stats.norm.entropy(scale=sigma).sum(axis=1)
    information = area * special.entr(mixture).sum() - entropies.mean()
    assert 0.05 < beyond < 0.95
    assert found["beyond"] == pytest.approx(beyond, abs=0.08)
    assert found["information"] == pytest.approx(information, abs=0.5)
    kl = gaussian_kl(z_mean, z_log_sigma).mean()
    assert found["kl"] == pytest.approx(kl, rel=1e-5)


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
    found = np.array(in_node(vae, images)["rows"])
    off = np.abs(found[:, :2] - z_mean) / np.exp(z_log_sigma)
    assert max(off.max(), np.abs(found[:, 2:4] - z_log_sigma).max()) < 0.05


def test_quick_picks_are_what_they_are_called():
    vae, (images, _) = make_vae((12, 12), sharpen=4), bars(40, 1)
    reference = Reference(vae)
    z_mean, z_log_sigma = reference.encode(images)
    axis = np.linspace(-8, 8, 200)
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    cost = reference.reconstruction(images, z) + np.square(z).sum(axis=1) / 2
    here = reference.reconstruction(images, z_mean).diagonal()
    lost = here + np.square(z_mean).sum(axis=1) / 2 - cost.min(axis=1)
    away = np.linalg.norm(z - z_mean[:, None], axis=-1)
    islands = special.softmax(-cost, axis=1) * (away > 2)
    bounds = [
        reference.bound(images[i : i + 1], np.r_[z_mean[i], z_log_sigma[i]])
        for i in range(40)
    ]
    gap = bounds - reference.negative_log_p(images)
    right, island, *wrong = page_grid.quick_picks(vae, images)
    assert len({right, island, *wrong}) == 4
    assert gap[right] <= np.quantile(gap, 0.25)
    assert islands.sum(axis=1)[island] > 0.1
    assert lost[wrong].min() >= np.quantile(lost, 0.8)
    line = make_vae((12, 12), latent_dim=3)
    assert page_grid.quick_picks(line, images) == [0, 1, 2, 3]


def test_the_cells_of_a_gated_model():
    vae, (images, _) = make_vae((12, 12), gated=True), bars(5, 1)
    grid = page_grid.Grid(vae, 3.0)
    expected = Reference(vae).reconstruction(images, grid.z)
    np.testing.assert_allclose(grid.costs(images), expected, rtol=2e-3)


def test_weights_that_16_bits_would_spoil_are_sent_with_32():
    vae, (images, _) = make_vae((12, 12)), bars(50, 1)
    z_mean, z_log_sigma, logits = (
        *(vae.encoder.get_layer(name) for name in ("z_mean", "z_log_sigma")),
        vae.decoder.get_layer("logits"),
    )
    assert page_data.bits_needed(vae, images, None) == 16
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
            assert page_data.bits_needed(vae, images, None) == 32
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
    says = "needs other images or labels"
    fails("extras.explore", "--weights", plane, binary, says=says)
    gelu = save("gelu", activation="gelu")  # as of a learner who added it to Config
    fails("extras.explore", "--weights", gelu, says="lacks the activation gelu")
    with pytest.raises(UserError, match="dense layers"):
        x = keras.Input([4])
        page_data.dense_layers(keras.Model(x, layers.LayerNormalization()(x)))


def test_python_and_the_page_know_the_same_activations():
    source = (explore.PAGE / "vae.js").read_text("utf-8")
    table = re.search(r"const ACTIVATIONS = \{(.+?)\n\}", source, re.DOTALL)[1]
    names = re.findall(r"^  (\w+)[:,]", table, re.MULTILINE)
    assert sorted(names) == sorted(ACTIVATIONS)
    assert sorted(names) == sorted(page_data.ACTIVATIONS)


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
