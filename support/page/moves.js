// Step 3: z, by hand or drawn at random

import { fit, heldOut, paint, paintTiles } from "./canvas.js";
import { choose } from "./image.js";
import { halt, moveTo, start, startWalk } from "./motion.js";
import { nearest, plane, style } from "./plane.js";
import { $, attach, calm, image, known, look, redraw, show, state } from "./state.js";
import { encode, floats, interpolate, normal } from "./vae.js";

const PER_SECOND = 5; // z drawn from q(z|x) per second

// The z at a place of the plane; its other dimensions stay
function zAt(across, up) {
  const z = state.z.slice();
  [z[state.model.dims[0]], z[state.model.dims[1]]] = [across, up];
  return z;
}
function pointedAt(event) {
  const box = plane.getBoundingClientRect();
  const { reach } = state.model;
  return zAt(
    reach * ((2 * (event.clientX - box.left)) / box.width - 1),
    reach * (1 - (2 * (event.clientY - box.top)) / box.height),
  );
}
let dragging = false;
plane.addEventListener("pointerdown", (event) => {
  if (event.button || !event.isPrimary) return;
  halt();
  state.hovering = dragging = true;
  plane.setPointerCapture(event.pointerId);
  state.path = [];
  moveTo(pointedAt(event));
});
plane.addEventListener("pointermove", (event) => {
  if (state.motion) return;
  state.hovering = true;
  moveTo(pointedAt(event));
  if (dragging) state.path.push(state.z);
});
plane.addEventListener("lostpointercapture", () => {
  dragging = false;
  const { path, model } = state;
  const extent = (i) => Math.max(...path.map((z) => Math.abs(z[i] - path[0][i])));
  if (Math.max(...model.dims.map(extent)) < model.reach / 100) pickNearest(); // a click
  $("walk").disabled = state.path.length < 2;
});
plane.addEventListener("pointerleave", () => {
  if (state.chosen) state.hovering = false;
  show();
});
function pickNearest() {
  state.path = [];
  const i = nearest();
  if (i >= 0) choose(heldOut(i));
}
export const ARROWS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};
plane.addEventListener("keydown", (event) => {
  if (event.key === "Enter") pickNearest();
  if (!(event.key in ARROWS)) return;
  event.preventDefault();
  halt();
  state.hovering = true;
  const { dims, reach } = state.model;
  const step = reach / (event.shiftKey ? 12 : 60);
  const [right, up] = ARROWS[event.key];
  moveTo(zAt(state.z[dims[0]] + step * right, state.z[dims[1]] + step * up));
});

$("walk").addEventListener("click", () => {
  const { path } = state;
  const back = path.slice(1, -1).reverse(); // so that the walk is closed
  startWalk([...path, ...back], Math.max(2, path.length / 15));
});
$("tour").addEventListener("click", () => {
  const { tour, latentDim } = state.model;
  const values = Float64Array.from(floats(tour));
  const stops = Array.from({ length: values.length / latentDim }, (_, i) =>
    values.slice(i * latentDim, (i + 1) * latentDim),
  );
  state.path = [...stops, stops[0]];
  $("walk").disabled = false;
  startWalk(stops, known.seconds);
});

// ε, in a disc of N(0, I)

export const disc = $("epsilon");
const EXTENT = 3; // standard deviations from the middle of the disc to its edge
function setEpsilon(right, up) {
  halt();
  if (state.shown !== state.chosen) choose(state.shown);
  const { dims } = state.model;
  const scale = Math.min(1, EXTENT / Math.hypot(right, up));
  state.epsilon = state.epsilon.with(dims[0], scale * right).with(dims[1], scale * up);
  attach();
  show();
}
function followPointer(event) {
  const box = disc.getBoundingClientRect();
  setEpsilon(
    EXTENT * ((2 * (event.clientX - box.left)) / box.width - 1),
    EXTENT * (1 - (2 * (event.clientY - box.top)) / box.height),
  );
}
disc.addEventListener("pointerdown", (event) => {
  if (event.button || !event.isPrimary) return;
  disc.setPointerCapture(event.pointerId);
  followPointer(event);
});
disc.addEventListener("pointermove", (event) => {
  if (disc.hasPointerCapture(event.pointerId)) followPointer(event);
});
disc.addEventListener("keydown", (event) => {
  if (!(event.key in ARROWS)) return;
  event.preventDefault();
  const [right, up] = state.model.dims.map((dim) => state.epsilon[dim]);
  const step = event.shiftKey ? 0.5 : 0.1;
  setEpsilon(right + step * ARROWS[event.key][0], up + step * ARROWS[event.key][1]);
});

export function drawDisc() {
  const [pen, size] = [disc.getContext("2d"), disc.width];
  const unit = size / 2 / EXTENT;
  pen.clearRect(0, 0, size, size);
  pen.fillStyle = style("--soft");
  for (let radius = EXTENT; radius > 0; radius -= 0.1) {
    // Rings, each darker than the one around it, add up to the density.
    pen.globalAlpha = 0.04 * radius * Math.exp(-(radius ** 2) / 2);
    pen.beginPath();
    pen.arc(size / 2, size / 2, radius * unit, 0, 2 * Math.PI);
    pen.fill();
  }
  pen.globalAlpha = 1;
  const [right, up] = state.model.dims.map((dim) => state.epsilon[dim]);
  pen.fillStyle = style("--accent");
  pen.beginPath();
  pen.arc(size / 2 + right * unit, size / 2 - up * unit, size / 22, 0, 2 * Math.PI);
  pen.fill();
}

function drawFromBelief() {
  state.epsilon = state.epsilon.map(normal);
  attach();
  state.marks.push(state.z);
  show();
}
$("sample").addEventListener("click", () => {
  if (state.shown !== state.chosen) choose(state.shown);
  if (calm.matches) {
    halt();
    drawFromBelief();
    return;
  }
  state.marks = [];
  let draws = 0;
  start((time) => {
    if (!state.q) halt();
    if (!state.q || draws > time * PER_SECOND) return;
    draws++;
    drawFromBelief();
  });
});

$("grid").addEventListener("change", redraw);

// From A to B, and images that nobody drew

for (const letter of ["A", "B"]) {
  const canvas = fit($(letter).firstElementChild);
  $(letter).addEventListener("click", () => {
    const { x } = state.shown;
    halt();
    state.ends[letter] = { x, z: encode(state.model, x).z_mean };
    paint(canvas, x);
    showRow();
    show();
  });
}
function showRow() {
  const { A, B } = state.ends;
  if (!A || !B) return;
  state.path = interpolate(A.z, B.z, 9);
  paintTiles($("row"), state.path.map(image), 9);
  $("walk").disabled = false;
}
$("dream").addEventListener("click", () => {
  halt();
  state.marks = Array.from({ length: 25 }, () => state.z.map(normal));
  paintTiles($("sheet"), state.marks.map(image), 5);
  show();
});

// Another model, with the same image

export function switchTo(model) {
  halt();
  state.model = model;
  state.path = [];
  state.hovering = false;
  $("walk").disabled = true;
  if (state.z.length !== model.latentDim) {
    state.z = new Float64Array(model.latentDim);
    state.epsilon = new Float64Array(model.latentDim);
  }
  for (const end of Object.values(state.ends)) end.z = encode(model, end.x).z_mean;
  showRow();
  look(state.chosen);
  attach();
  redraw();
}
