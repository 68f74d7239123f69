// A conditional model: which label it is given, and the same z with every label

import { encodeEnds, showRow } from "./between.js";
import { fit, paintTiles, tileAt } from "./canvas.js";
import { halt, moveTo } from "./motion.js";
import { $, attach, encodeImage, image, known, redraw, show, state } from "./state.js";

const COLUMNS = Math.min(5, known.classNames.length);
const ROWS = Math.ceil(known.classNames.length / COLUMNS);
const FOUND = "found by the model";

function give(label) {
  state.label = label;
  state.model = state.model.given[label ?? state.model.label];
  encodeImage(state.shown);
  encodeEnds();
  if (state.source === "cloud") attach();
  show();
}

const buttons = ["auto", ...known.classNames].map((name, i) => {
  const label = document.createElement("label");
  const button = document.createElement("input");
  button.type = "radio";
  button.name = "label";
  button.autocomplete = "off";
  button.checked = i === 0;
  button.addEventListener("change", () => give(i === 0 ? null : i - 1));
  label.append(button, " ", name);
  $("labels").append(label);
  return button;
});

// A painter
let painted = null; // the model when something was last drawn that depends on the label
export function showLabels() {
  const { label, model, shown, z } = state;
  $("label-row").hidden = $("every").hidden = !model.given;
  if (!model.given) return;
  buttons[label === null ? 0 : label + 1].checked = true;
  const name = known.classNames[model.label];
  const source = shown?.index === undefined ? FOUND : "that of the image";
  $("given").textContent = label === null && shown ? `${name}, ${source}` : name;
  paintTiles(
    $("every-label"),
    model.given.map((_, i) => image(z, i)),
    COLUMNS,
  );
  if (model === painted) return;
  painted = model;
  showRow();
  if ($("grid").checked) redraw();
}

fit($("every-label"), COLUMNS, ROWS);
// A click on a picture gives its label, and leaves z where it is.
$("every-label").addEventListener("click", (event) => {
  const label = tileAt(event, COLUMNS, ROWS);
  if (label >= known.classNames.length) return;
  halt();
  const { z } = state;
  give(label);
  moveTo(z, "slider");
});
