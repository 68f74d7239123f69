"""Sort emoji into a folder that vae_mnist.py --data reads, a subfolder per category.

    npm pack emoji-datasource-twitter && tar xzf emoji-datasource-twitter-*.tgz
    python docs/emoji.py package emoji
    python vae_mnist.py --data emoji --image-size 32 --color

The pictures are Twemoji, © Twitter, Inc. and other contributors, CC BY 4.0.
"""

import json
import pathlib
import shutil
import sys


def main(package: str, folder: str) -> None:
    package = pathlib.Path(package)
    for emoji in json.loads((package / "emoji.json").read_text()):
        if emoji["has_img_twitter"] and emoji["category"] != "Component":
            target = pathlib.Path(folder, emoji["category"])
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(package / "img/twitter/64" / emoji["image"], target)


if __name__ == "__main__":
    main(*sys.argv[1:])
