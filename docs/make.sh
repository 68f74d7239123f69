#!/usr/bin/env bash
# Make the pictures of README.md and docs/, the pages and docs/worksheet.md, in about ten
# minutes:
#
#     bash docs/make.sh [MNIST [FASHION [EMOJI]]]
#
# MNIST and FASHION are what vae_mnist.py --data takes; EMOJI is a folder that
# docs/emoji.py filled, without which docs/emoji.jpg and docs/convolutions.png stay as
# they are, as docs/long.png does: its run takes long.
# docs/draw.gif needs Chromium and selenium. The trained weights stay in docs/weights.
set -euo pipefail
cd "$(dirname "$0")/.."
mnist=${1:-mnist} fashion=${2:-fashion_mnist} emoji=${3:-}
mkdir -p docs/weights

train() {  # NAME OPTIONS: unless it is trained already
    local weights=docs/weights/$1.weights.h5
    test -e "$weights" || python vae_mnist.py --weights "$weights" "${@:2}"
}
of() { echo "--weights docs/weights/$1.weights.h5"; }

train vae_mnist --data "$mnist" --snapshots docs/weights/moments
train deep --data "$mnist" --hidden 256 256
train beta-0 --data "$mnist" --beta 0
train beta-0.1 --data "$mnist" --beta 0.1
train beta-10 --data "$mnist" --beta 10
train denoising --data "$mnist" --latent-dim 16 --noise 0.5
train wide --data "$mnist" --latent-dim 10
train fashion --data "$fashion"
train handwriting --data "$mnist" --conditional --latent-dim 4 --beta 4

python plot_latent.py $(of vae_mnist) --output docs/latent.png
python generate_grid.py $(of vae_mnist) --output docs/grid.png
python generate_grid.py $(of fashion) --output docs/fashion.png
python generate_grid.py $(of wide) --traverse --output docs/traverse.png
python generate_grid.py $(of handwriting) --image 0 1 2 3 4 5 6 7 --output docs/handwriting.png
python -m extras.plot_training $(of vae_mnist) --output docs/training.png
python -m extras.film docs/weights/moments --output docs/film.gif
python -m extras.reconstruct $(of denoising) --output docs/denoise.png
python -m extras.reconstruct $(of vae_mnist) --odd 10 --output docs/surprising.png
python docs/planes.py docs/depth.png \
    "one hidden layer of 256=docs/weights/vae_mnist.weights.h5" \
    "two: --hidden 256 256=docs/weights/deep.weights.h5"
python docs/planes.py docs/beta.png \
    "β = 0.1=docs/weights/beta-0.1.weights.h5" \
    "β = 1=docs/weights/vae_mnist.weights.h5" \
    "β = 10=docs/weights/beta-10.weights.h5"
python docs/planes.py docs/autoencoder.png \
    "β = 0, an autoencoder=docs/weights/beta-0.weights.h5" \
    "β = 1, a VAE=docs/weights/vae_mnist.weights.h5"
if test -n "$emoji"; then
    train emoji --data "$emoji" --image-size 32 --color
    python plot_latent.py $(of emoji) --grid --output docs/emoji.jpg
    train conv --data "$emoji" --image-size 64 --color --network conv --activation elu \
        --latent-dim 32
    python -m extras.reconstruct $(of conv) --count 12 --output docs/convolutions.png
fi
# Three models in the page: a VAE, an autoencoder, and a strongly regularized VAE.
python -m extras.explore --output docs/explore.html --weights \
    docs/weights/{vae_mnist,beta-0,beta-10}.weights.h5
python -m extras.explore $(of handwriting) --output docs/handwriting.html
python docs/draw.py docs/explore.html docs/{draw.gif,preview.png}
python docs/shrink.py docs/*.png docs/film.gif
python docs/worksheet.py
