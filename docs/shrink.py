"""Shrink PNGs to 256 colors and GIFs to 64, the same ones in all frames.

python docs/shrink.py docs/*.png docs/film.gif
"""

import sys

from PIL import Image, ImageSequence


def main(*paths: str) -> None:
    for path in paths:
        with Image.open(path) as image:
            frames = [f.convert("RGB") for f in ImageSequence.Iterator(image)]
            durations = [f.info.get("duration") for f in ImageSequence.Iterator(image)]
        if path.endswith(".png"):
            frames[0].quantize(256).save(path, optimize=True)
            continue
        palette = frames[-1].quantize(64, Image.Quantize.MAXCOVERAGE)
        first, *others = (f.quantize(palette=palette, dither=0) for f in frames)
        stay = {"duration": durations, "loop": 0}
        first.save(path, save_all=True, append_images=others, **stay)


if __name__ == "__main__":
    main(*sys.argv[1:])
