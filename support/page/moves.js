// Step 3: z, by hand or drawn at random

import { pageImage } from "./canvas.js";
import { choose } from "./image.js";
import { halt, moveTo, start, startWalk } from "./motion.js";
import { plane, style } from "./pen.js";
import { nearest } from "./plane.js";
import { $, attach, calm, covered, redraw, show, state } from "./state.js";
import { normal, row } from "./vae.js";

const PER_SECOND = 5; // z drawn from q(z|x) per second
const MARKS = 200; // of them that stay on the map
const TOUR = 20; // seconds

// Where a pointer is on a square canvas, from −1 to 1 along both axes
function placeOn(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [
    (2 * (event.clientX - box.left)) / box.width - 1,
    1 - (2 * (event.clientY - box.top)) / box.height,
  ];
}
// The z at a place of the plane; its other dimensions stay
function zAt(right, up) {
  const { dims } = state.model;
  return state.z.with(dims[0], right).with(dims[1], up);
}
function pointedAt(event) {
  return zAt(...placeOn(plane, event).map((value) => state.model.reach * value));
}
let press = null; // where the pointer went down, and what z was before
plane.addEventListener("pointerdown", (event) => {
  if (event.button || !event.isPrimary) return;
  halt();
  press = { left: event.clientX, top: event.clientY, z: state.z, source: state.source };
  plane.setPointerCapture(event.pointerId);
  state.hovering = true;
  moveTo(pointedAt(event), "pointer");
});
plane.addEventListener("pointermove", (event) => {
  if (state.motion || !event.isPrimary) return;
  state.hovering = true;
  moveTo(pointedAt(event), "pointer");
});
plane.addEventListener("pointerup", (event) => {
  if (!press || state.search || !event.isPrimary) return;
  const moved = Math.hypot(event.clientX - press.left, event.clientY - press.top);
  // A finger cannot point at one of 2,000 dots.
  if (moved < 5 && event.pointerType !== "touch") pickNearest();
});
plane.addEventListener("pointercancel", () => {
  if (press) moveTo(press.z, press.source); // The finger scrolls the page instead.
});
plane.addEventListener("lostpointercapture", () => {
  press = null;
});
// After a touch, z stays; there is a button that takes it back.
plane.addEventListener("pointerleave", (event) => {
  if (event.pointerType === "mouse" && !state.motion && state.chosen) returnToImage();
});
$("back").addEventListener("click", returnToImage);
function returnToImage() {
  state.hovering = false;
  if (covered() && state.search.best) moveTo(state.search.best.z, "nowhere");
  attach();
  show();
}
function pickNearest() {
  const i = nearest();
  if (i >= 0) choose(pageImage(i));
}
const ARROWS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};
plane.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !state.search) pickNearest();
  if (!(event.key in ARROWS)) return;
  event.preventDefault();
  halt();
  state.hovering = true;
  const { dims, reach } = state.model;
  const step = reach / (event.shiftKey ? 12 : 60);
  const [right, up] = ARROWS[event.key];
  const place = zAt(state.z[dims[0]] + step * right, state.z[dims[1]] + step * up);
  moveTo(place, "pointer");
});

export function startTour() {
  const { tour, latentDim } = state.model;
  const stops = Array.from({ length: tour.length / latentDim }, (_, i) =>
    Float64Array.from(row(tour, i, latentDim)),
  );
  startWalk(stops, TOUR);
}
$("tour").addEventListener("click", startTour);
// One or the other on the map
for (const [id, other] of [
  ["grid", "true"],
  ["true", "grid"],
]) {
  $(id).addEventListener("change", () => {
    $(other).checked = false;
    redraw();
  });
}

// ε, in a disc of N(0, I)

const disc = $("epsilon");
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
  setEpsilon(...placeOn(disc, event).map((value) => EXTENT * value));
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
  // It has nothing to say while z is elsewhere.
  pen.globalAlpha = state.q && state.source === "cloud" ? 1 : 0.25;
  const [right, up] = state.model.dims.map((dim) => state.epsilon[dim]);
  pen.fillStyle = style("--accent");
  pen.beginPath();
  pen.arc(size / 2 + right * unit, size / 2 - up * unit, size / 22, 0, 2 * Math.PI);
  pen.fill();
  pen.globalAlpha = 1;
}

function drawFromCloud() {
  if (state.sheetsMarked) state.marks = [];
  state.sheetsMarked = false;
  state.epsilon = state.epsilon.map(normal);
  attach();
  state.marks = [...state.marks.slice(-MARKS), { z: state.z, filled: true }];
  show();
}
$("sample").addEventListener("click", () => {
  if (state.shown !== state.chosen) choose(state.shown);
  if (calm.matches) {
    halt();
    drawFromCloud();
    return;
  }
  state.marks = [];
  let draws = 0;
  start((time) => {
    if (draws > time * PER_SECOND) return;
    draws++;
    drawFromCloud();
  });
});
