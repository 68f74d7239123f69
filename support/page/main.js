// What is drawn in every frame, and what depends on the data set

import { fit, heldOut, paint, sheet } from "./canvas.js";
import { drawPad, takeDrawing } from "./image.js";
import { halt } from "./motion.js";
import { computeCells, findTruth, showLoss } from "./loss.js";
import { drawDisc, switchTo } from "./moves.js";
import { classColor, drawLens, drawPlane, nearest } from "./plane.js";
import {
  $,
  channels,
  image,
  known,
  look,
  models,
  painters,
  pixels,
  redraw,
  show,
  state,
} from "./state.js";

painters.push(
  takeDrawing,
  lookNearZ,
  findTruth,
  drawPad,
  drawPlane,
  drawLens,
  drawDisc,
);
painters.push(showImages, showNumbers, showLoss);

function lookNearZ() {
  const near = state.hovering ? nearest() : -1;
  const subject = near < 0 ? state.chosen : heldOut(near);
  if (subject !== state.shown) look(subject);
}

const rounded = (value) => value.toFixed(2).replace("-", "−");
const pair = (z) => `(${state.model.dims.map((i) => rounded(z[i])).join(", ")})`;

function showImages() {
  const { seen, shown, z } = state;
  paint($("picture"), image(z));
  $("name").textContent = shown?.name ?? "\u00a0";
  if (shown) {
    paint($("seen"), seen);
    paint($("original"), shown.x);
  } else {
    for (const id of ["seen", "original"]) fit($(id));
  }
}

function showNumbers() {
  const { epsilon, model, q, z } = state;
  const index = model.latentDim === 2 ? "" : `[${model.dims}]`;
  $("z").value = `z${index} = ${pair(z)}`;
  $("drawn").value = `ε${index} = ${pair(epsilon)}`;
  for (const slider of $("sliders").querySelectorAll("input")) {
    slider.value = z[slider.dataset.dim];
  }
  $("undo").disabled = state.strokes.length === 0;
  $("clear").disabled = state.chosen === null;
  for (const id of ["sample", "A", "B"]) $(id).disabled = q === null;
  const sigma = q?.z_log_sigma.map(Math.exp);
  $("belief").value = q ? `z_mean ${pair(q.z_mean)}, σ ${pair(sigma)}` : "\u00a0";
}

for (const id of ["picture", "seen", "original"]) fit($(id));
fit($("row"), 9);
fit($("sheet"), 5, 5);
const what = known.centered ? "a digit" : "an image";
const [invitation, howto] =
  channels === 1
    ? [`Draw ${what} and`, "Draw, drop an image file, or pick one."]
    : ["Pick an image and", "Drop an image file, or pick one."];
$("invitation").textContent = `${invitation} see how the model encodes it.`;
$("howto").textContent = howto;
$("numbers").textContent = pixels.toLocaleString("en");
$("fitting").textContent = known.centered
  ? "Like MNIST's digits, drawings are scaled to 20 × 20 pixels and centered by mass in 28 × 28."
  : "";

known.classes.forEach((name, i) => {
  const label = document.createElement("label");
  const box = document.createElement("input");
  const swatch = document.createElement("span");
  box.type = "checkbox";
  box.checked = true;
  box.addEventListener("change", () => {
    if (box.checked) state.hidden.delete(i);
    else state.hidden.add(i);
    redraw();
  });
  swatch.className = "swatch";
  swatch.style.background = classColor(i, "var(--whiten)");
  label.append(box, " ", swatch, " ", name);
  $("legend").append(label);
});

// What depends on the model

models.forEach((model, i) => {
  const label = document.createElement("label");
  const button = document.createElement("input");
  button.type = "radio";
  button.name = "model";
  button.checked = i === 0;
  button.addEventListener("change", () => {
    switchTo(model);
    describeModel();
  });
  label.append(button, " ", model.name);
  $("models").append(label);
});
$("models").hidden = models.length === 1;

function describeModel() {
  const { beta, latentDim } = state.model;
  $("beta").textContent = beta === 1 ? "" : `${beta} · `;
  // With β ≠ 1 the loss is not the bound.
  $("bound").textContent = beta === 1 ? "loss" : "reconstruction + KL";
  $("true").disabled = latentDim !== 2;
  addSliders();
}

function addSliders() {
  const { dims, latentDim, reach } = state.model;
  $("sliders").replaceChildren();
  for (let i = 0; i < latentDim; i++) {
    if (dims.includes(i)) continue;
    const label = document.createElement("label");
    const slider = document.createElement("input");
    slider.type = "range";
    slider.min = -reach;
    slider.max = reach;
    slider.step = "any";
    slider.dataset.dim = i;
    slider.addEventListener("input", () => {
      halt();
      state.z = state.z.with(i, Number(slider.value));
      if ($("grid").checked) redraw();
      else show();
    });
    label.append(`z[${i}] `, slider);
    $("sliders").append(label);
  }
}
describeModel();
$("true").addEventListener("change", show);
sheet.decode().then(show);
computeCells();
