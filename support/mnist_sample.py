"""Draw mnist_sample.npz from Keras' mnist.npz: 500 digits of each kind.

    python support/mnist_sample.py ~/.keras/datasets/mnist.npz

400 are training images of MNIST and 100 are test images, all in random order. MNIST is
by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, CC BY-SA 3.0.
"""

import pathlib
import sys

import numpy as np


def main(path: str) -> None:
    rng = np.random.default_rng(0)
    sample = {}
    with np.load(path) as mnist:
        for part, count in ("train", 400), ("test", 100):
            labels = mnist[f"y_{part}"]
            order = rng.permutation(len(labels))
            chosen = [order[labels[order] == digit][:count] for digit in range(10)]
            chosen = rng.permutation(np.concatenate(chosen))
            sample[f"x_{part}"] = mnist[f"x_{part}"][chosen]
            sample[f"y_{part}"] = labels[chosen]
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), **sample)


if __name__ == "__main__":
    main(*sys.argv[1:])
