#!/usr/bin/env bash
# Run what the tables of docs/results.md show, but for emoji, photographs, noise and what
# was tried on training images: train the models of each row, and write what
# extras.evaluate reports on them into docs/reports. Reports that are there stay as they
# are; `python docs/reports.py` prints means and worst cases. It takes some hours on two
# cores.
#
#     bash docs/results.sh [MNIST [FASHION]]
#
# MNIST and FASHION are what vae_mnist.py --data takes.
set -euo pipefail
cd "$(dirname "$0")/.."
mnist=${1:-mnist} fashion=${2:-fashion_mnist}
export KERAS_BACKEND=${KERAS_BACKEND:-jax}
mkdir -p docs/reports docs/weights

report() {  # NAME SEEDS SAMPLES OPTIONS; new: images to evaluate, if not the held-out ones
    local seed weights json
    for seed in $2; do
        weights=docs/weights/$1-$seed.weights.h5 json=docs/reports/$1-$seed.json
        test -e "$json" && continue
        python vae_mnist.py --seed "$seed" --weights "$weights" "${@:4}"
        python -m extras.evaluate --weights "$weights" --samples "$3" --json "$json" \
            ${new:+--data "$new"}
    done
}

# Familiar examples
report like-keras-io "0 1 2" 50 --data "$mnist" --epochs 30
report like-pytorch "0 1 2" 50 --data "$mnist" --epochs 10 --hidden 400 --latent-dim 20

# Published figures
best="--binarize --gated --latent-dim 40"
report best-path "0" 5000 --data "$mnist" $best --hidden 300 300 --epochs 400 --path-gradient
report best "0" 5000 --data "$mnist" $best --hidden 300 300 --epochs 400
report best-500 "0" 5000 --data "$mnist" $best --hidden 500 500 --epochs 400
report best-fashion "0" 1000 --data "$fashion" $best --hidden 300 300 --epochs 300
for d in 2 5 10 20 40; do
    report like-davidson-$d "0" 500 --data "$mnist" --binarize --hidden 256 128 --latent-dim $d --epochs 100
done

# After 20 epochs; the label, given
report default "0 1 2" 50 --data "$mnist"
KERAS_BACKEND=tensorflow report default-tensorflow "0 1 2" 50 --data "$mnist"
report gated "0 1 2 3 4 5 6 7 8 9" 50 --data "$mnist" --gated
report gated-128 "0 1 2" 50 --data "$mnist" --gated --hidden 128
report hidden-512 "0 1 2" 50 --data "$mnist" --hidden 512
report hidden-256-256 "0 1 2" 50 --data "$mnist" --hidden 256 256
report d20 "0 1 2" 50 --data "$mnist" --latent-dim 20
report sample "0 1 2 3 4" 50 --data mnist_sample
report sample-gated "0 1 2 3 4" 50 --data mnist_sample --gated
report sample-512 "0 1 2 3 4" 50 --data mnist_sample --hidden 512
KERAS_BACKEND=tensorflow report sample-tensorflow "0 1 2 3 4" 50 --data mnist_sample
report conditional "0 1 2" 50 --data "$mnist" --conditional
report d20-conditional "0 1 2" 50 --data "$mnist" --latent-dim 20 --conditional
report d20-binarize "0 1 2" 50 --data "$mnist" --latent-dim 20 --binarize
report d20-binarize-conditional "0 1 2" 50 --data "$mnist" --latent-dim 20 --binarize --conditional

# One digit against nine
for digit in 0 1 2 3 4 5 6 7 8 9; do
    new=$mnist report only-$digit "0 1 2" 20 --data "$mnist" --only $digit --latent-dim 20
done
