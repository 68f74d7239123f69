// Step 5: the loss, and what is true

import { nats, tenth } from "./format.js";
import { makeCells, posterior } from "./posterior.js";
import { inSlices } from "./slices.js";
import {
  $,
  channels,
  covered,
  height,
  models,
  pixels,
  show,
  state,
  width,
} from "./state.js";
import { floats } from "./unpack.js";
import {
  decode,
  normals,
  klDivergence,
  reconstructionLoss,
  reparameterize,
} from "./vae.js";

const DRAWS = 1000; // z that the mean loss is taken over …
const PER_FRAME = 40; // … a few at a time, so that strokes stay smooth
const noises = {}; // the same ε for all images, so that the mean does not flicker
export function noiseOf(latentDim) {
  noises[latentDim] ??= Array.from({ length: DRAWS }, () => normals(latentDim));
  return noises[latentDim];
}

// The cells of the true posterior: those of the model shown, then the others'
const nextModel = () =>
  [state.model, ...models.flatMap((model) => model.given ?? model)].find(
    ({ grid, cells }) => grid && !cells,
  );
let computing = false;
export async function computeCells() {
  if (computing) return; // It comes to this model, too.
  computing = true;
  for (let model = nextModel(); model; model = nextModel()) {
    const { grid } = model;
    const softplus = grid.softplus && floats(grid.softplus);
    const cells = await inSlices(makeCells(model, { ...grid, softplus }));
    if (model.grid === grid) model.cells = cells; // It may have trained on meanwhile.
    show();
  }
  computing = false;
}

export function findTruth() {
  const { model, shown, truth } = state;
  if (!shown || !model.cells || truth) return;
  state.truth = posterior(model, model.cells, shown.x);
}

// Add some z ~ q(z|x) to the mean of −log p(x|z)
function drawLosses() {
  const { draws, model, q, shown } = state;
  if (draws.count === DRAWS) return;
  const some = noiseOf(model.latentDim).slice(draws.count, draws.count + PER_FRAME);
  for (const epsilon of some) {
    const z = reparameterize(q, epsilon);
    const loss = reconstructionLoss(shown.x, decode(model, z));
    draws.count++;
    draws.sum += loss;
    draws.squares += loss ** 2;
  }
  show();
}

const setTexts = (numbers) => {
  for (const [id, text] of Object.entries(numbers)) $(id).textContent = text;
};

export function showLoss() {
  const { model, q, shown, z } = state;
  $("losses").hidden = $("identity").hidden = covered();
  $("identity").hidden ||= model.latentDim !== 2;
  $("split").hidden = $("dashed").hidden = !state.search?.gap;
  $("framed").hidden = !$("dashed").hidden;
  if (!q) {
    const dashes = [
      "reconstruction-loss",
      "kl",
      "total",
      "here",
      "kl-here",
      "total-here",
    ];
    for (const id of [...dashes, "bound", "truth", "gap"]) $(id).textContent = "–";
    setTexts({ error: "", "kl-price": "KL", size: "\u00a0", PNG: "" });
    return;
  }
  drawLosses();
  const { count, sum, squares } = state.draws;
  const variance = Math.max(0, squares / count - (sum / count) ** 2);
  const divergence = klDivergence(q);
  // Sums of rounded numbers, so that the columns add up
  const mean = tenth(sum / count);
  const kl = tenth(model.beta * divergence);
  const here = tenth(reconstructionLoss(shown.x, decode(model, z)));
  setTexts({
    "reconstruction-loss": nats(mean),
    kl: nats(kl),
    total: nats(mean + kl),
    error: ` ± ${Math.sqrt(variance / count).toFixed(2)}`,
    here: nats(here),
    "kl-price": model.beta === 1 ? "KL" : `β·KL = ${model.beta} × ${nats(divergence)}`,
    // KL is a property of the cloud, not of a z elsewhere.
    "kl-here": state.source === "cloud" ? nats(kl) : "",
    "total-here": state.source === "cloud" ? nats(here + kl) : "",
  });
  const bound = tenth(mean + tenth(divergence));
  showSize(bound);
  setTexts({ bound: nats(bound), truth: "…", gap: "…" });
  if (!state.truth) return;
  // No more than the bound, which has an error from sampling
  const truth = Math.min(bound, tenth(state.truth.negativeLogP));
  setTexts({ truth: nats(truth), gap: nats(bound - truth) });
  if (!state.search?.gap) return;
  const amortization = Math.min(bound - truth, tenth(state.search.gap.amortization));
  setTexts({
    amortization: nats(amortization),
    approximation: nats(bound - truth - amortization),
  });
}

// The bound as the size of a file, beside that of a PNG

let measured = null; // the image whose PNG was compressed last
function showSize(bound) {
  const bits = bound / Math.log(2);
  const whole = (value) =>
    value < 1e6 ? Math.ceil(value).toLocaleString("en") : nats(value);
  const full = state.model.beta === 1 ? "" : "with β = 1, ";
  $("size").textContent =
    `${full}${nats(bound)} nats = ${whole(bits)} bits = ${whole(bits / 8)} bytes`;
  if (measured === state.shown || channels === 3) return;
  measured = state.shown;
  sizeOfPNG(measured.x).then((bytes) => {
    if (measured === state.shown) $("PNG").textContent = `; as a PNG, ${whole(bytes)}`;
  });
}

// Bytes of a PNG with one bit per pixel: a signature, a header, the compressed rows, an end
async function sizeOfPNG(x) {
  const across = Math.ceil(width / 8) + 1; // bytes per row; the first names a filter
  const rows = new Uint8Array(across * height);
  for (let i = 0; i < pixels; i++) {
    const column = i % width;
    const at = Math.floor(i / width) * across + 1 + Math.floor(column / 8);
    if (x[i] >= 0.5) rows[at] |= 128 >> (column % 8);
  }
  const stream = new Blob([rows])
    .stream()
    .pipeThrough(new CompressionStream("deflate"));
  const { byteLength } = await new Response(stream).arrayBuffer();
  return 8 + 25 + 12 + byteLength + 12;
}
