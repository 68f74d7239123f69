"""The label, given to both networks, with --conditional.

Kingma et al. 2014, Semi-Supervised Learning with Deep Generative Models,
arXiv:1406.5298, model M2, for images that all have a label. z need not say what the
label says, and the loss bounds −log p(x|y), where y is the label.
"""

from collections.abc import Sequence

import numpy as np

from support.backend import Inputs, Tensor, keras, layers, ops
from support.parts import Labels


def names(class_names: Sequence[str], config) -> list[str]:
    """Return the classes whose labels a VAE is given: none without --conditional."""
    if config.conditional and not class_names:
        raise ValueError("a conditional VAE needs class_names")
    return list(class_names) if config.conditional else []


def inputs(images: Tensor, class_names: list[str]) -> tuple[Tensor | None, Inputs]:
    """Return a Keras input for class numbers, and the inputs of the whole VAE.

    With no classes, return None and `images`.
    """
    if not class_names:
        return None, images
    labels = keras.Input([], dtype="int32", name="labels")
    return labels, {"images": images, "labels": labels}


def append_label(h: Tensor, inputs: Tensor, classes: int) -> tuple[Tensor, Inputs]:
    """Append a one-hot label to what a network computes with.

    h: (n, k), computed from `inputs`. Return (n, k + classes), and the inputs of the
    network, with the label. With no classes, return h and inputs as they are.
    """
    if not classes:
        return h, inputs
    label = keras.Input([classes], name="label")
    return layers.Concatenate()([h, label]), [inputs, label]


def with_label(x: Tensor, labels: Labels, class_names: list[str]) -> Inputs:
    """Return x, or z, as a network takes it: with labels, (n,), one-hot.

    With no classes, return it as it is. Raises ValueError if labels are missing.
    """
    if not class_names:
        return x
    if labels is None:
        raise ValueError("a conditional VAE needs labels")
    if isinstance(x, np.ndarray):  # which Keras does not take beside a tensor
        x = ops.convert_to_tensor(x)
    return [x, ops.one_hot(labels, len(class_names))]
