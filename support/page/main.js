// What is drawn in every frame, and what depends on the data set

import { fit, heldOut, paint, sheet } from "./canvas.js";
import { drawPad, takeDrawing } from "./image.js";
import { halt } from "./motion.js";
import "./moves.js";
import { drawPlane, nearest } from "./plane.js";
import {
  $,
  channels,
  image,
  known,
  look,
  painters,
  pixels,
  redraw,
  show,
  state,
} from "./state.js";
import { decode, klDivergence, reconstructionLoss, sigmoid } from "./vae.js";

painters.push(takeDrawing, lookNearZ, drawPad, drawPlane, showNumbers, showLoss);

function lookNearZ() {
  const near = state.hovering ? nearest() : -1;
  const subject = near < 0 ? state.chosen : heldOut(near);
  if (subject !== state.shown) look(subject);
}

const rounded = (value) => value.toFixed(2).replace("-", "−");
const pair = (z) => `(${state.model.dims.map((i) => rounded(z[i])).join(", ")})`;

function showNumbers() {
  const { model, q, z } = state;
  paint($("picture"), image(z));
  $("z").value = `z${model.latentDim === 2 ? "" : `[${model.dims}]`} = ${pair(z)}`;
  for (const slider of $("sliders").querySelectorAll("input")) {
    slider.value = z[slider.dataset.dim];
  }
  $("undo").disabled = state.strokes.length === 0;
  $("clear").disabled = state.chosen === null;
  for (const id of ["sample", "A", "B"]) $(id).disabled = q === null;
  $("belief").value = q
    ? `z_mean ${pair(q.z_mean)}, σ ${pair(q.z_log_sigma.map(Math.exp))}, z_log_sigma ${pair(q.z_log_sigma)}`
    : "\u00a0";
}

function showLoss() {
  const { drawn, model, q, seen, shown } = state;
  if (!q) {
    for (const id of ["seen", "original", "reconstruction"]) fit($(id));
    for (const id of ["reconstruction-loss", "kl", "total"]) $(id).textContent = "–";
    $("name").textContent = "\u00a0";
    return;
  }
  const logits = decode(model, drawn ?? q.z_mean);
  paint($("seen"), seen);
  paint($("original"), shown.x);
  paint($("reconstruction"), logits.map(sigmoid));
  const reconstruction = reconstructionLoss(shown.x, logits);
  const kl = klDivergence(q);
  $("name").textContent = shown.name;
  $("reconstruction-loss").textContent = reconstruction.toFixed(2);
  $("kl").textContent = kl.toFixed(2);
  $("total").textContent = (reconstruction + model.beta * kl).toFixed(2);
}

for (const id of ["picture", "seen", "original", "reconstruction"]) fit($(id));
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
$("beta").textContent = state.model.beta === 1 ? "" : `${state.model.beta} · `;

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
  swatch.style.background = known.colors[i % known.colors.length];
  label.append(box, " ", swatch, " ", name);
  $("legend").append(label);
});

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
      state.drawn = null;
      if ($("grid").checked) redraw();
      else show();
    });
    label.append(`z[${i}] `, slider);
    $("sliders").append(label);
  }
}
addSliders();
sheet.decode().then(show);
