// Find z yourself: the encoder is covered, and the student searches with the pointer.

import { fit, pageImage, paint } from "./canvas.js";
import { findBestEllipse } from "./ellipse.js";
import { choose, clearNoise } from "./image.js";
import { nats } from "./format.js";
import { noiseOf } from "./loss.js";
import { plane } from "./pen.js";
import { inSlices } from "./slices.js";
import { $, attach, known, narrow, redraw, state } from "./state.js";
import {
  decode,
  dot,
  klDivergence,
  reconstructionLoss,
  reparameterize,
} from "./vae.js";

function startSearch(subject) {
  clearNoise(); // The encoder searches for the same image.
  choose(subject);
  $("true").checked = false;
  state.epsilon = new Float64Array(state.model.latentDim);
  state.z = state.epsilon;
  state.source = "nowhere";
  state.search = { begun: performance.now(), best: null, answered: false };
  redraw();
  showPlane();
}
function showPlane() {
  if (narrow.matches) plane.scrollIntoView({ block: "center" });
}
export function endSearch() {
  if (!state.search) return;
  state.search = null;
  $("true").checked = false;
  attach();
  redraw();
}
// A painter: the price of this z, and whether it is the best so far
export function followSearch() {
  const { search, source, z } = state;
  $("search").hidden = search !== null;
  $("searching").hidden = $("stop-search").hidden = search === null;
  $("answer").hidden = $("question").hidden = search?.answered ?? false;
  $("encoder-loss").hidden = !search?.answered;
  $("seek").disabled = state.chosen === null;
  if (!search) return;
  const loss = priceOf(z);
  search.loss = loss;
  const better = search.best === null || loss < search.best.loss;
  if (!search.answered && source === "pointer" && better) {
    const seconds = Math.round((performance.now() - search.begun) / 1000);
    search.best = { z, loss, seconds };
  }
  if (search.answered && state.truth && search.split !== state.q) splitGap(search);
  const { best } = search;
  $("search-here").textContent = nats(loss);
  $("search-best").textContent = best ? nats(best.loss) : "–";
  $("search-time").textContent = best ? `, after ${best.seconds} s` : "";
  const encoder = priceOf(state.q.z_mean);
  $("encoder-nats").textContent = nats(encoder);
  $("verdict").textContent = best?.loss < encoder - 1 ? ": you beat it" : "";
}
// Of the same place, after the model has changed
export function renewBest() {
  const best = state.search?.best;
  if (best) best.loss = priceOf(best.z);
}
// −log p(x|z) + ½|z|², which is −log p(x|z)·p(z) but for a constant
function priceOf(z) {
  const { model, shown } = state;
  return reconstructionLoss(shown.x, decode(model, z)) + dot(z, z) / 2;
}

$("seek").addEventListener("click", () => startSearch(state.chosen));
$("stop-search").addEventListener("click", endSearch);
$("answer").addEventListener("click", () => {
  state.search.answered = true;
  $("true").checked = true;
  $("grid").checked = false;
  attach();
  redraw();
  showPlane();
});

// The gap is amortization + approximation: how much better the best ellipse is than the
// encoder's, and what it still lacks (Cremer et al. 2018).
async function splitGap(search) {
  const { model, q, shown, truth } = state;
  search.split = q; // begun for it
  let best = await inSlices(findBestEllipse(model, shown.x, q, truth));
  const own = await inSlices(boundOf(model, shown.x, q));
  const least = await inSlices(boundOf(model, shown.x, best));
  if (state.search !== search || state.q !== q) return;
  if (least > own) best = q;
  search.gap = { best, amortization: Math.max(0, own - least) };
  redraw();
}
function* boundOf(model, x, q) {
  let sum = 0;
  const noise = noiseOf(model.latentDim);
  for (const epsilon of noise) {
    sum += reconstructionLoss(x, decode(model, reparameterize(q, epsilon)));
    yield;
  }
  return sum / noise.length + klDivergence(q);
}

// Images to search for, chosen by extras.explore
export function addPicks() {
  for (const i of known.picks) {
    const button = document.createElement("button");
    const canvas = fit(document.createElement("canvas"));
    const subject = pageImage(i);
    button.title = `image ${i + 1}`;
    button.ariaLabel = `Search for image ${i + 1}`;
    button.className = "thumb";
    paint(canvas, subject.x);
    button.append(canvas);
    button.addEventListener("click", () => startSearch(subject));
    $("picks").append(button);
  }
}
