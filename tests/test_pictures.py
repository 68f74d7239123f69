"""support/pictures.py: colours."""

import matplotlib.colors
import numpy as np
import pytest

from support.pictures import class_colours

# What somebody sees who lacks one kind of cone, in linear RGB: Machado, Oliveira &
# Fernandes 2009, severity 1.
SEEN_BY = {
    "all cones": np.eye(3),
    "protanopes": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopes": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopes": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(linear):
    """CIE L*a*b* of linear sRGB, white being D65 (CIE 15:2004, IEC 61966-2-1)."""
    xyz = np.clip(linear, 0, 1) @ np.transpose(
        [
            [0.4124, 0.3576, 0.1805],
            [0.2126, 0.7152, 0.0722],
            [0.0193, 0.1192, 0.9505],
        ]
    )
    x, y, z = np.cbrt(xyz / [0.9505, 1, 1.089]).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("who", SEEN_BY)
def test_ten_classes_are_told_apart_by_all(who):
    colours = class_colours(10)[:, :3]
    linear = np.where(
        colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4
    )
    seen = lab(linear @ np.transpose(SEEN_BY[who]))
    distances = np.linalg.norm(seen[:, None] - seen, axis=-1)
    # 2.3 is just noticeable; of matplotlib's own, tab10, protanopes see 4.6.
    assert distances[np.triu_indices(10, 1)].min() > 12
    if who == "all cones":
        lightness = np.sort(seen[:, 0])
        assert np.diff(lightness).min() > 4
        assert lightness[0] > 35 and lightness[-1] < 90  # on white and on black


def test_many_classes_have_as_many_colours():
    for classes in (1, 10, 11, 60):
        colours = class_colours(classes)
        assert colours.shape == (max(10, classes), 4)
        names = {matplotlib.colors.to_hex(colour) for colour in colours}
        assert len(names) == len(colours)
