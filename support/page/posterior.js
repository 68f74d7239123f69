// The true posterior of a VAE with two latent dimensions, p(z|x) ∝ p(x|z)·p(z): a sum over
// a grid of square cells, refined where p(z|x) is large. Nothing here needs a browser.

import { dot, sumSoftplus, through } from "./vae.js";

const SIDE = 128; // cells along either axis of the grid
const MARGIN = 1.25; // around what the plane shows …
const FAR = 12; // … but not where the prior vanishes
const COARSE = 0.2; // share of a cell that calls for smaller cells …
const SPLIT = 0.004; // … in place of all that have this share
const LEVELS = 6; // of refinement

// A cell whose middle is z. log p(x|z) is linear in x: with the logits K·h(z) + b it is
// x·(K·h + b) − Σ softplus(logits), so all that depends on z alone is computed once.
function makeCell(vae, z, size) {
  const h = through(vae.decoder.slice(0, -1), z);
  const logits = through(vae.decoder.slice(-1), h);
  const logPrior = -(z[0] ** 2 + z[1] ** 2) / 2 - Math.log(2 * Math.PI);
  const constant = logPrior + 2 * Math.log(size) - sumSoftplus(logits);
  return { z, size, h: Float32Array.from(h), constant, children: null };
}

function split(vae, cell) {
  cell.children ??= grid(cell.z, cell.size, 2).map((z) =>
    makeCell(vae, z, cell.size / 2),
  );
  return cell.children;
}

// The middles of side × side cells that fill a square
function grid(center, size, side) {
  return Array.from({ length: side ** 2 }, (_, i) => {
    const [column, row] = [i % side, Math.floor(i / side)];
    const shift = (k) => ((k + 0.5) / side - 0.5) * size;
    return Float64Array.of(center[0] + shift(column), center[1] + shift(row));
  });
}

// Yields after every cell, because all of them take seconds; returns the array of cells
export function* makeCells(vae, reach) {
  const size = 2 * Math.min(MARGIN * reach, FAR);
  const cells = [];
  for (const z of grid([0, 0], size, SIDE)) {
    cells.push(makeCell(vae, z, size / SIDE));
    yield;
  }
  return cells;
}

// −log p(x), in nats, and cells that hold all of p(z|x): [{ cell, share }]
export function posterior(vae, cells, x) {
  const { kernel, bias } = vae.decoder.at(-1);
  const units = kernel.length / bias.length;
  const gradient = new Float64Array(units); // of x·logits by h: xᵀ·K
  x.forEach((value, i) => {
    if (value === 0) return;
    for (let k = 0; k < units; k++) gradient[k] += value * kernel[i * units + k];
  });
  const offset = dot(x, bias);
  const weigh = (cell) => ({
    cell,
    log: cell.constant + offset + dot(gradient, cell.h),
  });
  let leaves = cells.map(weigh);
  for (let level = 0; ; level++) {
    const best = leaves.reduce((most, { log }) => Math.max(most, log), -Infinity);
    const sum = leaves.reduce((total, { log }) => total + Math.exp(log - best), 0);
    const logP = best + Math.log(sum);
    for (const leaf of leaves) leaf.share = Math.exp(leaf.log - logP);
    if (Math.exp(best - logP) < COARSE || level === LEVELS) {
      return { negativeLogP: -logP, leaves };
    }
    leaves = leaves.flatMap((leaf) =>
      leaf.share < SPLIT ? leaf : split(vae, leaf.cell).map(weigh),
    );
  }
}
