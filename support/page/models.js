// The models to choose from, and what depends on the one shown

import { encodeEnds } from "./between.js";
import { halt, moveTo } from "./motion.js";
import { markSheets, showClouds, showSheets } from "./prior.js";
import { endSearch, renewBest } from "./search.js";
import { $, attach, encodeImage, redraw, show, state } from "./state.js";

export function addModel(name, choose) {
  const label = document.createElement("label");
  const button = document.createElement("input");
  button.type = "radio";
  button.name = "model";
  button.autocomplete = "off"; // Back and reload would bring back another choice.
  button.checked = $("models").children.length === 0;
  button.addEventListener("change", choose);
  label.append(button, " ", name);
  $("models").append(label);
}

// Another model, with the same image
export function switchTo(model) {
  halt();
  endSearch();
  state.model = model.given?.[state.label ?? 0] ?? model;
  if (state.z.length !== model.latentDim) {
    state.z = new Float64Array(model.latentDim);
    state.epsilon = new Float64Array(model.latentDim);
  }
  state.source = "cloud";
  describeModel();
  refresh();
  showClouds();
}

// The same image and the same draws of the prior, after the model has changed
export function refresh() {
  const { sheetsMarked, shown } = state;
  encodeEnds();
  encodeImage(shown);
  renewBest();
  showSheets();
  if (sheetsMarked) markSheets();
  if (state.source === "cloud") attach();
  redraw();
}

export function describeModel() {
  const { latentDim } = state.model;
  for (const [name, text] of [
    ["given", "|y"],
    ["also-given", ",y"],
  ]) {
    for (const span of document.querySelectorAll(`.${name}`)) {
      span.textContent = state.model.given ? text : "";
    }
  }
  $("true").disabled = $("find-section").hidden = latentDim !== 2;
  if (latentDim !== 2) $("true").checked = false;
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
      moveTo(state.z.with(i, Number(slider.value)), "slider");
      if ($("grid").checked) redraw();
      else show();
    });
    label.append(`z[${i}] `, slider);
    $("sliders").append(label);
  }
}
