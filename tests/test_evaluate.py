"""evaluate.py: bounds and likelihoods against cases where log p(x) is known."""

import argparse
import json

import numpy as np
import pytest
from conftest import bars

import evaluate
import vae_mnist
from support import data
from support.backend import set_seed

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 2, (400, 30)).astype("float32")


def bernoulli_losses(pixels, logits):
    """−log p(x|z) of each image at each point, in float64, from the definition."""
    white, black = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    return -(pixels @ white.T + (1 - pixels) @ black.T)


def random_vae(scale):
    """A VAE whose last kernel is N(0, scale²), and its decoder in NumPy."""
    set_seed(3)
    vae = vae_mnist.VAE((6, 5), hidden=[16])
    kernel, bias = (RNG.standard_normal(s) for s in ((16, 30), 30))
    vae.decoder.layers[-1].set_weights([scale * kernel, bias])
    hidden = [np.float64(w) for w in vae.decoder.layers[1].get_weights()]

    def decode(z):
        return np.tanh(z @ hidden[0] + hidden[1]) @ (scale * kernel) + bias

    return vae, decode


def losses(vae, z_mean, z_log_sigma, samples):
    parameters = (np.float32(p) for p in (z_mean, z_log_sigma))
    pixels = PIXELS[: len(z_mean)]
    return evaluate.sampled_losses(vae, pixels, *parameters, samples, seed=0)


def test_where_the_decoder_ignores_z_everything_is_known(monkeypatch):
    vae, decode = random_vae(scale=0)
    pixels = PIXELS[:100]
    exact = bernoulli_losses(pixels, decode(np.zeros((1, 2))))[:, 0]
    # p(x|z) = p(x), so q(z|x) is off by KL(q ‖ prior), and so is the bound.
    mean, sigma = RNG.normal(0, 1, (100, 2)), RNG.uniform(0.6, 1.2, (100, 2))
    kl = 0.5 * (sigma**2 + mean**2 - 1 - 2 * np.log(sigma)).sum(axis=1)
    averages = []
    for samples in (1, 10, 100, 5_000):
        reconstruction, estimate = losses(vae, mean, np.log(sigma), samples)
        np.testing.assert_allclose(reconstruction, exact, rtol=1e-4)
        averages.append((estimate - exact).mean())
    assert kl.mean() + 0.5 > averages[0] > averages[1] > averages[2] > averages[3]
    assert averages[1] < kl.mean()
    assert abs(averages[3]) < 0.1
    assert evaluate.quadrature(vae, pixels, 6.0, 0.1) == pytest.approx(exact, rel=1e-4)
    # Many samples come in several rounds, and are weighed as one.
    monkeypatch.setattr(evaluate, "DECODED", 1000)
    _, estimate = losses(vae, mean[:20], np.log(sigma[:20]), 5_000)
    assert abs((estimate - exact[:20]).mean()) < 0.3


def test_one_sample_estimates_the_bound():
    vae, decode = random_vae(scale=0.5)
    mean, log_sigma = np.full((400, 2), 0.3), np.full((400, 2), -1.0)
    kl = 0.5 * (np.exp(-2.0) + 0.09 - 1 + 2) * 2
    _, one = losses(vae, mean, log_sigma, 1)  # −log w of a single draw
    reconstruction, _ = losses(vae, mean, log_sigma, 2000)
    z = 0.3 + np.exp(-1.0) * RNG.standard_normal((20_000, 2))
    expected = bernoulli_losses(PIXELS[:20], decode(z)).mean(axis=1)
    np.testing.assert_allclose(reconstruction[:20], expected, rtol=0.01)
    assert one.mean() == pytest.approx(reconstruction.mean() + kl, abs=0.5)


def test_quadrature_equals_brute_force_over_the_prior():
    vae, decode = random_vae(scale=0.7)
    z = RNG.standard_normal((200_000, 2))  # z ~ N(0, I)
    log_p = -bernoulli_losses(PIXELS[:4], decode(z))
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


def test_bound_above_estimate_above_likelihood_on_a_trained_vae(weights, npz):
    vae, settings = vae_mnist.load_vae(weights)
    dataset = data.load_again(settings, weights)
    few = evaluate.report(vae, dataset, samples=10)
    many = evaluate.report(vae, dataset, samples=2000)
    bound, exact = many["negative_bound"][0], many["quadrature"][0]
    assert bound > few["importance_weighted"][0] > many["importance_weighted"][0]
    assert abs(many["importance_weighted"][0] - exact) < 0.1
    total = many["reconstruction"][0] + many["kl"][0]
    assert bound == pytest.approx(total, rel=1e-5)
    assert sum(many["kl_per_dimension"]) == pytest.approx(many["kl"][0], rel=1e-5)


def test_standard_error():
    mean, error = evaluate.mean_and_error(np.array([1.0, 3.0, 5.0, 7.0]))
    assert (mean, error) == (4.0, pytest.approx(5**0.5 / 2))  # σ² = 5, n = 4


def untrained(latent_dim, binarize=False):
    images, labels = bars(60, 0)
    dataset = data.Dataset(images, labels, images, labels, list("012"), "bars")
    vae = vae_mnist.VAE((12, 12), [8], latent_dim, binarize=binarize)
    return vae, dataset


def test_collapsed_dimensions_are_counted_and_warned_of(capsys):
    vae, dataset = untrained(3)
    kernel, bias = vae.get_layer("z_mean").get_weights()
    kernel[:, 1:] = 0
    kernel[:, 0] *= 10
    vae.get_layer("z_mean").set_weights([kernel, bias])
    result = evaluate.report(vae, dataset, samples=2)
    assert result["active_dimensions"] == 1
    assert result["quadrature"] is None
    evaluate.print_report(result)
    text = capsys.readouterr().out
    assert "1 of 3" in text
    assert "collapsed in 2 of 3 dimensions" in text


def test_binarized_vae_is_evaluated_on_binary_pixels(capsys):
    vae, dataset = untrained(2, binarize=True)
    results = [evaluate.report(vae, dataset, 3, seed) for seed in (0, 0, 1)]
    assert all(result["binary"] for result in results)
    assert results[0] == results[1] != results[2]
    evaluate.print_report(results[0])
    assert "log-likelihood" not in capsys.readouterr().out
    vae, dataset = untrained(2)
    evaluate.print_report(evaluate.report(vae, dataset, 3))
    assert "none of this is a log-likelihood" in capsys.readouterr().out


def test_neighbours_vote():
    vae, dataset = untrained(2)
    z_mean = vae.encoder.predict(dataset.x_test, verbose=0)["z_mean"]
    distances = np.linalg.norm(z_mean[:, None] - z_mean[None], axis=-1)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :5]
    votes = np.array([np.bincount(row).argmax() for row in dataset.y_train[nearest]])
    share = (votes == dataset.y_test).mean()
    assert evaluate.neighbours_vote(vae, dataset, z_mean, 0) == pytest.approx(
        share, abs=0.04
    )


def test_fewer_labels_than_neighbours_have_no_vote():
    images, labels = bars(8, 0)
    dataset = data.Dataset(images[:4], labels[:4], images[4:], labels[4:], [], "here")
    vae = vae_mnist.VAE((12, 12), [4], latent_dim=3)
    assert evaluate.report(vae, dataset, samples=1)["neighbours_vote"] is None


def test_prints_what_it_writes(weights, run_here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--weights", weights, "--samples", 20, "--json", "report.json"]
    result = run_here("evaluate.py", *arguments)
    assert (result.status, result.stderr) == (0, "")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["images"] == 60
    assert report["samples"] == 20
    for name in ("negative_bound", "importance_weighted", "quadrature"):
        assert f"{report[name][0]:.2f} ± {report[name][1]:.2f}" in result.stdout
    assert f"{report['neighbours_vote']:.1%}" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_other_images_are_not_called_held_out(weights, run_here, npz, tmp_path):
    with np.load(npz) as arrays:
        np.savez(tmp_path / "b.npz", **{**arrays, "x_train": arrays["x_train"][::-1]})
    options = ["--weights", weights, "--samples", 1, "--json", tmp_path / "r.json"]
    for source, held_out in (npz, True), (tmp_path / "b.npz", False):
        result = run_here("evaluate.py", *options, "--data", source)
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["held_out"] == held_out == ("held-out" in result.stdout)
        assert ("note: these are other images" in result.stderr) == (not held_out)


def test_the_report_is_written_before_anything_is_said(
    weights, run_here, tmp_path, monkeypatch
):
    def closed(text):
        raise BrokenPipeError

    result = {"held_out": True, "images": 3}
    monkeypatch.setattr(vae_mnist, "load_vae", lambda path: (None, None))
    monkeypatch.setattr(data, "load_again", lambda *_: None)
    monkeypatch.setattr(evaluate, "load_vae", vae_mnist.load_vae)
    monkeypatch.setattr(evaluate, "report", lambda *_: result)
    monkeypatch.setattr("builtins.print", closed)
    args = argparse.Namespace(
        json=tmp_path / "r.json", weights="", data="", samples=1, seed=0
    )
    with pytest.raises(BrokenPipeError):
        evaluate.main(args)
    assert json.loads((tmp_path / "r.json").read_text()) == result


def test_no_folder_for_the_report_is_found_before_the_work(fails, run_here, weights):
    arguments = ["evaluate.py", "--weights", weights, "--json", "no/a.json"]
    fails(*arguments, says="folder no")
    assert run_here(*arguments).stdout == ""
