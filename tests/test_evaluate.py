"""extras/evaluate.py: bounds and likelihoods against cases where log p(x) is known."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from conftest import bars, bernoulli_loss, gaussian_kl, save_untrained

from extras import evaluate
from support import data
from support.backend import set_seed
from vae_mnist import VAE, Config

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 2, (400, 30)).astype("float32")


def random_vae(scale):
    """A VAE whose last kernel is N(0, scale²), and its decoder in NumPy."""
    set_seed(3)
    vae = VAE((6, 5), Config(hidden=(16,)))
    rng = np.random.default_rng(3)  # its own: the others depend on the tests before
    kernel, bias = (rng.standard_normal(s) for s in ((16, 30), 30))
    vae.decoder.layers[-1].set_weights([scale * kernel, bias])
    hidden = [np.float64(w) for w in vae.decoder.layers[1].get_weights()]

    def decode(z):
        return np.tanh(z @ hidden[0] + hidden[1]) @ (scale * kernel) + bias

    return vae, decode


def losses(vae, z_mean, z_log_sigma, samples):
    parameters = (np.float32(p) for p in (z_mean, z_log_sigma))
    pixels = PIXELS[: len(z_mean)]
    return evaluate.sampled_losses(vae, pixels, *parameters, samples, seed=0)


def test_where_the_decoder_ignores_z_everything_is_known():
    vae, decode = random_vae(scale=0)
    pixels = PIXELS[:100]
    exact = bernoulli_loss(pixels, decode(np.zeros((1, 2))))
    # p(x|z) = p(x), so q(z|x) is off by KL(q ‖ prior), and so is the bound.
    mean, sigma = RNG.normal(0, 1, (100, 2)), RNG.uniform(0.6, 1.2, (100, 2))
    kl = gaussian_kl(mean, np.log(sigma))
    averages = []
    for samples in (1, 10, 100, 5_000):
        reconstruction, estimate = losses(vae, mean, np.log(sigma), samples)
        np.testing.assert_allclose(reconstruction, exact, rtol=1e-4)
        averages.append((estimate - exact).mean())
    assert kl.mean() + 0.5 > averages[0] > averages[1] > averages[2] > averages[3]
    assert averages[1] < kl.mean()
    assert abs(averages[3]) < 0.1
    assert evaluate.quadrature(vae, pixels, 6.0, 0.1) == pytest.approx(exact, rel=1e-4)


def test_quadrature_equals_brute_force_over_the_prior():
    vae, decode = random_vae(scale=0.7)
    z = RNG.standard_normal((50_000, 2))  # z ~ N(0, I)
    log_p = -bernoulli_loss(PIXELS[:4, None], decode(z))
    weights = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    expected = -(np.log(weights.mean(axis=1)) + log_p.max(axis=1))
    errors = weights.std(axis=1) / weights.mean(axis=1) / len(z) ** 0.5
    exact = evaluate.exact_losses(vae, PIXELS[:4], z[:9])
    assert (np.abs(exact - expected) < 5 * errors + 1e-3).all()


@pytest.mark.parametrize(
    ("z_mean", "asked"),
    [(np.full((4, 2), 1e9), 0), (np.full((4, 2), np.inf), 0), (np.zeros((4, 2)), 4)],
)
def test_the_quadrature_has_an_end(monkeypatch, z_mean, asked):
    steps = []

    def never_the_same(vae, pixels, reach, step):
        steps.append(step)
        return np.full(len(pixels), step)

    monkeypatch.setattr(evaluate, "TOLERANCE", 0)
    monkeypatch.setattr(evaluate, "quadrature", never_the_same)
    assert evaluate.exact_losses(None, PIXELS[:4], z_mean) is None
    assert len(steps) == asked


def summary_of(vae, dataset, samples=3, seed=0):
    images = evaluate.evaluate_images(vae, dataset.x_test, samples, seed)
    return evaluate.summarize(vae, dataset, images, samples)


def test_the_gap_is_the_divergence_from_the_true_posterior():
    """KL(q(z|x) ‖ p(z|x)) from its definition, on a grid, in float64."""
    vae, decode = random_vae(scale=0.7)
    images = np.uint8(255 * PIXELS[:5].reshape(5, 6, 5))
    found = evaluate.evaluate_images(vae, images, samples=5000)
    axis = np.arange(-7, 7, 0.05)
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    losses = bernoulli_loss(PIXELS[:5, None], decode(z))
    log_joint = -losses - (z**2).sum(axis=1) / 2
    posterior = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    distances = (z - found["z_mean"][:, None]) / found["sigma"][:, None]
    q = np.exp(-(distances**2).sum(axis=-1) / 2)
    q /= q.sum(axis=1, keepdims=True)
    ratio = np.log(np.maximum(q, 1e-300) / np.maximum(posterior, 1e-300))
    # The script draws its reconstruction losses: five standard errors of their mean.
    variance = (q * losses**2).sum(axis=1) - (q * losses).sum(axis=1) ** 2
    error = np.abs(found["gap"] - (q * ratio).sum(axis=1))
    assert (error < 5 * np.sqrt(variance / 5000) + 0.01).all()
    assert found["gap"].min() > 0.2


def untrained(latent_dim, **config):
    images, labels = bars(60, 0)
    dataset = data.Dataset(images, labels, images, labels, ["up", "=1", "b, c"], "bars")
    return VAE((12, 12), Config((8,), latent_dim, **config)), dataset


def test_collapsed_dimensions_are_counted_and_named(capsys):
    vae, dataset = untrained(3)
    kernel, bias = vae.encoder.get_layer("z_mean").get_weights()
    kernel[:, 1:] = 0
    kernel[:, 0] *= 10
    vae.encoder.get_layer("z_mean").set_weights([kernel, bias])
    summary = summary_of(vae, dataset)
    assert summary["active_dimensions"] == 1
    assert summary["quadrature"] is summary["gap"] is None
    evaluate.print_report(summary)
    text = capsys.readouterr().out
    assert "1 of 3" in text and "the posterior has collapsed" in text
    assert "gap" not in text and "quadrature" not in text


def test_a_single_image_cannot_tell_which_dimensions_are_active(capsys):
    vae, dataset = untrained(3)
    one = dataclasses.replace(dataset, x_test=dataset.x_test[:1], y_test=None)
    summary = summary_of(vae, one)
    assert summary["active_dimensions"] is None
    evaluate.print_report(summary)
    text = capsys.readouterr().out
    assert text.startswith("1 held-out image")
    assert "active" not in text and "collapsed" not in text


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ({"beta": 4.0}, "the bound is that of β = 1"),
        ({"noise": 0.5}, "training encoded noisy images"),
        ({}, "gray pixels"),
    ],
)
def test_what_a_reader_must_know(capsys, config, note):
    vae, dataset = untrained(3, **config)
    if config:
        dataset.x_test[:] = 255 * (dataset.x_test > 99)
    dataset = dataclasses.replace(dataset, held_out=False)
    evaluate.print_report(summary_of(vae, dataset))
    text = capsys.readouterr().out
    assert text.startswith("60 images ")
    assert text.count("note: ") == 1 and f"note: {note}" in text


def test_the_loss_of_training_has_its_own_beta(capsys):
    vae, dataset = untrained(3, beta=4.0)
    summary = summary_of(vae, dataset)
    reconstruction, kl = summary["reconstruction"][0], summary["kl"][0]
    assert summary["negative_bound"][0] == pytest.approx(reconstruction + kl)
    assert summary["loss"][0] == pytest.approx(reconstruction + 4 * kl)
    assert sum(summary["kl_per_dimension"]) == pytest.approx(kl)
    evaluate.print_report(summary)
    text = capsys.readouterr().out
    assert f"training loss, β = 4 {reconstruction + 4 * kl:17.2f}" in text


def test_neighbors_vote():
    vae, dataset = untrained(2)
    z_mean, _ = vae.encode(dataset.x_test)
    distances = np.linalg.norm(z_mean[:, None] - z_mean[None], axis=-1)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :5]
    votes = [np.bincount(row).argmax() for row in dataset.y_train[nearest]]
    vote = evaluate.neighbors_vote(vae, dataset, z_mean)
    assert vote == pytest.approx((votes == dataset.y_test).mean(), abs=0.04)
    dataset = dataclasses.replace(dataset, y_train=dataset.y_train[:4])  # too few
    assert evaluate.neighbors_vote(vae, dataset, z_mean) is None


def test_a_line_per_image_the_highest_loss_first(tmp_path):
    vae, dataset = untrained(3, beta=2.0)
    images = evaluate.evaluate_images(vae, dataset.x_test, samples=4)
    evaluate.write_csv(tmp_path / "a.csv", dataset, images)
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    places = [int(row["index"]) for row in rows]
    assert sorted(places) == list(range(60))
    labels = [row.pop("label") for row in rows]
    columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    assert (np.diff(columns["loss"]) <= 0).all()
    assert labels == [dataset.class_names[label] for label in dataset.y_test[places]]
    z_mean, z_log_sigma = vae.encode(dataset.x_test[places])
    dims = range(3)
    found = np.stack([columns[f"z_mean_{i}"] for i in dims], axis=1)
    np.testing.assert_allclose(found, z_mean, atol=6e-5)
    found = np.stack([columns[f"sigma_{i}"] for i in dims], axis=1)
    np.testing.assert_allclose(found, np.exp(z_log_sigma), atol=6e-5)
    kl = gaussian_kl(z_mean, z_log_sigma)
    np.testing.assert_allclose(columns["kl"], kl, atol=1e-4)
    loss = columns["reconstruction"] + 2 * columns["kl"]
    np.testing.assert_allclose(columns["loss"], loss, atol=3e-4)
    dataset = dataclasses.replace(dataset, y_test=None)
    evaluate.write_csv(tmp_path / "b.csv", dataset, images)
    assert (tmp_path / "b.csv").read_text().splitlines()[1].startswith(f"{places[0]},,")


def test_prints_what_it_writes(weights, succeeds, here):
    options = ["--samples", 20, "--json", "report.json", "--csv", "images.csv"]
    stdout = succeeds("extras.evaluate", "--weights", weights, *options)
    report = json.loads((here / "report.json").read_text())
    assert (report["images"], report["samples"], report["held_out"]) == (60, 20, True)
    for name in ("negative_bound", "importance_weighted", "quadrature", "gap"):
        assert f"{report[name][0]:.2f} ± {report[name][1]:.2f}" in stdout
    assert f"{report['neighbors_vote']:.1%}" in stdout
    assert "60 held-out images" in stdout and "training l" not in stdout
    losses = np.loadtxt("images.csv", delimiter=",", skiprows=1)[:, -1]
    assert len(losses) == 60
    mean, error = losses.mean(), losses.std() / 60**0.5
    assert report["negative_bound"] == pytest.approx([mean, error], rel=1e-4)
    assert {path.name for path in here.iterdir()} == {"report.json", "images.csv"}


@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_what_cannot_be_written_is_found_before_the_work(fails, ending):
    """The weights are of no use: a script that tried would say so."""
    vae, _ = untrained(2)
    save_untrained(vae, "vae_mnist.weights.h5", "", config={"no": 1})
    option = ending.replace(".", "--")
    fails("extras.evaluate", option, f"no/a{ending}", says=f"cannot write no/a{ending}")
    for path in "vae_mnist.weights.h5", "a.txt":
        fails("extras.evaluate", option, path, says=f"must end in {ending}")
