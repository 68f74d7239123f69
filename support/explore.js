"use strict";
// The page: what is on it, what moves it. The VAE itself is in explore_vae.js.

const $ = (id) => document.getElementById(id);
const known = JSON.parse($("data").textContent);
const [height, width, channels = 1] = known.shape;
const unpack = ({ activation, kernel, bias }) => ({
  activation,
  kernel: floats(kernel, known.bits),
  bias: floats(bias, known.bits),
});
const vae = {
  hidden: known.hidden.map(unpack),
  z_mean: unpack(known.z_mean),
  z_log_sigma: unpack(known.z_log_sigma),
  decoder: known.decoder.map(unpack),
};
const image = (z) => decode(vae, z).map(sigmoid);
const pixels = height * width * channels;
const epsilon = Float64Array.from({ length: pixels }, normal);
const thresholds = Float64Array.from({ length: pixels }, Math.random);
const DRAWS = 5; // z that are drawn from q(z|x) per second
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

// The held-out images: all in one picture, and their points
const dim = known.latentDim;
const [across, up] = known.dims;
const points = floats(known.z);
const count = points.length / dim;
const point = (i) => points.subarray(i * dim, (i + 1) * dim);
const classOf = (i) => (known.labels ? known.labels[i] : 0);
const sheet = new Image();
sheet.src = known.sheet;

// What is shown
const z = new Float64Array(dim); // the point that the decoder draws
let chosen = null; // the image of step 1, a { x, name }
let shown = null; // that, or the held-out image near the pointer
let seen = null; // its pixels as the encoder sees them
let q = null; // what the encoder believes, { z_mean, z_log_sigma }
let drawn = null; // the last z drawn from q
let hovering = false; // whether a held-out image near z is to be shown
let marks = []; // the z that were drawn
let path = []; // the z to walk along
let motion = null; // what moves z by itself
const strokes = []; // on the pad
let inked = false; // since the last frame
const ends = {}; // A and B, a z each
const hidden = new Set(); // classes that are not shown

// Pictures

function fit(canvas, columns = 1, rows = 1) {
  [canvas.width, canvas.height] = [columns * width, rows * height];
  return canvas;
}

function paint(canvas, x, left = 0, top = 0) {
  const picture = new ImageData(width, height);
  picture.data.fill(255);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      picture.data[4 * i + c] = 255 * x[channels === 3 ? 3 * i + c : i];
    }
  }
  canvas.getContext("2d").putImageData(picture, left, top);
}

function paintTiles(canvas, images, columns) {
  fit(canvas, columns, Math.ceil(images.length / columns));
  images.forEach((x, i) => {
    paint(canvas, x, (i % columns) * width, Math.floor(i / columns) * height);
  });
}

const scratch = fit(document.createElement("canvas"));
const scratchPen = scratch.getContext("2d", { willReadFrequently: true });
function readScratch() {
  const { data } = scratchPen.getImageData(0, 0, width, height);
  return Float64Array.from({ length: pixels }, (_, k) => {
    if (channels === 3) return data[4 * Math.floor(k / 3) + (k % 3)] / 255;
    const [red, green, blue] = data.subarray(4 * k, 4 * k + 3);
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
  });
}

function heldOut(i) {
  if (shown?.index === i) return shown;
  const [left, top] = [
    (i % known.columns) * width,
    Math.floor(i / known.columns) * height,
  ];
  scratchPen.drawImage(sheet, left, top, width, height, 0, 0, width, height);
  const name = known.labels ? `class ${known.classNames[classOf(i)]}` : "held out";
  return { x: asTrained(readScratch()), name, index: i };
}

// A VAE trained with --binarize knows images of drawn pixels only.
function asTrained(x) {
  return known.binarize ? x.map((value, i) => Number(thresholds[i] < value)) : x;
}

// Step 1 and 2: an image, and what the encoder believes

function look(subject) {
  shown = subject;
  drawn = q = seen = null;
  marks = [];
  if (!subject) return;
  seen = corrupt(subject.x, Number($("noise").value), epsilon);
  q = encode(vae, seen);
}

function choose(subject) {
  halt();
  hovering = false;
  chosen = subject;
  look(subject);
  if (q) z.set(q.z_mean);
  if (!inked) strokes.length = 0;
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
  look(shown);
  if (shown === chosen && q) z.set(q.z_mean);
  show();
});

// Files are read in the page: cropped round the middle, what is transparent on white.
async function openFile(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    say(`${file.name} is no image that this browser can read.`);
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
function say(text) {
  $("status").textContent = text;
}

// The pad: white strokes on black, at several times the images' resolution
const pad = $("pad");
const zoom = Math.max(1, Math.ceil(280 / Math.max(height, width)));
const padPen = fit(pad, zoom, zoom).getContext("2d", { willReadFrequently: true });
const PEN = 0.085 * Math.max(pad.width, pad.height);

function drawPad() {
  padPen.fillStyle = "black";
  padPen.fillRect(0, 0, pad.width, pad.height);
  padPen.strokeStyle = "white";
  padPen.lineCap = padPen.lineJoin = "round";
  for (const { thickness, places } of strokes) {
    padPen.lineWidth = thickness;
    padPen.beginPath();
    padPen.moveTo(places[0][0] + 0.01, places[0][1]); // A line of no length is no dot.
    for (const [left, top] of places) padPen.lineTo(left, top);
    padPen.stroke();
  }
  if (strokes.length) return;
  if (chosen) {
    paint(scratch, chosen.x);
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
  if (known.centred) return centre(ink, pad.width);
  const whole = { left: 0, top: 0, width: pad.width, height: pad.height };
  return shrink(ink, pad.width, whole, width, height);
}

function addPlaces(event) {
  const box = pad.getBoundingClientRect();
  const stroke = strokes.at(-1);
  // A pen's firmest pressure makes its stroke thick or thin.
  const pressure = event.pointerType === "pen" ? event.pressure : 0.5;
  stroke.thickness = Math.max(stroke.thickness, 2 * pressure * PEN);
  const events = event.getCoalescedEvents?.() ?? [];
  for (const { clientX, clientY } of events.length ? events : [event]) {
    const left = (clientX - box.left - pad.clientLeft) / pad.clientWidth;
    const top = (clientY - box.top - pad.clientTop) / pad.clientHeight;
    stroke.places.push([left * pad.width, top * pad.height]);
  }
  inked = true;
  show();
}
let stroking = false;
if (channels === 1) {
  pad.addEventListener("pointerdown", (event) => {
    if (event.button || !event.isPrimary) return;
    stroking = true;
    strokes.push({ thickness: 0, places: [] });
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
  strokes.pop();
  inked = strokes.length > 0;
  if (inked) show();
  else choose(null);
});
$("clear").addEventListener("click", () => {
  inked = false;
  choose(null);
});

// The plane
const plane = $("plane");
let backdrop = null;
const toPixel = (value) => ((value / known.reach + 1) / 2) * plane.width;
const x = (value) => toPixel(value);
const y = (value) => toPixel(-value);
const style = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name);

function write(pen, text, left, top, align) {
  pen.font = `${(11 * plane.width) / plane.clientWidth}px system-ui, sans-serif`;
  pen.textAlign = align;
  pen.textBaseline = "middle";
  pen.lineWidth = plane.width / 90;
  pen.lineJoin = "round";
  pen.strokeStyle = style("--paper");
  pen.strokeText(text, left, top);
  pen.fillStyle = style("--ink");
  pen.fillText(text, left, top);
}

function ellipse(pen, centre, radii) {
  const scale = plane.width / 2 / known.reach;
  pen.beginPath();
  pen.ellipse(
    ...[x(centre[0]), y(centre[1]), radii[0] * scale, radii[1] * scale],
    ...[0, 0, 2 * Math.PI],
  );
  pen.stroke();
}

function drawManifold(pen) {
  const [cells, here] = [20, Float64Array.from(z)];
  const side = plane.width / cells;
  const tile = fit(document.createElement("canvas"));
  pen.globalAlpha = 0.35;
  for (let row = 0; row < cells; row++) {
    for (let column = 0; column < cells; column++) {
      here[across] = known.reach * ((2 * (column + 0.5)) / cells - 1);
      here[up] = known.reach * (1 - (2 * (row + 0.5)) / cells);
      paint(tile, image(here));
      pen.drawImage(tile, column * side, row * side, side, side);
    }
  }
  pen.globalAlpha = 1;
}

function drawBackdrop() {
  backdrop = document.createElement("canvas");
  const size = plane.width;
  backdrop.width = backdrop.height = size;
  const pen = backdrop.getContext("2d");
  if ($("grid").checked) drawManifold(pen);
  pen.globalAlpha = 0.7;
  for (let i = 0; i < count; i++) {
    if (hidden.has(classOf(i))) continue;
    pen.fillStyle = known.colours[classOf(i) % known.colours.length];
    pen.beginPath();
    pen.arc(x(point(i)[across]), y(point(i)[up]), size / 200, 0, 2 * Math.PI);
    pen.fill();
  }
  pen.globalAlpha = 1;
  pen.lineWidth = size / 600;
  pen.strokeStyle = style("--ink");
  pen.setLineDash([size / 100, size / 100]);
  for (const sigmas of [1, 2]) ellipse(pen, [0, 0], [sigmas, sigmas]);
  write(pen, "1σ of the prior", x(0), y(1), "center");
  write(pen, "2σ", x(0), y(2), "center");
  const edge = (12 * size) / plane.clientWidth;
  const step = [1, 2, 5, 10, 20, 50].find((s) => known.reach / s <= 6) ?? 100;
  const last = Math.floor((0.95 * known.reach) / step) * step;
  for (let value = -last; value <= last; value += step) {
    const text = String(value).replace("-", "−");
    write(pen, text, x(value), size - edge, "center");
    if (y(value) < size - 2 * edge) write(pen, text, edge, y(value), "center");
  }
  write(pen, `z[${across}]`, size - edge / 2, size - 2.2 * edge, "right");
  write(pen, `z[${up}]`, 2 * edge, edge, "left");
}

function nearest() {
  // the visible held-out image whose point is close to z, or −1
  let [best, least] = [-1, (known.reach / 40) ** 2];
  for (let i = 0; i < count; i++) {
    const distance = (point(i)[across] - z[across]) ** 2 + (point(i)[up] - z[up]) ** 2;
    if (distance < least && !hidden.has(classOf(i))) [best, least] = [i, distance];
  }
  return best;
}

function drawPlane() {
  if (!backdrop) drawBackdrop();
  const [pen, size] = [plane.getContext("2d"), plane.width];
  const ink = style("--ink");
  pen.clearRect(0, 0, size, size);
  pen.drawImage(backdrop, 0, 0);
  pen.strokeStyle = pen.fillStyle = ink;
  pen.lineWidth = size / 250;
  pen.beginPath();
  for (const place of path) pen.lineTo(x(place[across]), y(place[up]));
  pen.stroke();
  for (const place of marks) {
    pen.beginPath();
    pen.arc(x(place[across]), y(place[up]), size / 240, 0, 2 * Math.PI);
    pen.fill();
  }
  if (q) drawBelief(pen);
  for (const [letter, mean] of Object.entries(ends)) {
    write(pen, letter, x(mean[across]), y(mean[up]) - size / 40, "center");
  }
  drawSight(pen, x(z[across]), y(z[up]), size / 60);
}

// The ellipses of 1σ and 2σ of q(z|x)
function drawBelief(pen) {
  const mean = [q.z_mean[across], q.z_mean[up]];
  const sigma = [across, up].map((i) => Math.exp(q.z_log_sigma[i]));
  for (const [colour, thickness] of [
    [style("--paper"), plane.width / 100],
    [style("--ink"), plane.width / 300],
  ]) {
    pen.strokeStyle = colour;
    pen.lineWidth = thickness;
    for (const n of [2, 1]) ellipse(pen, mean, [n * sigma[0], n * sigma[1]]);
  }
}

// z, as a sight: four lines that leave what they point at free
function drawSight(pen, left, top, radius) {
  for (const [colour, thickness] of [
    [style("--paper"), plane.width / 90],
    [style("--accent"), plane.width / 200],
  ]) {
    pen.strokeStyle = colour;
    pen.lineWidth = thickness;
    pen.beginPath();
    for (const [right, down] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ]) {
      pen.moveTo(left + right * radius, top + down * radius);
      pen.lineTo(left + 2.2 * right * radius, top + 2.2 * down * radius);
    }
    pen.stroke();
  }
}

// Everything, at most once per frame of the screen

let asked = false;
function show() {
  if (!asked) requestAnimationFrame(draw);
  asked = true;
}

const rounded = (value) => value.toFixed(2).replace("-", "−");
const pair = (values) => `(${rounded(values[across])}, ${rounded(values[up])})`;

function draw() {
  asked = false;
  if (inked) {
    drawPad();
    choose({ x: asTrained(readPad()), name: "your drawing" });
    inked = false;
  }
  const near = hovering ? nearest() : -1;
  const subject = near < 0 ? chosen : heldOut(near);
  if (subject !== shown) look(subject);
  drawPad();
  drawPlane();
  paint($("picture"), image(z));
  $("z").value = `z${dim === 2 ? "" : `[${across}, ${up}]`} = ${pair(z)}`;
  for (const slider of $("sliders").querySelectorAll("input")) {
    slider.value = z[slider.dataset.dim];
  }
  $("undo").disabled = strokes.length === 0;
  $("clear").disabled = chosen === null;
  for (const id of ["sample", "A", "B"]) $(id).disabled = q === null;
  if (q) showLoss();
  else clearLoss();
}

function showLoss() {
  const sigma = q.z_log_sigma.map(Math.exp);
  $("belief").value =
    `z_mean ${pair(q.z_mean)}, z_log_sigma ${pair(q.z_log_sigma)}: σ ${pair(sigma)}`;
  const logits = decode(vae, drawn ?? q.z_mean);
  paint($("seen"), seen);
  paint($("original"), shown.x);
  paint($("reconstruction"), logits.map(sigmoid));
  const reconstruction = reconstructionLoss(shown.x, logits);
  const kl = klDivergence(q);
  $("name").textContent = shown.name;
  $("reconstruction-loss").textContent = reconstruction.toFixed(2);
  $("kl").textContent = kl.toFixed(2);
  $("total").textContent = (reconstruction + known.beta * kl).toFixed(2);
}

function clearLoss() {
  for (const id of ["seen", "original", "reconstruction"]) fit($(id));
  for (const id of ["reconstruction-loss", "kl", "total"]) $(id).textContent = "–";
  $("belief").value = $("name").textContent = "\u00a0";
}

function redraw() {
  backdrop = null;
  show();
}

// Step 3: z, by hand

function moveTo(place) {
  const limit = known.reach;
  place.forEach((value, i) => {
    z[i] = Math.min(limit, Math.max(-limit, value));
  });
  drawn = null;
  show();
}

function placeOf(event) {
  const box = plane.getBoundingClientRect();
  const place = Float64Array.from(z);
  place[across] = known.reach * ((2 * (event.clientX - box.left)) / box.width - 1);
  place[up] = known.reach * (1 - (2 * (event.clientY - box.top)) / box.height);
  return place;
}
let dragging = false;
plane.addEventListener("pointerdown", (event) => {
  if (event.button || !event.isPrimary) return;
  halt();
  hovering = dragging = true;
  plane.setPointerCapture(event.pointerId);
  path = [];
  moveTo(placeOf(event));
});
plane.addEventListener("pointermove", (event) => {
  if (motion) return;
  hovering = true;
  moveTo(placeOf(event));
  if (dragging) path.push(Float64Array.from(z));
});
plane.addEventListener("lostpointercapture", () => {
  dragging = false;
  const extent = (i) => Math.max(...path.map((p) => Math.abs(p[i] - path[0][i])));
  if (Math.max(extent(across), extent(up)) < known.reach / 100) pickNearest(); // a click
  $("walk").disabled = path.length < 2;
});
plane.addEventListener("pointerleave", () => {
  if (chosen) hovering = false;
  show();
});
function pickNearest() {
  path = [];
  const i = nearest();
  if (i >= 0) choose(heldOut(i));
}
plane.addEventListener("keydown", (event) => {
  const moves = {
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
    ArrowUp: [0, 1],
    ArrowDown: [0, -1],
  };
  if (event.key === "Enter") pickNearest();
  if (!(event.key in moves)) return;
  event.preventDefault();
  halt();
  hovering = true;
  const step = known.reach / (event.shiftKey ? 12 : 60);
  const place = Float64Array.from(z);
  place[across] += step * moves[event.key][0];
  place[up] += step * moves[event.key][1];
  moveTo(place);
});

// Step 3: z, by itself. tick(seconds) is called for every frame of the screen.

function start(tick) {
  halt();
  hovering = false;
  $("stop").disabled = false;
  const begun = performance.now();
  const mine = {};
  motion = mine;
  function frame(now) {
    if (motion !== mine) return;
    tick(Math.max(0, now - begun) / 1000);
    requestAnimationFrame(frame);
  }
  requestAnimationFrame(frame);
}
function halt() {
  if (motion && dim > 2 && $("grid").checked) redraw(); // elsewhere in other dimensions
  motion = null;
  $("stop").disabled = true;
}
$("stop").addEventListener("click", halt);

function startWalk(places, seconds) {
  start((time) => {
    const passed = calm.matches ? Math.floor(time) : time; // in steps of a second
    const position = (passed / seconds) * places.length;
    const [i, t] = [Math.floor(position), position % 1];
    const [from, to] = [places[i % places.length], places[(i + 1) % places.length]];
    moveTo(from.map((value, k) => (1 - t) * value + t * to[k]));
  });
}
$("walk").addEventListener("click", () => {
  const back = path.slice(1, -1).reverse(); // there and back: so that it closes
  startWalk([...path, ...back], Math.max(2, path.length / 15));
});
$("tour").addEventListener("click", () => {
  const tour = floats(known.tour);
  path = [];
  for (let i = 0; i < tour.length; i += dim) path.push(tour.slice(i, i + dim));
  path.push(path[0]);
  $("walk").disabled = false;
  startWalk(path.slice(0, -1), known.seconds);
});

function drawFromBelief() {
  drawn = sample(q);
  z.set(drawn);
  marks.push(drawn);
  show();
}
$("sample").addEventListener("click", () => {
  if (shown !== chosen) choose(shown);
  if (calm.matches) {
    halt();
    drawFromBelief();
    return;
  }
  marks = [];
  let draws = 0;
  start((time) => {
    if (!q) halt();
    if (!q || draws > time * DRAWS) return;
    draws++;
    drawFromBelief();
  });
});

$("grid").addEventListener("change", redraw);

// From A to B, and without any x

for (const letter of ["A", "B"]) {
  const canvas = fit($(letter).firstElementChild);
  $(letter).addEventListener("click", () => {
    ends[letter] = q.z_mean;
    paint(canvas, shown.x);
    if (ends.A && ends.B) {
      halt();
      path = interpolate(ends.A, ends.B, 9);
      paintTiles($("row"), path.map(image), 9);
      $("walk").disabled = false;
    }
    show();
  });
}
$("dream").addEventListener("click", () => {
  halt();
  marks = Array.from({ length: 25 }, () => Float64Array.from(z, normal));
  paintTiles($("sheet"), marks.map(image), 5);
  show();
});

// What depends on the data set

for (const id of ["picture", "seen", "original", "reconstruction"]) fit($(id));
fit($("row"), 9);
fit($("sheet"), 5, 5);
const what = known.centred ? "a digit" : "an image";
$("invitation").textContent =
  channels === 1
    ? `Draw ${what}, and watch what the encoder believes.`
    : "Pick an image, and watch what the encoder believes.";
$("howto").textContent =
  channels === 1
    ? "Draw, drop an image file, or pick one."
    : "Drop an image file, or pick one.";
pad.ariaLabel = channels === 1 ? `A pad to draw ${what} on` : "The image";
$("numbers").textContent = pixels.toLocaleString("en");
$("fitting").textContent = known.centred
  ? "Drawings are fitted into 20 × 20 of 28 × 28 pixels, their centre of mass in the middle."
  : "";
$("beta").textContent = known.beta === 1 ? "" : `${known.beta} · `;

known.classes.forEach((name, i) => {
  const label = document.createElement("label");
  const box = document.createElement("input");
  const swatch = document.createElement("span");
  box.type = "checkbox";
  box.checked = true;
  box.addEventListener("change", () => {
    if (box.checked) hidden.delete(i);
    else hidden.add(i);
    redraw();
  });
  swatch.className = "swatch";
  swatch.style.background = known.colours[i % known.colours.length];
  label.append(box, " ", swatch, " ", name);
  $("legend").append(label);
});

for (let i = 0; i < dim; i++) {
  if (i === across || i === up) continue;
  const label = document.createElement("label");
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = -known.reach;
  slider.max = known.reach;
  slider.step = "any";
  slider.dataset.dim = i;
  slider.addEventListener("input", () => {
    halt();
    z[i] = Number(slider.value);
    drawn = null;
    if ($("grid").checked) backdrop = null;
    show();
  });
  label.append(`z[${i}] `, slider);
  $("sliders").append(label);
}

function resize() {
  const size = Math.round(plane.clientWidth * window.devicePixelRatio);
  if (size === 0 || (size === plane.width && size === plane.height)) return;
  plane.width = plane.height = size;
  redraw();
}
new ResizeObserver(resize).observe(plane);
const darkness = window.matchMedia("(prefers-color-scheme: dark)");
darkness.addEventListener("change", redraw);
sheet.decode().then(show);
