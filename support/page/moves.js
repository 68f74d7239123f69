// Step 3: z, by hand or drawn at random

import { fit, heldOut, paint, paintTiles } from "./canvas.js";
import { choose } from "./image.js";
import { halt, moveTo, start, startWalk } from "./motion.js";
import { nearest, plane } from "./plane.js";
import { $, calm, image, known, redraw, show, state } from "./state.js";
import { floats, interpolate, normal, reparameterize } from "./vae.js";

const DRAWS = 5; // z drawn from q(z|x) per second

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

function drawFromBelief() {
  state.drawn = reparameterize(state.q, state.q.z_mean.map(normal));
  state.z = state.drawn;
  state.marks.push(state.drawn);
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
    if (!state.q || draws > time * DRAWS) return;
    draws++;
    drawFromBelief();
  });
});

$("grid").addEventListener("change", redraw);

// From A to B, and images that nobody drew

for (const letter of ["A", "B"]) {
  const canvas = fit($(letter).firstElementChild);
  $(letter).addEventListener("click", () => {
    const { ends } = state;
    ends[letter] = state.q.z_mean;
    paint(canvas, state.shown.x);
    if (ends.A && ends.B) {
      halt();
      state.path = interpolate(ends.A, ends.B, 9);
      paintTiles($("row"), state.path.map(image), 9);
      $("walk").disabled = false;
    }
    show();
  });
}
$("dream").addEventListener("click", () => {
  halt();
  state.marks = Array.from({ length: 25 }, () => state.z.map(normal));
  paintTiles($("sheet"), state.marks.map(image), 5);
  show();
});
