// Step 1: an image, drawn, opened or picked

import { drawBitmap, fit, pageImage, paint, readPixels, scratch } from "./canvas.js";
import { center, shrink, spread } from "./ink.js";
import { halt } from "./motion.js";
import { findInk } from "./photo.js";
import {
  $,
  asTrained,
  attach,
  channels,
  count,
  encodeImage,
  height,
  known,
  pixels,
  say,
  show,
  state,
  width,
} from "./state.js";

export function choose(subject) {
  halt();
  state.hovering = false;
  if (state.search) state.backdrop = null; // Its dots were dimmed.
  state.search = null;
  if (!state.inked && subject !== state.chosen) state.strokes = [];
  if (!state.inked && subject !== state.chosen) state.label = null; // that of the image
  state.chosen = subject;
  encodeImage(subject);
  attach();
  say("");
  latest++;
  $("pick").value = subject?.index === undefined ? "" : subject.index + 1;
  show();
}

const total = count.toLocaleString("en");
$("pick").max = count;
$("count").textContent = `of ${total}`;
$("pick").addEventListener("input", () => {
  const { value, validity } = $("pick");
  const exists = value !== "" && validity.valid;
  if (exists) choose(pageImage(value - 1));
  say(exists || value === "" ? "" : `Images are numbered 1 to ${total}.`);
});

function applyNoise() {
  $("sigma").value = Number($("noise").value).toFixed(2);
  encodeImage(state.shown);
  if (state.source === "cloud") attach();
  show();
}
export function clearNoise() {
  $("noise").value = 0;
  applyNoise();
}
$("noise").addEventListener("input", applyNoise);

// Files never leave the page. If the model knows centered digits, a photo is cut to its
// ink; other pictures are cropped around the middle.
let latest = 0; // counts what was chosen, so that a slow file does not come last
async function openFile(file) {
  latest++;
  const mine = latest;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    if (mine === latest) say(`This browser cannot read ${file.name} as an image.`);
    return;
  }
  if (mine === latest) chooseBitmap(bitmap, file.name);
  bitmap.close();
}
function chooseBitmap(bitmap, name) {
  const asItIs = bitmap.width === width && bitmap.height === height;
  if (known.centered && !asItIs) {
    const ink = inkOf(bitmap, "white") ?? inkOf(bitmap, "black");
    const x = ink ? center(ink.ink, ink.columns) : new Float64Array(pixels);
    choose({ x: asTrained(x), name });
    const turned = ink?.dark ? ", which became white on black" : "";
    say(ink ? `Cut to the ink${turned}.` : "No ink was found.");
    return;
  }
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  drawBitmap(bitmap, scratch, scale, "white");
  choose({ x: asTrained(readPixels(scratch)), name });
}
const PHOTO = 400; // pixels along the longer side in which ink is looked for
// background: of what is transparent
function inkOf(bitmap, background) {
  const scale = PHOTO / Math.max(bitmap.width, bitmap.height);
  const photo = document.createElement("canvas");
  photo.width = Math.max(1, Math.round(scale * bitmap.width));
  photo.height = Math.max(1, Math.round(scale * bitmap.height));
  drawBitmap(bitmap, photo, scale, background);
  const found = findInk(readPixels(photo), photo.width);
  return found && { ...found, columns: photo.width };
}
$("file").addEventListener("change", () => {
  if ($("file").files.length) openFile($("file").files[0]);
  $("file").value = "";
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
});

// The pad: white strokes on black, at several times the images' resolution
const pad = $("pad");
const zoom = Math.max(1, Math.ceil(280 / Math.max(height, width)));
const padPen = fit(pad, zoom, zoom).getContext("2d", { willReadFrequently: true });
const PEN = 0.085 * Math.max(pad.width, pad.height);
pad.ariaLabel = channels === 1 ? "Draw here" : "The image";

function drawStrokes(strokes) {
  padPen.fillStyle = "black";
  padPen.fillRect(0, 0, pad.width, pad.height);
  padPen.strokeStyle = "white";
  padPen.lineCap = padPen.lineJoin = "round";
  for (const { thickness, places } of strokes) {
    padPen.lineWidth = thickness;
    padPen.beginPath();
    padPen.moveTo(places[0][0] + 0.01, places[0][1]); // Lines of length 0 leave no dot.
    for (const [left, top] of places) padPen.lineTo(left, top);
    padPen.stroke();
  }
}

export function drawPad() {
  drawStrokes(state.strokes);
  if (state.strokes.length) return;
  if (state.chosen) {
    paint(scratch, state.chosen.x);
    padPen.imageSmoothingEnabled = false;
    padPen.globalAlpha = state.opening ? 0.35 : 1;
    padPen.drawImage(scratch, 0, 0, pad.width, pad.height);
    padPen.globalAlpha = 1;
  }
  if (state.chosen && !state.opening) return;
  padPen.fillStyle = state.opening ? "#ffffff" : "#a5a5b0";
  padPen.font = `${pad.width / 11}px system-ui, sans-serif`;
  padPen.textAlign = "center";
  const hint = channels === 3 ? "drop an image here" : "draw here";
  padPen.fillText(hint, pad.width / 2, pad.height / 2);
}

function readPad() {
  drawStrokes(known.centered ? spread(state.strokes, pad.width) : state.strokes);
  const ink = readPixels(pad);
  if (known.centered) return center(ink, pad.width);
  const whole = { left: 0, top: 0, width: pad.width, height: pad.height };
  return shrink(ink, pad.width, whole, width, height);
}

export function takeDrawing() {
  if (!state.inked) return;
  choose({ x: asTrained(readPad()), name: "your drawing" });
  state.inked = false;
}

function addPlaces(event) {
  const box = pad.getBoundingClientRect();
  const stroke = state.strokes.at(-1);
  // A pen's firmest pressure sets the thickness of its stroke.
  const pressure = event.pointerType === "pen" ? event.pressure : 0.5;
  stroke.thickness = Math.max(stroke.thickness, 2 * pressure * PEN);
  const events = event.getCoalescedEvents?.() ?? [];
  for (const { clientX, clientY } of events.length ? events : [event]) {
    const left = (clientX - box.left - pad.clientLeft) / pad.clientWidth;
    const top = (clientY - box.top - pad.clientTop) / pad.clientHeight;
    stroke.places.push([left * pad.width, top * pad.height]);
  }
  state.inked = true;
  show();
}
let stroking = false;
let replaced = null; // the image that a drawing replaced, for Undo
if (channels === 1) {
  pad.addEventListener("pointerdown", (event) => {
    if (event.button || !event.isPrimary) return;
    stroking = true;
    if (state.strokes.length === 0) replaced = state.chosen;
    state.strokes.push({ thickness: 0, places: [] });
    addPlaces(event);
  });
  document.addEventListener("pointermove", (event) => {
    if (stroking && state.strokes.length > 0 && event.isPrimary) addPlaces(event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, (event) => {
      if (event.isPrimary) stroking = false;
    });
  }
} else {
  pad.style.cursor = "default";
}
$("undo").addEventListener("click", () => {
  state.strokes.pop();
  state.inked = state.strokes.length > 0;
  if (state.inked) show();
  else choose(replaced);
});
$("clear").addEventListener("click", () => {
  state.inked = false;
  choose(null);
});
