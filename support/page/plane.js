// The map, which is the latent plane: clouds, ellipses, z

import { drawBackdrop } from "./backdrop.js";
import { fit, paint } from "./canvas.js";
import { nats } from "./format.js";
import { lensView } from "./lens.js";
import {
  drawBeliefs,
  drawSight,
  left,
  outlined,
  plane,
  scale,
  style,
  toLeft,
  toTop,
  top,
  whole,
  write,
  zoomOf,
} from "./pen.js";
import {
  $,
  classOf,
  count,
  covered,
  height,
  image,
  narrow,
  point,
  redraw,
  state,
  width,
} from "./state.js";

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

// A frame around what the lens magnifies
function drawFrame(pen, { center, reach }) {
  const view = whole();
  const half = Math.max(reach * scale(view), 6 * zoomOf(plane));
  const corner = [toLeft(view, center[0]) - half, toTop(view, center[1]) - half];
  outlined(pen, style("--truth"), 1.2 * zoomOf(plane), () => {
    pen.strokeRect(...corner, 2 * half, 2 * half);
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
