"use strict";
// What the page knows, what it shows, and how it shows an image.

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
