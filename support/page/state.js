// What the page knows, and the one object that holds what it shows.

import { floats, unpack } from "./unpack.js";
import {
  corrupt,
  decode,
  encode,
  given,
  klDivergence,
  normals,
  reconstructionLoss,
  reparameterize,
  row,
  sigmoid,
} from "./vae.js";

export const $ = (id) => document.getElementById(id);
export const known = JSON.parse($("data").textContent);
export const [height, width, channels = 1] = known.shape;
export const pixels = height * width * channels;
export const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
export const narrow = window.matchMedia("(max-width: 62rem)");

// The models: a VAE each, and the clouds to which its encoder takes the page's images
export const models = known.models.map((model) => {
  const whole = {
    ...model,
    ...unpack(model),
    points: floats(model.points),
    logSigmas: floats(model.logSigmas),
    tour: floats(model.tour),
  };
  if (!model.grids) return whole;
  // A conditional model is one for every label. Each knows all of them.
  const variants = model.grids.map((grid, label) => ({
    ...given(whole, label),
    grid,
    label,
  }));
  for (const variant of variants) variant.given = variants;
  return variants[0];
});
export const count = models[0].points.length / models[0].latentDim;

export const state = {
  model: models[0],
  label: null, // that a conditional model is given; null for that of the image
  z: new Float64Array(models[0].latentDim), // what the decoder draws
  source: "cloud", // of z: "cloud" (z = z_mean + σ·ε), or a key of WHERE in main.js
  chosen: null, // the image of step 1: { x, name, and the index of one of the page's }
  shown: null, // that, or, if none is chosen, the page's image near the pointer
  input: null, // its pixels with noise: the encoder's input
  q: null, // what the encoder believes: { z_mean, z_log_sigma }
  epsilon: new Float64Array(models[0].latentDim), // kept when the image changes
  draws: null, // losses of z drawn from q: { count, sum, squares }
  truth: null, // the true posterior: { negativeLogP, leaves, joint }
  search: null, // for z by hand: see search.js
  hovering: false, // whether the pointer or the keys choose the image shown
  marks: [], // sampled z: { z, filled }
  sheetsMarked: false, // whether they are those of the sheets
  tail: [], // where z has just been
  motion: null, // what moves z by itself
  strokes: [], // on the pad
  inked: false, // since the last frame
  ends: {}, // A and B: { subject, z }
  opening: true, // until the first touch or key
  hidden: new Set(), // classes that are not shown
  backdrop: null, // the plane without what changes from frame to frame
};

// The decoded image of z; of a conditional model, with this label or that of the moment
export function image(z, label) {
  return decode(state.model.given?.[label] ?? state.model, z).map(sigmoid);
}
export const point = (i) => {
  const { points, latentDim } = state.model;
  return row(points, i, latentDim);
};
export const classOf = (i) => (known.labels ? known.labels[i] : 0);

// Pixels that a VAE trained with --binarize can know: 0 or 1. The thresholds are fixed, so
// that an image always gives the same pixels.
const thresholds = Float64Array.from({ length: pixels }, Math.random);
export function asTrained(x) {
  if (!state.model.binarize) return x;
  return x.map((value, i) => Number(thresholds[i] < value));
}

const noise = normals(pixels);
export function encodeImage(subject) {
  state.shown = subject;
  state.q = state.input = state.truth = null;
  state.draws = { count: 0, sum: 0, squares: 0 };
  state.marks = [];
  state.sheetsMarked = false;
  if (state.search) state.search.gap = null;
  if (!subject) return;
  state.input = corrupt(subject.x, Number($("noise").value), noise);
  state.model = modelFor(subject, state.input);
  state.q = encode(state.model, state.input);
}
// A conditional model for this image: given the label that the student chose, or its own,
// or else the one with the least loss, for z = z_mean
export function modelFor(subject, input = subject.x) {
  const { label, model } = state;
  if (!model.given) return model;
  const own = subject.index === undefined ? null : classOf(subject.index);
  if ((label ?? own) !== null) return model.given[label ?? own];
  const losses = model.given.map((each) => {
    const q = encode(each, input);
    const loss = reconstructionLoss(subject.x, decode(each, q.z_mean));
    return loss + model.beta * klDivergence(q);
  });
  return model.given[losses.indexOf(Math.min(...losses))];
}

// z = z_mean + σ·ε, of the image shown
export function attach() {
  if (!state.q || covered()) return;
  state.z = reparameterize(state.q, state.epsilon);
  state.source = "cloud";
}
// Whether the student searches, and what the encoder believes is covered
export const covered = () => state.search !== null && !state.search.answered;

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
