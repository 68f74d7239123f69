"""The label, given to both networks, with --conditional.

Kingma et al. 2014, Semi-Supervised Learning with Deep Generative Models,
arXiv:1406.5298, model M2, for images that all have a label. z need not say what the
label says, and the loss bounds −log p(x|y), where y is the label.
"""

import numpy as np

from support.backend import Inputs, Tensor, keras, layers, ops
from support.parts import Labels


def append_label(h: Tensor, inputs: Tensor, classes: int) -> tuple[Tensor, Inputs]:
    """Append a one-hot label to what a network computes with.

    h: (n, k), computed from `inputs`. Return (n, k + classes), and the inputs of the
    network, with the label. With no classes, return h and inputs as they are.
    """
    if not classes:
        return h, inputs
    label = keras.Input([classes], name="label")
    return layers.Concatenate()([h, label]), [inputs, label]


def with_label(x: Tensor, labels: Labels, classes: int) -> Inputs:
    """Return x, or z, as a network takes it: with labels, (n,), one-hot.

    With no classes, return it as it is. Raises ValueError if labels are missing.
    """
    if not classes:
        return x
    if labels is None:
        raise ValueError("a conditional VAE needs labels")
    if isinstance(x, np.ndarray):  # which Keras does not take beside a tensor
        x = ops.convert_to_tensor(x)
    return [x, ops.one_hot(labels, classes)]
