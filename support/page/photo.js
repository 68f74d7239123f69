// The ink in a photo of something written. Nothing here needs a browser.

import { boundingBox } from "./ink.js";

const FAINTEST = 0.04; // contrast of ink with the paper
const NOISE = 7; // the same, in multiples of the paper's own
const SMALLEST = 0.08; // size of something written, as a share of the photo's
const STROKE = 0.11; // thickness of strokes, at least, as a share of the digit's size

// gray: values in [0, 1], `width` to a row. Returns { ink, dark }: the ink of each pixel, 0
// to 1, without paper, shadows and specks; and whether it was darker than the paper. Null
// if there is none.
export function findInk(gray, width) {
  const height = gray.length / width;
  // Most of the photo is paper: is it lighter than halfway?
  const halfway = (quantile(gray, 0.002) + quantile(gray, 0.998)) / 2;
  const dark = quantile(gray, 0.5) > halfway;
  const value = dark ? gray.map((v) => 1 - v) : gray;
  // The paper around each pixel: the mean there, then the mean of what is below it
  const radius = Math.ceil(Math.max(width, height) / 8);
  const all = new Float64Array(value.length).fill(1);
  const mean = localMean(value, all, width, radius);
  const paper = value.map((v, i) => Number(v <= mean[i] + 0.02));
  const below = localMean(value, paper, width, radius);
  const above = value.map((v, i) => v - below[i]);
  const noise = quantile(above.map(Math.abs), 0.5);
  const cut = (least) => above.map((v) => (v > least ? v : 0));
  // The lines of ruled paper join the ink to the rim, until the cut is above them.
  const faintest = Math.max(FAINTEST, NOISE * noise);
  let written = null;
  for (let least = faintest; written === null && least < 1; least *= 1.3) {
    written = findPieces(cut(least), width);
  }
  written ??= findPieces(cut(faintest), width, true);
  if (written === null) return null;
  const level = quantile(
    written.filter((v) => v > 0),
    0.6,
  );
  // None below a fifth of the ink's level, full from 0.7 of it
  const ink = written.map((v) => Math.min(1, Math.max(0, (2 * v) / level - 0.4)));
  return { ink: thicken(ink, width), dark };
}

function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
}

// The weighted mean of the square around each pixel, from sums over rectangles
function localMean(values, weights, width, radius) {
  const height = values.length / width;
  const sums = (of) => {
    const table = new Float64Array((width + 1) * (height + 1));
    for (let y = 0; y < height; y++) {
      let row = 0;
      for (let x = 0; x < width; x++) {
        row += of(y * width + x);
        table[(y + 1) * (width + 1) + x + 1] = table[y * (width + 1) + x + 1] + row;
      }
    }
    return table;
  };
  const [top, bottom] = [sums((i) => values[i] * weights[i]), sums((i) => weights[i])];
  return values.map((value, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    const [left, right] = [Math.max(0, x - radius), Math.min(width, x + radius + 1)];
    const [up, down] = [Math.max(0, y - radius), Math.min(height, y + radius + 1)];
    const within = (table) =>
      table[down * (width + 1) + right] -
      table[up * (width + 1) + right] -
      table[down * (width + 1) + left] +
      table[up * (width + 1) + left];
    return within(bottom) ? within(top) / within(bottom) : value;
  });
}

// The largest piece of connected ink, and others of at least a tenth of its size, without
// what touches the rim: the edge of a table, a finger, a shadow. Null if nothing is large.
function findPieces(ink, width, rim = false) {
  const height = ink.length / width;
  const piece = new Int32Array(ink.length).fill(-1);
  const pieces = [];
  ink.forEach((value, start) => {
    if (value === 0 || piece[start] >= 0) return;
    const found = { size: 0, left: width, right: 0, top: height, bottom: 0 };
    const open = [start];
    piece[start] = pieces.length;
    while (open.length) {
      const i = open.pop();
      const [x, y] = [i % width, Math.floor(i / width)];
      found.size += ink[i];
      found.left = Math.min(found.left, x);
      found.right = Math.max(found.right, x);
      found.top = Math.min(found.top, y);
      found.bottom = Math.max(found.bottom, y);
      for (const [dx, dy] of [
        [1, 0],
        [-1, 0],
        [0, 1],
        [0, -1],
      ]) {
        const next = i + dx + dy * width;
        const inside = x + dx >= 0 && x + dx < width && y + dy >= 0 && y + dy < height;
        if (!inside || ink[next] === 0 || piece[next] >= 0) continue;
        piece[next] = pieces.length;
        open.push(next);
      }
    }
    pieces.push(found);
  });
  const free = pieces.filter(
    ({ left, right, top, bottom }) =>
      rim || (left > 0 && top > 0 && right < width - 1 && bottom < height - 1),
  );
  const isLarge = ({ left, right, top, bottom }) =>
    Math.max(right - left, bottom - top) > SMALLEST * Math.max(width, height);
  if (!free.some(isLarge)) return null;
  const largest = free.reduce((most, { size }) => Math.max(most, size), 0);
  const wanted = new Set(free.filter(({ size }) => size >= largest / 10));
  return ink.map((value, i) => (value && wanted.has(pieces[piece[i]]) ? value : 0));
}

// Thin strokes, as of a ballpoint pen, become as thick as MNIST's.
function thicken(ink, width) {
  const height = ink.length / width;
  const at = (x, y) =>
    x >= 0 && x < width && y >= 0 && y < height ? ink[y * width + x] : 0;
  const box = boundingBox(ink, width);
  if (!box) return ink;
  let area = 0;
  let edge = 0;
  for (let y = box.top; y < box.top + box.height; y++) {
    for (let x = box.left; x < box.left + box.width; x++) {
      if (at(x, y) < 0.5) continue;
      area++;
      edge += Number(at(x + 1, y) < 0.5) + Number(at(x - 1, y) < 0.5);
      edge += Number(at(x, y + 1) < 0.5) + Number(at(x, y - 1) < 0.5);
    }
  }
  // Steps of a pixel's edge make a slanted line longer by up to √2: 4/π on average.
  const thickness = (2 * area) / ((Math.PI / 4) * edge);
  const size = Math.max(box.width, box.height);
  const radius = Math.round((STROKE * size - thickness) / 2);
  if (radius < 1) return ink;
  return ink.map((_, i) => {
    let most = 0;
    for (let dy = -radius; dy <= radius; dy++) {
      const reach = Math.floor(Math.sqrt(radius ** 2 - dy ** 2));
      for (let dx = -reach; dx <= reach; dx++) {
        most = Math.max(most, at((i % width) + dx, Math.floor(i / width) + dy));
      }
    }
    return most;
  });
}
