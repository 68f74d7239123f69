"""Write the encoder and the decoder to files that work without this project.

    python -m extras.export                    for Keras
    python -m extras.export --format onnx      for ONNX Runtime, in many languages
    python -m extras.export --format litert    for LiteRT (TensorFlow Lite), on phones

A third file, MODEL.md, says what goes in and what comes out, with an example.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from support import cli
from support.errors import UserError
from support.trained import WeightsFile


@cli.options(__doc__)
@dataclass
class Options:
    weights: WeightsFile = cli.WEIGHTS  # the weights file
    format: Literal["keras", "onnx", "litert"] = "keras"  # of the two files
    output: cli.NewFolder = "exported"  # the folder for the files

    def __post_init__(self) -> None:
        """Raise UserError if a package is missing."""
        if self.format == "onnx" and not find_spec("tf2onnx"):
            raise UserError("--format onnx needs: python -m pip install tf2onnx")


import contextlib
import os
import pathlib

from support import files, weights
from support.backend import BACKEND, keras, layers, ops, quiet, to_pixels
from support.errors import explain, printable
from vae_mnist import VAE, load_vae

NETWORKS = {"dense": "Dense layers", "conv": "Convolutions, then dense layers"}
ENDINGS = {"keras": ".keras", "onnx": ".onnx", "litert": ".tflite"}

# How to load the two files: Python, by format.
LOAD = {
    "keras": """\
import keras

images = np.zeros((5, {shape}), "uint8")  # yours{labels}
encoder = keras.saving.load_model("encoder.keras")
decoder = keras.saving.load_model("decoder.keras")
code = encoder.predict({images})
pixels = decoder.predict({z})["pixels"]
""",
    "onnx": """\
import onnxruntime  # python -m pip install onnxruntime

images = np.zeros((5, {shape}), "uint8")  # yours{labels}
encoder = onnxruntime.InferenceSession("encoder.onnx")
decoder = onnxruntime.InferenceSession("decoder.onnx")
names = "z_mean", "z_log_sigma"
code = dict(zip(names, encoder.run(names, {"images": images{more}})))
[pixels] = decoder.run(["pixels"], {"z": code["z_mean"]{more}})
""",
    "litert": """\
from ai_edge_litert.interpreter import Interpreter  # pip install ai-edge-litert

images = np.zeros((5, {shape}), "uint8")  # yours{labels}
encoder = Interpreter("encoder.tflite").get_signature_runner()
decoder = Interpreter("decoder.tflite").get_signature_runner()
code = encoder(images=images{more})
pixels = decoder(z=code["z_mean"]{more})["pixels"]
""",
}

# What stands in place of the names in braces: without labels, and with them.
WITHOUT = {"labels": "", "images": "images", "z": 'code["z_mean"]', "more": ""}
WITH = {
    "labels": '\nlabels = np.zeros(5, "int32")  # numbers of classes',
    "images": "[images, labels]",
    "z": '[code["z_mean"], labels]',
}
MORE = {"keras": "", "onnx": ', "labels": labels', "litert": ", labels=labels"}

CARD = """\
# A variational autoencoder of {data}

`encoder{ending}`: from an image to N(z_mean, σ²), with σ = exp(z_log_sigma).

- in: `images`, uint8, (n, {shape}), {black}
- out: `z_mean` and `z_log_sigma`, float32, (n, {latent_dim})

`decoder{ending}`: from z to an image. For random images, draw z from N(0, I).

- in: `z`, float32, (n, {latent_dim})
- out: `pixels`, float32, (n, {shape}), in [0, 1]
{classes}
n is any number. Images come from pictures by Pillow's
`ImageOps.fit(picture.convert("{mode}"), ({width}, {height}))`, after
`ImageOps.exif_transpose` for photos; transparent pixels become {background}.{bits}

```python
import numpy as np
{load}```

## The model

Kingma & Welling 2013, arXiv:1312.6114. {network} of {hidden} units
({activation}{gated}), a latent space of {latent_dim} dimensions, a Bernoulli decoder.
Loss: reconstruction + {beta:g} · KL.

## Training

Data: {data}. {done} of {epochs} epochs, batches of {batch_size}, seed {seed}.{special}

## Held-out loss

{loss}

## Limits

It knows images like those it was trained on. It redraws any other as the nearest it can
draw, and a low loss does not prove that an image is of their kind: plain, dark images
often have a low one.
"""


def frozen(layer: keras.Layer) -> keras.Layer:
    """Return the layer itself or, as ONNX lacks Normalization, two that do the same."""
    if not isinstance(layer, layers.Normalization):
        return layer
    mean, variance = layer.get_weights()[:2]
    sigma = max(variance.item() ** 0.5, keras.backend.epsilon())  # as in Keras
    # Subtract first: rounding would swamp images of little contrast.
    steps = layers.Rescaling(1, -mean.item()), layers.Rescaling(1 / sigma)
    return keras.Sequential(steps, name=layer.name)


def plain_models(vae: VAE) -> dict[str, keras.Model]:
    """Return the encoder, of uint8 images, and the decoder, to pixels in [0, 1].

    They consist of Keras' own layers and share their weights with `vae`.
    """
    images = keras.Input(vae.image_shape, dtype="uint8", name="images")
    labels = keras.Input([], dtype="int32", name="labels")
    more = [labels] if vae.class_names else []
    encoder = keras.models.clone_model(vae.encoder, clone_function=frozen)
    z_mean, z_log_sigma = encoder(vae.with_label(to_pixels(images), labels))
    z = keras.Input([vae.config.latent_dim], name="z")
    logits = vae.decoder(vae.with_label(z, labels))
    pixels = layers.Reshape(vae.image_shape)(ops.sigmoid(logits))
    code = {"z_mean": z_mean, "z_log_sigma": z_log_sigma}
    return {
        "encoder": keras.Model([images, *more], code),
        "decoder": keras.Model([z, *more], {"pixels": pixels}),
    }


def quote(text: str) -> str:
    """Return text as Markdown shows it, whatever it contains."""
    return "`" + text.replace("`", "'") + "`"


def describe(vae: VAE, settings: dict, history: weights.History, form: str) -> str:
    """Return a model card for files of a format.

    Mitchell et al. 2019, Model Cards for Model Reporting, arXiv:1810.03993.
    """
    config, bits = vae.config, settings.get("bits")
    shape = ", ".join(map(str, vae.image_shape))
    loss = "It was not trained for a whole epoch."
    if history:
        names = "val_loss", "val_reconstruction", "val_kl"
        total, reconstruction, kl = (history[-1][name] for name in names)
        loss = (
            f"On held-out images, in nats per image: loss {total:.2f}, reconstruction"
            f" {reconstruction:.2f}, KL {kl:.2f}."
        )
    special = ""
    if config.only:
        names = ", ".join(map(printable, config.only))
        special += f" Trained and evaluated on these classes only: {quote(names)}."
    if config.binarize:
        special += " For training and the loss, pixels were sampled as black or white."
    if config.noise:
        special += f" For training and the loss, it saw noise of σ = {config.noise:g}."
    classes = [f"{number} is {quote(n)}" for number, n in enumerate(vae.class_names)]
    labels = ""
    if classes:
        labels = "\nBoth also take `labels`, int32, (n,): " + ", ".join(classes) + ".\n"
    texts = WITH | {"more": MORE[form]} if classes else WITHOUT
    load = LOAD[form]
    for name, text in (texts | {"shape": shape}).items():
        load = load.replace("{" + name + "}", text)
    facts = config.stored() | {
        "data": quote(printable(os.path.basename(settings["config"]["data"]))),
        "network": NETWORKS[config.network],
        "hidden": ", ".join(map(str, config.hidden)),
        "gated": ", times a sigmoid gate" if config.gated else "",
        "ending": ENDINGS[form],
        "shape": shape,
        "mode": "RGB" if len(vae.image_shape) == 3 else "L",
        "height": vae.image_shape[0],
        "width": vae.image_shape[1],
        "black": "RGB" if len(vae.image_shape) == 3 else "0 is black, 255 is white",
        "bits": f" Scale pixels of {bits} bits to 0 … 255." if bits else "",
        "load": load,
        "classes": labels,
        "done": len(history),
        "special": special,
        "loss": loss,
    }
    return CARD.format(**facts)


def main(options: Options) -> None:
    form = options.format
    if form != "keras" and BACKEND != "tensorflow":
        raise UserError(f"--format {form}: set KERAS_BACKEND=tensorflow")
    vae, settings = load_vae(options.weights)
    _, history = weights.read(options.weights)
    folder = pathlib.Path(options.output)
    with explain(f"cannot write {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    models = plain_models(vae)
    paths = [folder / (name + ENDINGS[form]) for name in models]
    card = folder / "MODEL.md"
    with contextlib.ExitStack() as stack:  # replaces nothing until all are complete
        *new, new_card = (
            stack.enter_context(files.replacing(path)) for path in [*paths, card]
        )
        for path, model in zip(new, models.values(), strict=True):
            if form == "keras":
                model.save(path)
            else:
                # Keras exports only models that have been called.
                model([ops.zeros((1, *x.shape[1:]), x.dtype) for x in model.inputs])
                with quiet():
                    model.export(path, format=form, verbose=False)
        new_card.write_text(describe(vae, settings, history, form), encoding="utf-8")
    for path in paths:
        print(f"wrote {path}")
    print(f"wrote {card}, which says how to load them")


if __name__ == "__main__":
    cli.run(main, Options)
