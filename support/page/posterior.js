// The true posterior of a VAE with two latent dimensions, p(z|x) ∝ p(x|z)·p(z): a sum over
// a grid of square cells, refined where p(z|x) is large. Nothing here needs a browser.

import { dot, multiply, row, sumSoftplus, through } from "./vae.js";

const AT_ONCE = 128; // cells computed at once: a row of them
const COARSE = 0.2; // share of a cell that calls for smaller cells …
const SPLIT = 0.004; // … in place of all that have this share
const LEVELS = 6; // of refinement
const NEGLIGIBLE = 25; // nats below the best cell

// All that depends on z alone. log p(x|z) is linear in x: with the logits K·h(z) + b it is
// x·(K·h + b) − Σ softplus(logits). Σ softplus(logits) of the cells takes seconds, so
// extras.explore computes it, and this function does if it is not given.
// Yields now and then. size: of the square around 0 that the side × side cells fill.
export function* makeCells(vae, { size, side, softplus }) {
  const units = vae.decoder.at(-1).kernel.length / vae.decoder.at(-1).bias.length;
  const cells = { size: size / side, side, z: grid([0, 0], size, side), children: {} };
  cells.h = new Float32Array(side ** 2 * units);
  cells.softplus = softplus ?? new Float32Array(side ** 2);
  for (let i = 0; i < side ** 2; i += AT_ONCE) {
    const h = hidden(vae, cells.z.subarray(2 * i, 2 * (i + AT_ONCE)));
    cells.h.set(h, i * units);
    if (!softplus) cells.softplus.set(softplusOf(vae, h), i);
    yield;
  }
  return cells;
}
const hidden = (vae, z) => through(vae.decoder.slice(0, -1), z);
function softplusOf(vae, h) {
  const logits = through(vae.decoder.slice(-1), h);
  const pixels = vae.decoder.at(-1).bias.length;
  return Float64Array.from({ length: logits.length / pixels }, (_, i) =>
    sumSoftplus(row(logits, i, pixels)),
  );
}

// The middles of side × side cells that fill a square, row by row from the lower left
function grid(center, size, side) {
  const z = new Float64Array(2 * side ** 2);
  const shift = (k) => ((k + 0.5) / side - 0.5) * size;
  for (let i = 0; i < side ** 2; i++) {
    z[2 * i] = center[0] + shift(i % side);
    z[2 * i + 1] = center[1] + shift(Math.floor(i / side));
  }
  return z;
}

const logPrior = ([a, b]) => -(a ** 2 + b ** 2) / 2 - Math.log(2 * Math.PI);

// −log p(x), in nats; cells that hold all of p(z|x): [{ z, size, share, density }]; and
// log p(x|z)·p(z) at the middle of every cell of the grid
export function posterior(vae, cells, x) {
  const { kernel, bias } = vae.decoder.at(-1);
  const gradient = derivative(x, kernel, kernel.length / bias.length); // of x·logits by h
  const offset = dot(x, bias);
  const joint = multiply(gradient, cells.h, gradient.length);
  let best = -Infinity;
  for (let i = 0; i < joint.length; i++) {
    const z = row(cells.z, i, 2);
    joint[i] += offset - cells.softplus[i] + logPrior(z);
    best = Math.max(best, joint[i]);
  }
  const makeLeaf = (joint, z, size, home) => ({
    z,
    size,
    log: joint + 2 * Math.log(size),
    home, // where its children are kept, for the next x
  });
  let leaves = [];
  joint.forEach((value, i) => {
    if (!(value >= best - NEGLIGIBLE)) return;
    const z = row(cells.z, i, 2);
    leaves.push(makeLeaf(value, z, cells.size, [cells.children, i]));
  });
  const split = ({ z, size, home: [children, i] }) => {
    children[i] ??= makeChildren(vae, z, size);
    const { z: places, h, softplus, children: below } = children[i];
    return Array.from(multiply(gradient, h, gradient.length), (value, k) => {
      const place = row(places, k, 2);
      const joint = value + offset - softplus[k] + logPrior(place);
      return makeLeaf(joint, place, size / 2, [below, k]);
    });
  };
  for (let level = 0; ; level++) {
    const most = leaves.reduce((max, { log }) => Math.max(max, log), -Infinity);
    const sum = leaves.reduce((total, { log }) => total + Math.exp(log - most), 0);
    const logP = most + Math.log(sum);
    for (const leaf of leaves) {
      leaf.share = Math.exp(leaf.log - logP);
      leaf.density = leaf.share / leaf.size ** 2;
    }
    if (Math.exp(most - logP) < COARSE || level === LEVELS) {
      return { negativeLogP: -logP, leaves, joint };
    }
    leaves = leaves.flatMap((leaf) => (leaf.share < SPLIT ? leaf : split(leaf)));
  }
}

function makeChildren(vae, z, size) {
  const places = grid(z, size, 2);
  const h = hidden(vae, places);
  const softplus = softplusOf(vae, h);
  return { z: places, h: Float32Array.from(h), softplus, children: {} };
}

// xᵀ·K, for a kernel K of pixels × units
function derivative(x, kernel, units) {
  const sum = new Float64Array(units);
  x.forEach((value, i) => {
    if (value === 0) return;
    for (let k = 0; k < units; k++) sum[k] += value * kernel[i * units + k];
  });
  return sum;
}
