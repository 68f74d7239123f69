"""Gates, with --gated: sigmoids decide how much of each hidden unit passes.

Van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders,
arXiv:1606.05328, equation 2.
"""

from collections.abc import Callable

from support.backend import Tensor, keras, layers


def gate(
    values: Tensor,
    inputs: Tensor,
    config,
    initializer: Callable = keras.initializers.GlorotUniform,
) -> Tensor:
    """Return the outputs of a dense layer, (n, units), times gates of the same inputs.

    initializer: creates that of the gates' kernel. Without --gated, return `values`
    unchanged.
    """
    if not config.gated:
        return values
    units = values.shape[1]
    gates = layers.Dense(units, "sigmoid", kernel_initializer=initializer())
    return values * gates(inputs)
