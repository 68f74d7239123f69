// Steps 1 and 2: an image, and what the encoder believes

import { fit, heldOut, paint, readScratch, scratch, scratchPen } from "./canvas.js";
import { center, shrink } from "./ink.js";
import { halt } from "./motion.js";
import {
  $,
  asTrained,
  attach,
  channels,
  count,
  height,
  known,
  look,
  say,
  show,
  state,
  width,
} from "./state.js";

export function choose(subject) {
  halt();
  state.hovering = false;
  state.chosen = subject;
  look(subject);
  attach();
  if (!state.inked) state.strokes = [];
  $("pick").value = subject?.index === undefined ? "" : subject.index + 1;
  show();
}

$("pick").max = count;
$("pick").addEventListener("input", () => {
  const i = Number($("pick").value) - 1;
  if (Number.isInteger(i) && i >= 0 && i < count) choose(heldOut(i));
});

$("noise").addEventListener("input", () => {
  $("sigma").value = Number($("noise").value).toFixed(2);
  look(state.shown);
  if (state.shown === state.chosen) attach();
  show();
});

// Files are read in the page: cropped around the middle, with white behind transparency.
async function openFile(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    say(`This browser cannot read ${file.name} as an image.`);
    return;
  }
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  const [wide, high] = [scale * bitmap.width, scale * bitmap.height];
  scratchPen.fillStyle = "white";
  scratchPen.fillRect(0, 0, width, height);
  scratchPen.imageSmoothingQuality = "high";
  scratchPen.drawImage(bitmap, (width - wide) / 2, (height - high) / 2, wide, high);
  choose({ x: asTrained(readScratch()), name: file.name });
  say("");
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

export function drawPad() {
  padPen.fillStyle = "black";
  padPen.fillRect(0, 0, pad.width, pad.height);
  padPen.strokeStyle = "white";
  padPen.lineCap = padPen.lineJoin = "round";
  for (const { thickness, places } of state.strokes) {
    padPen.lineWidth = thickness;
    padPen.beginPath();
    padPen.moveTo(places[0][0] + 0.01, places[0][1]); // Lines of length 0 leave no dot.
    for (const [left, top] of places) padPen.lineTo(left, top);
    padPen.stroke();
  }
  if (state.strokes.length) return;
  if (state.chosen) {
    paint(scratch, state.chosen.x);
    padPen.imageSmoothingEnabled = false;
    padPen.drawImage(scratch, 0, 0, pad.width, pad.height);
  } else {
    padPen.fillStyle = "#a5a5b0";
    padPen.font = `${pad.width / 14}px system-ui, sans-serif`;
    padPen.textAlign = "center";
    const hint = channels === 3 ? "drop an image here" : "draw here";
    padPen.fillText(hint, pad.width / 2, pad.height / 2);
  }
}

function readPad() {
  const { data } = padPen.getImageData(0, 0, pad.width, pad.height);
  const ink = Float64Array.from(
    { length: data.length / 4 },
    (_, i) => data[4 * i] / 255,
  );
  if (known.centered) return center(ink, pad.width);
  const whole = { left: 0, top: 0, width: pad.width, height: pad.height };
  return shrink(ink, pad.width, whole, width, height);
}

export function takeDrawing() {
  if (!state.inked) return;
  drawPad();
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
if (channels === 1) {
  pad.addEventListener("pointerdown", (event) => {
    if (event.button || !event.isPrimary) return;
    stroking = true;
    state.strokes.push({ thickness: 0, places: [] });
    addPlaces(event);
  });
  document.addEventListener("pointermove", (event) => {
    if (stroking && event.isPrimary) addPlaces(event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, () => {
      stroking = false;
    });
  }
} else {
  pad.style.cursor = "default";
}
$("undo").addEventListener("click", () => {
  state.strokes.pop();
  state.inked = state.strokes.length > 0;
  if (state.inked) show();
  else choose(null);
});
$("clear").addEventListener("click", () => {
  state.inked = false;
  choose(null);
});
