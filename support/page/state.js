// What the page knows, and the one object that holds what it shows.

import {
  corrupt,
  decode,
  encode,
  floats,
  normal,
  reparameterize,
  sigmoid,
  unpack,
} from "./vae.js";

export const $ = (id) => document.getElementById(id);
export const known = JSON.parse($("data").textContent);
export const [height, width, channels = 1] = known.shape;
export const pixels = height * width * channels;
export const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

// The models: a VAE each, and where its encoder puts the held-out images
export const models = known.models.map((model) => ({
  ...model,
  ...unpack(model),
  points: floats(model.z),
}));

export const state = {
  model: models[0],
  z: new Float64Array(models[0].latentDim), // what the decoder draws
  chosen: null, // the image of step 1: { x, name, and the index of a held-out one }
  shown: null, // that, or the held-out image near the pointer
  seen: null, // its pixels as the encoder sees them
  q: null, // what the encoder believes: { z_mean, z_log_sigma }
  epsilon: new Float64Array(models[0].latentDim), // kept when the image changes
  draws: null, // losses of z drawn from q: { count, sum, squares }
  truth: null, // the true posterior: { negativeLogP, leaves }
  hovering: false, // whether to show the held-out image near z
  marks: [], // the z drawn so far
  path: [], // the z to walk along
  motion: null, // what moves z by itself
  strokes: [], // on the pad
  inked: false, // since the last frame
  ends: {}, // A and B: { x, z }
  hidden: new Set(), // classes that are not shown
  backdrop: null, // the plane without what changes from frame to frame
};

export const image = (z) => decode(state.model, z).map(sigmoid);
export const point = (i) => {
  const { points, latentDim } = state.model;
  return points.subarray(i * latentDim, (i + 1) * latentDim);
};
export const count = models[0].points.length / models[0].latentDim;
export const classOf = (i) => (known.labels ? known.labels[i] : 0);

// Pixels that a VAE trained with --binarize can know: 0 or 1
const thresholds = Float64Array.from({ length: pixels }, Math.random);
export function asTrained(x) {
  if (!state.model.binarize) return x;
  return x.map((value, i) => Number(thresholds[i] < value));
}

const noise = Float64Array.from({ length: pixels }, normal);
export function look(subject) {
  state.shown = subject;
  state.q = state.seen = state.truth = null;
  state.draws = { count: 0, sum: 0, squares: 0 };
  state.marks = [];
  if (!subject) return;
  state.seen = corrupt(subject.x, Number($("noise").value), noise);
  state.q = encode(state.model, state.seen);
}

// z = z_mean + σ·ε, of the image shown
export function attach() {
  if (state.q) state.z = reparameterize(state.q, state.epsilon);
}

// Everything is drawn at most once per frame of the screen.
let requested = false;
export function show() {
  if (!requested) requestAnimationFrame(drawAll);
  requested = true;
}
export const painters = []; // in order; main.js fills it
function drawAll() {
  requested = false;
  for (const painter of painters) painter();
}
export function redraw() {
  state.backdrop = null;
  show();
}
export function say(text) {
  $("status").textContent = text;
}
