// The map, which is the latent plane: clouds, ellipses, z

import { fit, paint } from "./canvas.js";
import { nats } from "./format.js";
import {
  $,
  classOf,
  count,
  covered,
  height,
  image,
  known,
  models,
  narrow,
  point,
  redraw,
  state,
  width,
} from "./state.js";
import { reparameterize } from "./vae.js";

export const plane = $("plane");
const DIM = 0.15; // opacity of dots that would hide something else
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

const zoomOf = (canvas) => canvas.width / canvas.clientWidth;
function write(pen, text, x, y, align, { size = 11, weight = "normal" } = {}) {
  const zoom = zoomOf(plane) * (parseFloat(style("font-size")) / 14);
  pen.font = `${weight} ${size * zoom}px system-ui, sans-serif`;
  pen.textAlign = align;
  pen.textBaseline = "middle";
  pen.lineWidth = 4 * zoom;
  pen.lineJoin = "round";
  pen.strokeStyle = style("--paper");
  pen.strokeText(text, x, y);
  pen.fillStyle = style("--ink");
  pen.fillText(text, x, y);
}

// What `draw` strokes, on a broader line of paper, so that it shows on anything
function outlined(pen, color, thickness, draw) {
  for (const [ink, factor] of [
    [style("--paper"), 2.6],
    [color, 1],
  ]) {
    pen.strokeStyle = ink;
    pen.lineWidth = factor * thickness;
    draw();
  }
}

function ellipse(pen, view, center, radii) {
  pen.beginPath();
  pen.ellipse(
    toLeft(view, center[0]),
    toTop(view, center[1]),
    radii[0] * scale(view),
    radii[1] * scale(view),
    0,
    0,
    2 * Math.PI,
  );
  pen.stroke();
}

// What is drawn where: the decoded images of a grid of z
function drawTiles(pen) {
  const { reach, dims } = state.model;
  const [cells, here] = [20, state.z.slice()];
  const side = plane.width / cells;
  const tile = fit(document.createElement("canvas"));
  for (let row = 0; row < cells; row++) {
    for (let column = 0; column < cells; column++) {
      here[dims[0]] = reach * ((2 * (column + 0.5)) / cells - 1);
      here[dims[1]] = reach * (1 - (2 * (row + 0.5)) / cells);
      paint(tile, image(here));
      pen.drawImage(tile, column * side, row * side, side, side);
    }
  }
}

function drawDots(pen) {
  pen.globalAlpha = covered() || $("true").checked || $("grid").checked ? DIM : 0.7;
  const colors = known.colors.map((_, i) => classColor(i));
  for (let i = 0; i < count; i++) {
    if (state.hidden.has(classOf(i))) continue;
    pen.fillStyle = colors[classOf(i) % colors.length];
    pen.beginPath();
    pen.arc(left(point(i)), top(point(i)), plane.width / 200, 0, 2 * Math.PI);
    pen.fill();
  }
  pen.globalAlpha = 1;
}

function drawBackdrop() {
  const tiles = $("grid").checked;
  const view = whole();
  state.backdrop = document.createElement("canvas");
  state.backdrop.width = state.backdrop.height = plane.width;
  const pen = state.backdrop.getContext("2d");
  if (tiles) drawTiles(pen);
  drawDots(pen);
  drawPrior(pen);
  if (tiles) return; // Text would be hard to read on them.
  for (const [name, x, y] of state.model.names) {
    if (state.hidden.has(known.classNames.indexOf(name))) continue;
    const font = { size: 14, weight: "bold" };
    write(pen, name, toLeft(view, x), toTop(view, y), "center", font);
  }
  drawAxes(pen);
}

// The circles of 1σ and 2σ of the prior
function drawPrior(pen) {
  const view = whole();
  pen.lineWidth = plane.width / 600;
  pen.strokeStyle = $("grid").checked ? "white" : style("--ink");
  pen.setLineDash([plane.width / 100, plane.width / 100]);
  for (const sigmas of [1, 2]) ellipse(pen, view, [0, 0], [sigmas, sigmas]);
  const roomy = scale(view) > 25 * zoomOf(plane); // pixels for 1σ
  if ($("grid").checked || !roomy) return;
  const place = [toLeft(view, 0), toTop(view, -1), toTop(view, -2)];
  write(pen, "1σ", place[0], place[1], "center");
  write(pen, "2σ of the prior", place[0], place[2], "center");
}

// The largest of 1, 2 and 5 times a power of ten that is not greater
function roundBelow(value) {
  const decade = 10 ** Math.floor(Math.log10(value));
  return [5, 2, 1].find((digit) => digit * decade <= value) * decade;
}

function drawAxes(pen) {
  const size = plane.width;
  const { reach, dims } = state.model;
  const view = whole();
  const edge = size / 40;
  const step = roundBelow(reach / 2.5);
  const last = Math.floor((0.95 * reach) / step) * step;
  for (let value = -last; value <= last; value += step) {
    const text = String(value).replace("-", "−");
    const place = toTop(view, value);
    write(pen, text, toLeft(view, value), size - edge, "center");
    if (place < size - 2 * edge) write(pen, text, edge, place, "center");
  }
  write(pen, `z[${dims[0]}]`, size - edge / 2, size - 2.2 * edge, "right");
  write(pen, `z[${dims[1]}]`, 2 * edge, edge, "left");
  const wide = reach / models[0].reach;
  if (wide > 0.8 && wide < 1.25) return;
  const text = `${wide.toFixed(1)} × as wide as with ${models[0].name}`;
  write(pen, text, size - edge, edge, "right");
}

// The visible image of the page whose point is close to z, or −1
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
  if (state.truth && $("true").checked && !covered()) drawLandscape(pen);
  pen.drawImage(state.backdrop, 0, 0);
  drawTail(pen);
  drawMarks(pen);
  if (state.q && !covered()) {
    if (state.truth) drawFrame(pen, lensView());
    drawBeliefs(pen, whole());
  }
  for (const [letter, { z }] of covered() ? [] : Object.entries(state.ends)) {
    write(pen, letter, left(z), top(z) - size / 40, "center");
  }
  if (state.search?.best) drawFlag(pen, state.search.best.z);
  drawSight(pen, left(state.z), top(state.z), size / 60);
  if (narrow.matches) drawInset(pen);
}

// Sampled z, as discs or as rings
function drawMarks(pen) {
  pen.lineWidth = 2 * zoomOf(plane);
  for (const { z, filled } of state.marks) {
    pen.fillStyle = style(filled ? "--accent" : "--paper");
    pen.strokeStyle = style(filled ? "--paper" : "--accent");
    pen.beginPath();
    pen.arc(left(z), top(z), 4 * zoomOf(plane), 0, 2 * Math.PI);
    pen.fill();
    pen.stroke();
  }
}

// Where z has just been, fading
function drawTail(pen) {
  const { tail } = state;
  pen.strokeStyle = style("--accent");
  pen.lineWidth = 2.5 * zoomOf(plane);
  pen.lineCap = "round";
  for (let i = 1; i < tail.length; i++) {
    pen.globalAlpha = i / tail.length;
    pen.beginPath();
    pen.moveTo(left(tail[i - 1]), top(tail[i - 1]));
    pen.lineTo(left(tail[i]), top(tail[i]));
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

// The landscape of −log p(x|z) + ½|z|²: the lower it is, the darker. On a logarithmic
// scale, because it spans hundreds of nats.
function drawLandscape(pen) {
  const { truth, model } = state;
  const { side, size } = model.cells;
  if (truth.color !== style("--truth")) {
    truth.color = style("--truth");
    truth.landscape = document.createElement("canvas");
    truth.landscape.width = truth.landscape.height = side;
    const picture = new ImageData(side, side);
    const best = truth.joint.reduce((most, value) => Math.max(most, value), -Infinity);
    const least = truth.joint.reduce((most, value) => Math.min(most, value), Infinity);
    const [red, green, blue] = truth.color
      .match(/\w\w/g)
      .map((digits) => parseInt(digits, 16));
    truth.joint.forEach((value, i) => {
      const row = side - 1 - Math.floor(i / side);
      const shade = (1 - Math.log1p(best - value) / Math.log1p(best - least)) ** 1.5;
      picture.data.set([red, green, blue, 255 * shade], 4 * (row * side + (i % side)));
    });
    truth.landscape.getContext("2d").putImageData(picture, 0, 0);
  }
  const view = whole();
  const half = (side * size) / 2;
  const extent = 2 * half * scale(view);
  pen.drawImage(
    truth.landscape,
    toLeft(view, -half),
    toTop(view, half),
    extent,
    extent,
  );
}

// p(z|x), the darker the denser
function drawTruth(pen, view) {
  pen.fillStyle = style("--truth");
  for (const { z, size, opacity } of visibleCells()) {
    const side = size * scale(view);
    pen.globalAlpha = opacity;
    pen.fillRect(left(z, view) - side / 2, top(z, view) - side / 2, side, side);
  }
  pen.globalAlpha = 1;
}
function visibleCells() {
  const { leaves } = state.truth;
  const most = leaves.reduce((best, { density }) => Math.max(best, density), 0);
  return leaves
    .map((leaf) => ({ ...leaf, opacity: leaf.density / most }))
    .filter(({ opacity }) => opacity > 0.01);
}

// The ellipses of 1σ and 2σ of q(z|x); dashed, those of the best q
function drawBeliefs(pen, view) {
  drawBelief(pen, view, state.q);
  if (!state.search?.gap) return;
  pen.setLineDash([4 * zoomOf(view.canvas), 4 * zoomOf(view.canvas)]);
  drawBelief(pen, view, state.search.gap.best);
  pen.setLineDash([]);
}
function drawBelief(pen, view, q) {
  const { dims } = state.model;
  const mean = dims.map((i) => q.z_mean[i]);
  const sigma = dims.map((i) => Math.exp(q.z_log_sigma[i]));
  outlined(pen, style("--accent"), 1.8 * zoomOf(view.canvas), () => {
    for (const n of [2, 1]) ellipse(pen, view, mean, [n * sigma[0], n * sigma[1]]);
  });
}

// The part of the plane that the lens shows: all of p(z|x) and q(z|x)
function lensView() {
  const beliefs = [state.q, state.search?.gap?.best].filter(Boolean);
  const points = visibleCells().map(({ z }) => z);
  for (const sigmas of [-2.5, 2.5]) {
    for (const q of beliefs) points.push(reparameterize(q, [sigmas, sigmas]));
  }
  const ends = [0, 1].map((axis) => {
    const values = points.map((z) => z[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  return {
    canvas: lens,
    center: ends.map(([least, most]) => (least + most) / 2),
    reach: 0.55 * Math.max(...ends.map(([least, most]) => most - least)),
  };
}

// A frame around what the lens magnifies
function drawFrame(pen, { center, reach }) {
  const view = whole();
  const half = Math.max(reach * scale(view), 6 * zoomOf(plane));
  const corner = [toLeft(view, center[0]) - half, toTop(view, center[1]) - half];
  outlined(pen, style("--truth"), 1.2 * zoomOf(plane), () => {
    pen.strokeRect(...corner, 2 * half, 2 * half);
  });
}

const lens = $("lens");
export function drawLens() {
  const pen = lens.getContext("2d");
  pen.clearRect(0, 0, lens.width, lens.height);
  if (!state.q || !state.truth || covered()) return;
  const view = lensView();
  drawTruth(pen, view);
  drawBeliefs(pen, view);
  drawSight(pen, left(state.z, view), top(state.z, view), lens.width / 30);
  const length = roundBelow((2 * view.reach) / 3); // of a scale
  const [from, base] = [lens.width * 0.06, lens.height * 0.94];
  outlined(pen, style("--ink"), 2 * zoomOf(lens), () => {
    pen.beginPath();
    pen.moveTo(from, base);
    pen.lineTo(from + length * scale(view), base);
    pen.stroke();
  });
  pen.font = `${lens.width / 11}px system-ui, sans-serif`;
  pen.textAlign = "left";
  pen.fillStyle = style("--ink");
  pen.fillText(String(Number(length.toPrecision(1))), from, base - lens.height * 0.04);
}

// z: crosshairs with an open middle
function drawSight(pen, x, y, radius) {
  outlined(pen, style("--accent"), radius / 3.3, () => {
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
  });
}

// The best place of a search
function drawFlag(pen, z) {
  const [x, y, size] = [left(z), top(z), plane.width / 35];
  outlined(pen, style("--ink"), 2 * zoomOf(plane), () => {
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x, y - 1.5 * size);
    pen.stroke();
  });
  pen.fillStyle = style("--truth");
  pen.beginPath();
  pen.moveTo(x, y - 1.6 * size);
  pen.lineTo(x + size, y - 1.2 * size);
  pen.lineTo(x, y - 0.8 * size);
  pen.fill();
}

// On a phone, where the decoded image is out of sight: it, beside x, in the upper corner
// that is farther from z, and the loss of a search
function drawInset(pen) {
  const zoom = Math.max(1, Math.round((80 * zoomOf(plane)) / Math.max(width, height)));
  const tile = fit(document.createElement("canvas"));
  const images = [image(state.z), state.shown?.x].filter(Boolean);
  const wide = images.length * (zoom * width + 4);
  const start = left(state.z) < plane.width / 2 ? plane.width - wide : 0;
  pen.imageSmoothingEnabled = false;
  images.forEach((x, i) => {
    paint(tile, x);
    const at = start + i * (zoom * width + 4);
    pen.fillStyle = style("--accent");
    pen.fillRect(at, 0, zoom * width + 4, zoom * height + 4);
    pen.drawImage(tile, at + 2, 2, zoom * width, zoom * height);
    const [middle, below] = [
      at + (zoom * width) / 2,
      zoom * height + 12 * zoomOf(plane),
    ];
    write(pen, ["decoded", "x"][i], middle, below, "center");
  });
  pen.imageSmoothingEnabled = true;
  if (!state.search) return;
  const place = [start + wide / 2, zoom * height + 32 * zoomOf(plane)];
  const font = { size: 16, weight: "bold" };
  write(pen, `${nats(state.search.loss)} nats`, ...place, "center", font);
}

function resize() {
  const size = Math.round(plane.clientWidth * window.devicePixelRatio);
  if (size === 0 || (size === plane.width && size === plane.height)) return;
  plane.width = plane.height = size;
  redraw();
}
new ResizeObserver(resize).observe(plane);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
