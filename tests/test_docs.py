"""README.md, CONTRIBUTING.md and docs/: links, commands and the recipe work."""

import importlib.util
import re
import shlex

import numpy as np
import pytest
from conftest import ROOT, no_xla, save_untrained

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", text)
    for path, part in links:
        target = page.parent / path if path else page
        assert target.exists(), path
        if part and target.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M)
            assert part in [
                re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
                for heading in headings
            ]


def test_the_lesson_names_functions_that_exist():
    source = (ROOT / "vae_mnist.py").read_text(encoding="utf-8")
    lesson = (ROOT / "docs" / "lesson.md").read_text(encoding="utf-8")
    names = re.findall(r"\[`(\w+)`\]\(\.\./vae_mnist\.py\)", lesson)
    assert len(set(names)) > 5
    for name in names:
        assert re.search(rf"(def|class) {name}\b", source), name


def test_the_layout_names_every_module():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in ROOT.glob("support/[a-z]*.py"):
        assert f"  {path.name} " in text or path.name == "mnist_sample.py", path
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in ROOT.glob("extras/[a-z]*.py"):
        assert f"| `extras.{path.stem}` |" in readme or path.stem == "likelihood", path


def commands():
    """Yield the commands of all pages that run a script, without comments."""
    script = r"python ([a-z_]+\.py[^\n`&]*|-m extras\.\w+[^\n`&]*)"
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```sh$(.*?)^```$", text, re.M | re.S):
            yield from re.findall(script, block)
        yield from re.findall(f"`{script}`", " ".join(text.split()))


@pytest.mark.parametrize("command", sorted({" ".join(c.split()) for c in commands()}))
def test_every_command_has_options_that_its_script_knows(run_here, command):
    script, *words = shlex.split(command.removeprefix("-m "), comments=True)
    result = run_here(script, "--help")
    assert result.status == 0
    known = set(re.findall(r"--[\w-]+", result.stdout))
    assert {word for word in words if word.startswith("--")} <= known


def apply_recipe(folder):
    """Import a copy of vae_mnist.py to which CONTRIBUTING.md's recipe is applied."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = re.search(r"^```python$(.*?)^```$", page, re.M | re.S)[1]
    source = (ROOT / "vae_mnist.py").read_text(encoding="utf-8")
    parts = re.findall(r"^    # Instead of (.+):\n((?:.+\n)+)", block, re.M)
    assert len(parts) == 2
    for old, new in parts:
        assert source.count(f"    {old}\n") == 1
        source = source.replace(f"    {old}\n", new)
    (folder / "convolutional.py").write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("c", folder / "convolutional.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)], ids=["gray", "color"])
def test_the_convolutional_vae_trains(tmp_path, shape):
    lesson = apply_recipe(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (20, *shape)).astype("uint8")
    config = lesson.Config(hidden=(8,), image_size=8, epochs=1, batch_size=10)
    vae = lesson.VAE(shape, config)
    kinds = [type(layer).__name__ for layer in vae.encoder.layers]
    assert kinds.count("Conv2D") == 2
    vae.adapt(images)
    # With the scale of all pixels at 0, the decoder draws the mean image.
    scale, bias = vae.decoder.get_layer("logits").get_weights()
    assert (scale == 1).all()
    vae.decoder.get_layer("logits").set_weights([0 * scale, bias])
    expected = (images.sum(axis=0) / 255 + 1) / 22
    np.testing.assert_allclose(vae.decode(np.ones((1, 2)))[0], expected, rtol=1e-5)
    vae.decoder.get_layer("logits").set_weights([scale, bias])

    before = [np.array(weight) for weight in vae.trainable_weights]
    with no_xla(few_steps=True):
        lesson.compile_vae(vae, len(images))
    history = lesson.fit_vae(vae, images, images).history
    assert np.isfinite([*history.values()]).all()
    for weight, old in zip(vae.trainable_weights, before, strict=True):
        assert (np.array(weight) != old).any(), weight.path

    path = save_untrained(vae, tmp_path / "c.weights.h5", "images")
    again, _ = lesson.load_vae(path)
    z_mean, _ = vae.encode(images)
    np.testing.assert_array_equal(again.encode(images)[0], z_mean)
    np.testing.assert_array_equal(again.decode(z_mean), vae.decode(z_mean))
