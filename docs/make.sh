#!/usr/bin/env bash
# Makes the pictures of README.md and docs/ anew, in about five minutes:
#
#     bash docs/make.sh [SOURCE of MNIST [SOURCE of Fashion-MNIST]]
#
# For draw.gif there must be Chromium and selenium. The weights stay in docs/weights.
set -euo pipefail
cd "$(dirname "$0")/.."
mnist=${1:-mnist} fashion=${2:-fashion_mnist}
mkdir -p docs/weights

train() {  # NAME, options: trains unless it is there already
    local weights=docs/weights/$1.weights.h5
    test -e "$weights" || python vae_mnist.py --weights "$weights" "${@:2}" ||
        { rm -f "$weights"; exit 1; } # of a training that was stopped
}
of() { echo "--weights docs/weights/$1.weights.h5"; }

train vae_mnist --data "$mnist" --snapshots docs/weights/moments
train deep --data "$mnist" --hidden 256 256
train beta-low --data "$mnist" --beta 0.1
train beta-high --data "$mnist" --beta 10
train denoising --data "$mnist" --latent-dim 16 --noise 0.5
train fashion --data "$fashion"

python plot_latent.py $(of vae_mnist) --output docs/latent.png
python generate_grid.py $(of vae_mnist) --output docs/grid.png
python plot_training.py $(of vae_mnist) --output docs/training.png
python plot_training.py --snapshots docs/weights/moments --film docs/film.gif
python reconstruct.py $(of denoising) --output docs/denoise.png
python generate_grid.py $(of fashion) --output docs/fashion.png
python docs/planes.py docs/depth.png \
    "one hidden layer of 256=docs/weights/vae_mnist.weights.h5" \
    "two of them: --hidden 256 256=docs/weights/deep.weights.h5"
python docs/planes.py docs/beta.png \
    "β = 0.1=docs/weights/beta-low.weights.h5" \
    "β = 1=docs/weights/vae_mnist.weights.h5" \
    "β = 10=docs/weights/beta-high.weights.h5"
python explore.py $(of vae_mnist) --output docs/weights/explore.html
python docs/draw.py docs/weights/explore.html docs/draw.gif
