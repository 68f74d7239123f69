// A model of one's own: it trains while one looks at it. The gradient is in learn.js.

import { pageImage } from "./canvas.js";
import { build, forward, gradient, layersOf, RMSprop } from "./learn.js";
import { $, classOf, count, known, models, pixels } from "./state.js";
import { encode, normals, row } from "./vae.js";

const LATENT = 2;
const TRAINED = count - Math.floor(count / 5); // of the page's images; the rest is held out
const BATCH = Math.min(100, Math.max(1, Math.floor(TRAINED / 100))); // as in vae_mnist.py
const EPOCHS = 20; // in which the rate falls along a cosine, and then stays …
const [RATE, LAST_RATE] = [1e-3, 1e-4]; // … so that training can go on
const REFRESH = 200; // ms of training between two looks at the model
const BLOCK = 50; // images encoded at once

let images = null; // of the page, one after the other
export const ownModel = {
  name: "train your own",
  binarize: models[0].binarize,
  latentDim: LATENT,
  dims: [0, 1],
  names: [],
  tour: Float64Array.from(
    Array.from({ length: 100 }, (_, i) => (Math.PI * i) / 50).flatMap((angle) => [
      1.5 * Math.cos(angle), // once around the prior
      1.5 * Math.sin(angle),
    ]),
  ),
};
export const own = {
  optimizer: null,
  training: null, // an object of its own for every run, null while there is none
  steps: 0,
  since: 0, // the step at which β or the mistake was changed
  losses: [], // held out: [{ reconstruction, kl }]
  changes: [], // of β or the mistake: how many losses came before
};

export function startOver() {
  images ??= readImages();
  const vae = build(images.subarray(0, TRAINED * pixels), pixels, {
    latentDim: LATENT,
  });
  Object.assign(ownModel, vae, { reach: 3, beta: Number($("own-beta").value) });
  Object.assign(own, { steps: 0, since: 0, losses: [], changes: [] });
  own.optimizer = new RMSprop(layersOf(ownModel));
}
function readImages() {
  const all = new Float32Array(count * pixels);
  for (let i = 0; i < count; i++) all.set(pageImage(i).x, i * pixels);
  return all;
}

// Train until this run is not the current one; refreshPage() is called now and then.
export function* train(run, refreshPage) {
  let next = performance.now() + REFRESH;
  for (;;) {
    for (const batch of batches()) {
      const settings = { beta: ownModel.beta, mistake: $("mistake").value };
      const noise = normals((batch.length / pixels) * LATENT);
      const { gradients } = gradient(ownModel, batch, noise, settings);
      const done = Math.min(1, (own.steps - own.since) / ((EPOCHS * TRAINED) / BATCH));
      const share = (1 + Math.cos(Math.PI * done)) / 2;
      own.optimizer.update(gradients, LAST_RATE + share * (RATE - LAST_RATE));
      own.steps++;
      yield;
      if (own.training !== run) return;
      if (performance.now() < next) continue;
      yield* evaluateAll(() => own.training === run);
      if (own.training !== run) return;
      refreshPage();
      next = performance.now() + REFRESH;
    }
  }
}

// All training images, shuffled
function* batches() {
  const order = Array.from({ length: TRAINED }, (_, i) => i);
  for (let i = TRAINED - 1; i > 0; i--) {
    const other = Math.floor((i + 1) * Math.random());
    [order[i], order[other]] = [order[other], order[i]];
  }
  for (let start = 0; start < TRAINED; start += BATCH) {
    const some = order.slice(start, start + BATCH);
    const batch = new Float64Array(some.length * pixels);
    some.forEach((i, at) => {
      batch.set(row(images, i, pixels), at * pixels);
    });
    yield batch;
  }
}

// Encode all images, and compute the loss of those held out as the training program
// does. Nothing changes if it is not wanted anymore.
export function* evaluateAll(wanted) {
  const [points, logSigmas] = [LATENT, LATENT].map((d) => new Float32Array(count * d));
  const held = { reconstruction: 0, kl: 0 };
  for (let i = 0; i < count; i += BLOCK) {
    const x = Float64Array.from(images.subarray(i * pixels, (i + BLOCK) * pixels));
    const { z_mean, z_log_sigma } = encode(ownModel, x);
    points.set(z_mean, i * LATENT);
    logSigmas.set(z_log_sigma, i * LATENT);
    yield;
  }
  for (let i = TRAINED; i < count; i += BLOCK) {
    const x = Float64Array.from(images.subarray(i * pixels, (i + BLOCK) * pixels));
    const size = x.length / pixels;
    const pass = forward(ownModel, x, normals(size * LATENT), $("mistake").value);
    held.reconstruction += (size * pass.reconstruction) / (count - TRAINED);
    held.kl += (size * pass.kl) / (count - TRAINED);
    yield;
  }
  if (!wanted()) return;
  own.losses.push(held);
  Object.assign(ownModel, { points, logSigmas, grid: null, cells: null, clouds: null });
  measureReach();
  placeNames();
}

// How far the plane reaches; not another way at every look, so that the map holds still
function measureReach() {
  const sizes = ownModel.points.map(Math.abs).sort();
  const reach = Math.max(3, 1.1 * sizes[Math.floor(0.995 * (sizes.length - 1))]);
  if (reach > ownModel.reach || reach < 0.7 * ownModel.reach)
    ownModel.reach = 1.15 * reach;
  if (reach === 3) ownModel.reach = 3;
}

// Each class's name stands at the median of its points.
function placeNames() {
  ownModel.names = known.classes.flatMap((name, label) => {
    const of = (axis) => {
      const values = [];
      for (let i = 0; i < count; i++) {
        if (classOf(i) === label) values.push(ownModel.points[LATENT * i + axis]);
      }
      return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
    };
    return of(0) === undefined ? [] : [[name, of(0), of(1)]];
  });
}

export const epochOf = (steps) => Math.floor((steps * BATCH) / TRAINED);
