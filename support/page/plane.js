// The latent plane: held-out images, ellipses, z

import { fit, paint } from "./canvas.js";
import { $, classOf, count, image, known, point, redraw, state } from "./state.js";

export const plane = $("plane");
const toPixel = (value) => ((value / state.model.reach + 1) / 2) * plane.width;
const left = (z) => toPixel(z[state.model.dims[0]]);
const top = (z) => toPixel(-z[state.model.dims[1]]);
export const style = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name);

function write(pen, text, x, y, align) {
  pen.font = `${(11 * plane.width) / plane.clientWidth}px system-ui, sans-serif`;
  pen.textAlign = align;
  pen.textBaseline = "middle";
  pen.lineWidth = plane.width / 90;
  pen.lineJoin = "round";
  pen.strokeStyle = style("--paper");
  pen.strokeText(text, x, y);
  pen.fillStyle = style("--ink");
  pen.fillText(text, x, y);
}

function ellipse(pen, center, radii) {
  const scale = plane.width / 2 / state.model.reach;
  pen.beginPath();
  pen.ellipse(
    ...[toPixel(center[0]), toPixel(-center[1]), radii[0] * scale, radii[1] * scale],
    ...[0, 0, 2 * Math.PI],
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
  for (let i = 0; i < count; i++) {
    if (state.hidden.has(classOf(i))) continue;
    pen.fillStyle = known.colors[classOf(i) % known.colors.length];
    pen.beginPath();
    pen.arc(left(point(i)), top(point(i)), size / 200, 0, 2 * Math.PI);
    pen.fill();
  }
  pen.globalAlpha = 1;
  pen.lineWidth = size / 600;
  pen.strokeStyle = style("--ink");
  pen.setLineDash([size / 100, size / 100]);
  for (const sigmas of [1, 2]) ellipse(pen, [0, 0], [sigmas, sigmas]);
  write(pen, "1σ of the prior", toPixel(0), toPixel(-1), "center");
  write(pen, "2σ", toPixel(0), toPixel(-2), "center");
  const edge = (12 * size) / plane.clientWidth;
  const step = [1, 2, 5, 10, 20, 50].find((s) => reach / s <= 6) ?? 100;
  const last = Math.floor((0.95 * reach) / step) * step;
  for (let value = -last; value <= last; value += step) {
    const text = String(value).replace("-", "−");
    const place = toPixel(-value);
    write(pen, text, toPixel(value), size - edge, "center");
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
  if (state.q) drawBelief(pen);
  for (const [letter, mean] of Object.entries(state.ends)) {
    write(pen, letter, left(mean), top(mean) - size / 40, "center");
  }
  drawSight(pen, left(state.z), top(state.z), size / 60);
}

// The ellipses of 1σ and 2σ of q(z|x)
function drawBelief(pen) {
  const { dims } = state.model;
  const mean = dims.map((i) => state.q.z_mean[i]);
  const sigma = dims.map((i) => Math.exp(state.q.z_log_sigma[i]));
  for (const [color, thickness] of [
    [style("--paper"), plane.width / 100],
    [style("--ink"), plane.width / 300],
  ]) {
    pen.strokeStyle = color;
    pen.lineWidth = thickness;
    for (const n of [2, 1]) ellipse(pen, mean, [n * sigma[0], n * sigma[1]]);
  }
}

// z: crosshairs with an open middle
function drawSight(pen, x, y, radius) {
  for (const [color, thickness] of [
    [style("--paper"), plane.width / 90],
    [style("--accent"), plane.width / 200],
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
