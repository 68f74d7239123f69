// Step 5: the loss, and what is true

import { makeCells, posterior } from "./posterior.js";
import { $, models, show, state } from "./state.js";
import {
  decode,
  klDivergence,
  normal,
  reconstructionLoss,
  reparameterize,
} from "./vae.js";

const DRAWS = 1000; // z that the mean loss is taken over …
const PER_FRAME = 40; // … a few at a time, so that strokes stay smooth
const noises = {}; // the same ε for all images, so that the mean does not flicker

// The cells of the true posterior are computed while nothing else happens.
export function computeCells() {
  const model = [state.model, ...models].find((m) => m.latentDim === 2 && !m.cells);
  if (!model) return;
  model.work ??= makeCells(model, model.reach);
  const end = performance.now() + 8; // ms: half a frame
  let next = model.work.next();
  while (!next.done && performance.now() < end) next = model.work.next();
  if (next.done) {
    model.cells = next.value;
    show();
  }
  setTimeout(computeCells);
}

export function findTruth() {
  const { model, shown, truth } = state;
  if (shown && model.cells && !truth)
    state.truth = posterior(model, model.cells, shown.x);
}

// Add some z ~ q(z|x) to the mean of −log p(x|z)
function drawLosses() {
  const { draws, model, q, shown } = state;
  if (draws.count === DRAWS) return;
  const { latentDim } = model;
  noises[latentDim] ??= Array.from({ length: DRAWS }, () =>
    Float64Array.from({ length: latentDim }, normal),
  );
  for (const epsilon of noises[latentDim].slice(draws.count, draws.count + PER_FRAME)) {
    const z = reparameterize(q, epsilon);
    const loss = reconstructionLoss(shown.x, decode(model, z));
    draws.count++;
    draws.sum += loss;
    draws.squares += loss ** 2;
  }
  show();
}

const nats = (value) => value.toFixed(1).replace("-", "−");
const setTexts = (numbers) => {
  for (const [id, text] of Object.entries(numbers)) $(id).textContent = text;
};

export function showLoss() {
  const { model, q, shown, z } = state;
  $("identity").hidden = model.latentDim !== 2;
  if (!q) {
    setTexts({ "reconstruction-loss": "–", kl: "–", total: "–", error: "", here: "–" });
    setTexts({ "kl-here": "–", "total-here": "–", equation: "–" });
    return;
  }
  drawLosses();
  const { count, sum, squares } = state.draws;
  const mean = sum / count;
  const variance = Math.max(0, squares / count - mean ** 2);
  const kl = klDivergence(q);
  const here = reconstructionLoss(shown.x, decode(model, z));
  setTexts({
    "reconstruction-loss": nats(mean),
    kl: nats(kl),
    total: nats(mean + model.beta * kl),
    error: ` ± ${Math.sqrt(variance / count).toFixed(2)}`,
    here: nats(here),
    "kl-here": nats(kl),
    "total-here": nats(here + model.beta * kl),
  });
  if (!state.truth) {
    $("equation").textContent = "computing …";
    return;
  }
  const { negativeLogP } = state.truth;
  const bound = mean + kl;
  $("equation").textContent =
    `${nats(bound)} = ${nats(negativeLogP)} + ${nats(bound - negativeLogP)}`;
}
