// The latent plane: held-out images, ellipses, z

import { fit, paint } from "./canvas.js";
import { $, classOf, count, image, known, point, redraw, state } from "./state.js";
import { reparameterize } from "./vae.js";

export const plane = $("plane");
// Part of the latent plane on a canvas: a square around `center`, `reach` to each side
const whole = () => ({ canvas: plane, center: [0, 0], reach: state.model.reach });
const scale = (view) => view.canvas.width / 2 / view.reach; // pixels per unit of z
const toLeft = (view, value) => (value - view.center[0] + view.reach) * scale(view);
const toTop = (view, value) => (view.center[1] + view.reach - value) * scale(view);
const left = (z, view = whole()) => toLeft(view, z[state.model.dims[0]]);
const top = (z, view = whole()) => toTop(view, z[state.model.dims[1]]);
export const style = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name);

// A class's color, lighter on dark paper
export const classColor = (i, whiten = style("--whiten")) =>
  `color-mix(in oklab, ${known.colors[i % known.colors.length]}, white ${whiten})`;

function write(pen, text, x, y, align, { size = 11, weight = "normal" } = {}) {
  const zoom = plane.width / plane.clientWidth;
  pen.font = `${weight} ${size * zoom}px system-ui, sans-serif`;
  pen.textAlign = align;
  pen.textBaseline = "middle";
  pen.lineWidth = plane.width / 90;
  pen.lineJoin = "round";
  pen.strokeStyle = style("--paper");
  pen.strokeText(text, x, y);
  pen.fillStyle = style("--ink");
  pen.fillText(text, x, y);
}

function ellipse(pen, view, center, radii) {
  pen.beginPath();
  pen.ellipse(
    ...[toLeft(view, center[0]), toTop(view, center[1])],
    ...[radii[0] * scale(view), radii[1] * scale(view), 0, 0, 2 * Math.PI],
  );
  pen.stroke();
}

function drawManifold(pen) {
  const { reach, dims } = state.model;
  const [cells, here] = [20, state.z.slice()];
  const side = plane.width / cells;
  const tile = fit(document.createElement("canvas"));
  pen.globalAlpha = 0.35;
  for (let row = 0; row < cells; row++) {
    for (let column = 0; column < cells; column++) {
      here[dims[0]] = reach * ((2 * (column + 0.5)) / cells - 1);
      here[dims[1]] = reach * (1 - (2 * (row + 0.5)) / cells);
      paint(tile, image(here));
      pen.drawImage(tile, column * side, row * side, side, side);
    }
  }
  pen.globalAlpha = 1;
}

function drawBackdrop() {
  const size = plane.width;
  const { reach, dims } = state.model;
  state.backdrop = document.createElement("canvas");
  state.backdrop.width = state.backdrop.height = size;
  const pen = state.backdrop.getContext("2d");
  if ($("grid").checked) drawManifold(pen);
  pen.globalAlpha = 0.7;
  const colors = known.colors.map((_, i) => classColor(i));
  for (let i = 0; i < count; i++) {
    if (state.hidden.has(classOf(i))) continue;
    pen.fillStyle = colors[classOf(i) % colors.length];
    pen.beginPath();
    pen.arc(left(point(i)), top(point(i)), size / 200, 0, 2 * Math.PI);
    pen.fill();
  }
  pen.globalAlpha = 1;
  pen.lineWidth = size / 600;
  pen.strokeStyle = style("--ink");
  pen.setLineDash([size / 100, size / 100]);
  const view = whole();
  for (const sigmas of [1, 2]) ellipse(pen, view, [0, 0], [sigmas, sigmas]);
  for (const [name, x, y] of state.model.names) {
    if (state.hidden.has(known.classNames.indexOf(name))) continue;
    const font = { size: 14, weight: "bold" };
    write(pen, name, toLeft(view, x), toTop(view, y), "center", font);
  }
  write(pen, "1σ of the prior", toLeft(view, 0), toTop(view, 1), "center");
  write(pen, "2σ", toLeft(view, 0), toTop(view, 2), "center");
  const edge = (12 * size) / plane.clientWidth;
  const step = [1, 2, 5, 10, 20, 50].find((s) => reach / s <= 6) ?? 100;
  const last = Math.floor((0.95 * reach) / step) * step;
  for (let value = -last; value <= last; value += step) {
    const text = String(value).replace("-", "−");
    const place = toTop(view, value);
    write(pen, text, toLeft(view, value), size - edge, "center");
    if (place < size - 2 * edge) write(pen, text, edge, place, "center");
  }
  write(pen, `z[${dims[0]}]`, size - edge / 2, size - 2.2 * edge, "right");
  write(pen, `z[${dims[1]}]`, 2 * edge, edge, "left");
}

// The visible held-out image whose point is close to z, or −1
export function nearest() {
  const [across, up] = state.model.dims;
  const { z } = state;
  let [best, least] = [-1, (state.model.reach / 40) ** 2];
  for (let i = 0; i < count; i++) {
    const distance = (point(i)[across] - z[across]) ** 2 + (point(i)[up] - z[up]) ** 2;
    if (distance < least && !state.hidden.has(classOf(i)))
      [best, least] = [i, distance];
  }
  return best;
}

export function drawPlane() {
  if (!state.backdrop) drawBackdrop();
  const [pen, size] = [plane.getContext("2d"), plane.width];
  pen.clearRect(0, 0, size, size);
  pen.drawImage(state.backdrop, 0, 0);
  if ($("true").checked && state.truth) drawTruth(pen, whole());
  pen.strokeStyle = pen.fillStyle = style("--ink");
  pen.lineWidth = size / 250;
  pen.beginPath();
  for (const place of state.path) pen.lineTo(left(place), top(place));
  pen.stroke();
  for (const place of state.marks) {
    pen.beginPath();
    pen.arc(left(place), top(place), size / 240, 0, 2 * Math.PI);
    pen.fill();
  }
  if (state.q) drawBelief(pen, whole());
  for (const [letter, { z }] of Object.entries(state.ends)) {
    write(pen, letter, left(z), top(z) - size / 40, "center");
  }
  drawSight(pen, left(state.z), top(state.z), size / 60);
}

// p(z|x), the darker the denser
function drawTruth(pen, view) {
  pen.fillStyle = style("--truth");
  for (const { cell, opacity } of visibleCells()) {
    const side = cell.size * scale(view);
    pen.globalAlpha = opacity;
    pen.fillRect(
      left(cell.z, view) - side / 2,
      top(cell.z, view) - side / 2,
      side,
      side,
    );
  }
  pen.globalAlpha = 1;
}
function visibleCells() {
  const density = ({ cell, share }) => share / cell.size ** 2;
  const { leaves } = state.truth;
  const most = leaves.reduce((best, leaf) => Math.max(best, density(leaf)), 0);
  return leaves
    .map((leaf) => ({ cell: leaf.cell, opacity: density(leaf) / most }))
    .filter(({ opacity }) => opacity > 0.01);
}

// The ellipses of 1σ and 2σ of q(z|x)
function drawBelief(pen, view) {
  const { dims } = state.model;
  const mean = dims.map((i) => state.q.z_mean[i]);
  const sigma = dims.map((i) => Math.exp(state.q.z_log_sigma[i]));
  const size = view.canvas.clientWidth / view.canvas.width;
  for (const [color, thickness] of [
    [style("--paper"), 5 / size],
    [style("--ink"), 1.8 / size],
  ]) {
    pen.strokeStyle = color;
    pen.lineWidth = thickness;
    for (const n of [2, 1]) ellipse(pen, view, mean, [n * sigma[0], n * sigma[1]]);
  }
}

// Both, magnified so that they fill a canvas of their own
const lens = $("lens");
export function drawLens() {
  const pen = lens.getContext("2d");
  pen.clearRect(0, 0, lens.width, lens.height);
  if (!state.q || !state.truth) return;
  const points = visibleCells().map(({ cell }) => cell.z);
  for (const sigmas of [-2.5, 2.5]) {
    points.push(reparameterize(state.q, [sigmas, sigmas]));
  }
  const ends = [0, 1].map((axis) => {
    const values = points.map((z) => z[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const view = {
    canvas: lens,
    center: ends.map(([least, most]) => (least + most) / 2),
    reach: 0.55 * Math.max(...ends.map(([least, most]) => most - least)),
  };
  drawTruth(pen, view);
  drawBelief(pen, view);
  drawSight(pen, left(state.z, view), top(state.z, view), lens.width / 30);
}

// z: crosshairs with an open middle
function drawSight(pen, x, y, radius) {
  for (const [color, thickness] of [
    [style("--paper"), radius / 1.5],
    [style("--accent"), radius / 3.3],
  ]) {
    pen.strokeStyle = color;
    pen.lineWidth = thickness;
    pen.beginPath();
    for (const [right, down] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ]) {
      pen.moveTo(x + right * radius, y + down * radius);
      pen.lineTo(x + 2.2 * right * radius, y + 2.2 * down * radius);
    }
    pen.stroke();
  }
}

function resize() {
  const size = Math.round(plane.clientWidth * window.devicePixelRatio);
  if (size === 0 || (size === plane.width && size === plane.height)) return;
  plane.width = plane.height = size;
  redraw();
}
new ResizeObserver(resize).observe(plane);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
