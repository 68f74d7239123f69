// What is drawn in every frame, what depends on the data set, and how the page opens

import { setEnd } from "./between.js";
import { fit, pageImage, paint, sheet } from "./canvas.js";
import { addOwn, leaveOwn } from "./controls.js";
import { decimal } from "./format.js";
import { choose, drawPad, takeDrawing } from "./image.js";
import { showLabels } from "./labels.js";
import { computeCells, findTruth, showLoss } from "./loss.js";
import { addModel, describeModel, switchTo } from "./models.js";
import { halt } from "./motion.js";
import { drawDisc, startTour } from "./moves.js";
import { drawLens } from "./lens.js";
import { classColor, plane } from "./pen.js";
import { drawPlane, nearest } from "./plane.js";
import { showClouds, showSheets } from "./prior.js";
import { addPicks, followSearch } from "./search.js";
import {
  $,
  calm,
  channels,
  covered,
  encodeImage,
  image,
  known,
  models,
  painters,
  pixels,
  redraw,
  show,
  state,
} from "./state.js";

painters.push(takeDrawing, encodeNearZ, findTruth, followSearch, drawPad, drawPlane);
painters.push(drawLens, drawDisc, showImages, showNumbers, showLabels, showLoss);

// Without an image of step 1, the one near z
function encodeNearZ() {
  // A conditional model would draw another class at every dot.
  const idle = state.chosen || !state.hovering || state.model.given;
  const near = idle ? -1 : nearest();
  const subject = near < 0 ? state.chosen : pageImage(near);
  if (subject !== state.shown) encodeImage(subject);
}

const pair = (values, text = (value) => decimal(value, 2)) =>
  `(${state.model.dims.map((i) => text(values[i])).join(", ")})`;
// A small σ is not 0.
const widthText = (sigma) => (sigma < 0.01 ? sigma.toPrecision(1) : sigma.toFixed(2));

function showImages() {
  const { input, shown, z } = state;
  paint($("picture"), image(z));
  const near = shown === state.chosen ? "" : ", close to z";
  $("name").textContent = shown ? `, ${shown.name}${near}` : "";
  if (shown) {
    paint($("input"), input);
    paint($("original"), shown.x);
  } else {
    for (const id of ["input", "original"]) fit($(id));
  }
}

// Where z comes from, and so the decoded image
const WHERE = {
  cloud: ["Point at the map.", "decoded from z"],
  nowhere: ["Point at the map.", "decoded from z"],
  pointer: ["z is where you point.", "decoded where you point"],
  slider: ["z is where you put it.", "decoded where you put z"],
  motion: ["z moves by itself.", "decoded on the tour"],
};
function showNumbers() {
  const { epsilon, model, q, source, z } = state;
  const index = model.latentDim === 2 ? "" : `[${model.dims}]`;
  $("z").value = `${index && `z${index} = `}${pair(z)}`;
  const attached = q !== null && source === "cloud" && !covered();
  $("where").textContent = attached
    ? `z = z_mean + σ·ε. Drag ε${index} ${pair(epsilon)}.`
    : WHERE[source][0];
  $("decoded").textContent = WHERE[source][1];
  $("back").hidden = q === null || source === "cloud" || covered();
  for (const slider of $("sliders").querySelectorAll("input")) {
    slider.value = z[slider.dataset.dim];
  }
  $("undo").disabled = state.strokes.length === 0;
  $("clear").disabled = state.chosen === null;
  for (const id of ["sample", "A", "B"]) $(id).disabled = q === null || covered();
  const sigma = q?.z_log_sigma.map(Math.exp);
  $("cloud").hidden = q === null || covered();
  $("belief").value = q
    ? `z_mean ${pair(q.z_mean)}, σ ${pair(sigma, widthText)}`
    : "Each dot on the map is an image: click one.";
  if (covered()) $("belief").value = "The encoder's cloud is hidden while you search.";
}

// What depends on the data set

for (const id of ["picture", "input", "original"]) fit($(id));
const [article, what] = known.centered ? ["a", "digit"] : ["an", "image"];
$("invitation").textContent =
  channels === 1
    ? `Draw ${article} ${what}. The encoder turns it into a small cloud on the map; the decoder turns points into ${what}s.`
    : `Pick an image. The encoder turns it into a small cloud on the map; the decoder turns points into images.`;
if (models[0].given && known.centered) {
  $("invitation").textContent =
    "Draw a digit, and the decoder writes all ten in your handwriting: it is given z and a label.";
}
$("howto").textContent =
  channels === 1 ? "– draw, open, or click a dot" : "– open one, or click a dot";
$("numbers").textContent = pixels.toLocaleString("en");
$("fitting").textContent = known.centered
  ? "Like MNIST's digits, drawings are scaled to 20 × 20 pixels and centered by mass in 28 × 28."
  : "";

known.classes.forEach((name, i) => {
  const label = document.createElement("label");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.autocomplete = "off";
  box.checked = true;
  box.addEventListener("change", () => {
    if (box.checked) state.hidden.delete(i);
    else state.hidden.add(i);
    redraw();
  });
  box.style.accentColor = classColor(i, "var(--whiten)");
  label.append(box, " ", name);
  $("legend").append(label);
});

for (const model of models) {
  addModel(model.name || "as trained", () => {
    leaveOwn();
    switchTo(model);
  });
}
describeModel();

// The page opens with an image and a tour, which ends with the first touch or key.

async function open() {
  await sheet.decode();
  addPicks();
  addOwn();
  choose(pageImage(known.picks[0]));
  setEnd("A", pageImage(known.picks[0]));
  setEnd("B", pageImage(known.picks[1]));
  showSheets();
  if (!calm.matches) startTour();
  show();
  await computeCells();
  if (state.model.points === models[0].points) showClouds();
}
function endOpening() {
  if (!state.opening) return;
  state.opening = false;
  halt();
  show();
}
// In the capturing phase: before what the touch or the key does
for (const type of ["pointerdown", "keydown", "drop"]) {
  document.addEventListener(type, endOpening, { capture: true });
}
plane.addEventListener("pointerenter", endOpening, { capture: true });

// Formulas fold when something else is touched, or with Escape.
function fold(except) {
  for (const details of document.querySelectorAll("details[open]")) {
    if (!details.contains(except)) details.open = false;
  }
}
document.addEventListener("pointerdown", (event) => fold(event.target));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") fold(null);
});
open();
