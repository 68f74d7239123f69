// Find z yourself: the encoder is covered, and the student searches with the pointer.

import { fit, heldOut, paint } from "./canvas.js";
import { findBestEllipse } from "./ellipse.js";
import { choose } from "./image.js";
import { nats, noiseOf } from "./loss.js";
import { halt } from "./motion.js";
import { posterior } from "./posterior.js";
import { inSlices } from "./slices.js";
import { $, attach, encodeImage, known, redraw, state } from "./state.js";
import { decode, klDivergence, reconstructionLoss, reparameterize } from "./vae.js";

export function startSearch(subject) {
  halt();
  choose(subject);
  encodeImage(subject); // without the marks of q
  $("true").checked = false;
  state.z = new Float64Array(state.model.latentDim);
  state.source = "pointer";
  state.search = { begun: performance.now(), best: null, answered: false, gap: null };
  redraw();
}
export function endSearch() {
  if (!state.search) return;
  state.search = null;
  attach();
  redraw();
}
// A painter: the loss at this z, and whether it is the best so far
export function followSearch() {
  const { model, search, shown, source, z } = state;
  $("search").hidden = model.latentDim !== 2 || search !== null;
  $("searching").hidden = search === null;
  $("answer").hidden = $("question").hidden = search?.answered ?? false;
  $("encoder-loss").hidden = !search?.answered;
  $("seek").disabled = state.chosen === null;
  if (!search) return;
  const loss = reconstructionLoss(shown.x, decode(model, z));
  if (!search.answered && source === "pointer" && !(loss >= search.best?.loss)) {
    const seconds = Math.round((performance.now() - search.begun) / 1000);
    search.best = { z, loss, seconds };
  }
  const { best } = search;
  $("search-here").textContent = nats(loss);
  $("search-best").textContent = `${nats(best.loss)}, after ${best.seconds} s`;
  const encoder = reconstructionLoss(shown.x, decode(model, state.q.z_mean));
  $("encoder-nats").textContent = nats(encoder);
}

$("seek").addEventListener("click", () => startSearch(state.chosen));
$("stop-search").addEventListener("click", endSearch);
$("answer").addEventListener("click", async () => {
  const { search, shown, model, q } = state;
  search.answered = true;
  $("true").checked = true;
  attach();
  redraw();
  if (!model.cells) return; // A model in training
  const gap = await splitGap(model, shown.x, q);
  if (state.search !== search || state.q !== q) return;
  search.gap = gap;
  redraw();
});

// The gap is amortization + approximation: how much better the best ellipse is than the
// encoder's, and what it still lacks (Cremer et al. 2018).
async function splitGap(model, x, q) {
  const truth = posterior(model, model.cells, x);
  let best = await inSlices(findBestEllipse(model, x, q, truth));
  const bounds = [];
  for (const ellipse of [q, best])
    bounds.push(await inSlices(boundOf(model, x, ellipse)));
  const amortization = Math.max(0, bounds[0] - bounds[1]);
  if (bounds[1] > bounds[0]) best = q;
  return { best, amortization };
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
    const subject = heldOut(i);
    button.title = `image ${i + 1}`;
    button.ariaLabel = `Search for image ${i + 1}`;
    button.className = "thumb";
    paint(canvas, subject.x);
    button.append(canvas);
    button.addEventListener("click", () => startSearch(heldOut(i)));
    $("picks").append(button);
  }
}
