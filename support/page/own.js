// Train your own: one more model, which learns while one looks at it

import { pageImage } from "./canvas.js";
import { build, forward, gradient, layersOf, MISTAKES, RMSprop } from "./learn.js";
import { decimal } from "./format.js";
import { computeCells } from "./loss.js";
import { addModel, refresh, switchTo } from "./models.js";
import { style } from "./plane.js";
import { showClouds } from "./prior.js";
import { inSlices } from "./slices.js";
import { $, classOf, count, known, pixels, state } from "./state.js";
import { encode, normals, row } from "./vae.js";

const LATENT = 2;
const TRAINED = count - Math.floor(count / 5); // of the page's images; the rest is held out
const BATCH = Math.min(100, Math.max(1, Math.floor(TRAINED / 100))); // as in vae_mnist.py
const EPOCHS = 20; // in which the rate falls along a cosine, and then stays …
const [RATE, LAST_RATE] = [1e-3, 1e-4]; // … so that training can go on
const REFRESH = 200; // ms of training between two looks at the model
const BLOCK = 50; // images encoded at once
const FEWEST = 100; // images that a model can be trained on
const [GRID, FAR] = [2.5, 24]; // the posterior's grid, as in support/page_data.py
const BETAS = [0, 0.1, 1, 10, 100];

let images = null; // of the page, one after the other
const model = {
  name: "train your own",
  binarize: false,
  latentDim: LATENT,
  dims: [0, 1],
  names: [],
  tour: Float64Array.from(
    Array.from({ length: 100 }, (_, i) => (Math.PI * i) / 50).flatMap((angle) => [
      1.5 * Math.cos(angle), // once around the prior
      1.5 * Math.sin(angle),
    ]),
  ),
};
let optimizer = null;
let training = null; // an object of its own for every run, null while there is none
let steps = 0;
let since = 0; // the step at which β or the mistake was changed
let losses = []; // held out: [{ reconstruction, kl }]
let changes = []; // of β or the mistake: how many losses came before

function startOver() {
  images ??= readImages();
  const vae = build(images.subarray(0, TRAINED * pixels), pixels, {
    latentDim: LATENT,
  });
  Object.assign(model, vae, { reach: 3, beta: Number($("own-beta").value) });
  optimizer = new RMSprop(layersOf(model));
  [steps, since, losses, changes] = [0, 0, [], []];
}
function readImages() {
  const all = new Float32Array(count * pixels);
  for (let i = 0; i < count; i++) all.set(pageImage(i).x, i * pixels);
  return all;
}

function* train(run) {
  let next = performance.now() + REFRESH;
  for (;;) {
    for (const batch of batches()) {
      const settings = { beta: model.beta, mistake: $("mistake").value };
      const noise = normals((batch.length / pixels) * LATENT);
      const { gradients } = gradient(model, batch, noise, settings);
      const done = Math.min(1, (steps - since) / ((EPOCHS * TRAINED) / BATCH));
      const share = (1 + Math.cos(Math.PI * done)) / 2;
      optimizer.update(gradients, LAST_RATE + share * (RATE - LAST_RATE));
      steps++;
      yield;
      if (training !== run) return;
      if (performance.now() < next) continue;
      yield* evaluateAll(() => training === run);
      if (training !== run) return;
      refreshPage();
      next = performance.now() + REFRESH;
    }
  }
}
// All training images, shuffled
function* batches() {
  const order = Array.from({ length: TRAINED }, (_, i) => i);
  for (let i = TRAINED - 1; i > 0; i--) {
    const other = Math.floor((i + 1) * Math.random());
    [order[i], order[other]] = [order[other], order[i]];
  }
  for (let start = 0; start < TRAINED; start += BATCH) {
    const some = order.slice(start, start + BATCH);
    const batch = new Float64Array(some.length * pixels);
    some.forEach((i, at) => {
      batch.set(row(images, i, pixels), at * pixels);
    });
    yield batch;
  }
}

// Encode all images, and compute the loss of those held out as the training program
// does; nothing changes if it is not wanted anymore.
function* evaluateAll(wanted) {
  const [points, logSigmas] = [LATENT, LATENT].map((d) => new Float32Array(count * d));
  const held = { reconstruction: 0, kl: 0 };
  for (let i = 0; i < count; i += BLOCK) {
    const x = Float64Array.from(images.subarray(i * pixels, (i + BLOCK) * pixels));
    const { z_mean, z_log_sigma } = encode(model, x);
    points.set(z_mean, i * LATENT);
    logSigmas.set(z_log_sigma, i * LATENT);
    yield;
  }
  for (let i = TRAINED; i < count; i += BLOCK) {
    const x = Float64Array.from(images.subarray(i * pixels, (i + BLOCK) * pixels));
    const size = x.length / pixels;
    const pass = forward(model, x, normals(size * LATENT), $("mistake").value);
    held.reconstruction += (size * pass.reconstruction) / (count - TRAINED);
    held.kl += (size * pass.kl) / (count - TRAINED);
    yield;
  }
  if (!wanted()) return;
  losses.push(held);
  Object.assign(model, { points, logSigmas, grid: null, cells: null, clouds: null });
  measureReach();
  placeNames();
}

// How far the plane reaches; not another way at every look, so that the map holds still
function measureReach() {
  const sizes = model.points.map(Math.abs).sort();
  const reach = Math.max(3, 1.1 * sizes[Math.floor(0.995 * (sizes.length - 1))]);
  if (reach > model.reach || reach < 0.7 * model.reach) model.reach = 1.15 * reach;
  if (reach === 3) model.reach = 3;
}

// Each class's name stands at the median of its points.
function placeNames() {
  model.names = known.classes.flatMap((name, label) => {
    const of = (axis) => {
      const values = [];
      for (let i = 0; i < count; i++) {
        if (classOf(i) === label) values.push(model.points[LATENT * i + axis]);
      }
      return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
    };
    return of(0) === undefined ? [] : [[name, of(0), of(1)]];
  });
}

// What the page shows follows the model.
function refreshPage() {
  showProgress();
  if (state.model === model) refresh();
  if (hasFiniteLoss()) return;
  stopTraining();
  $("epoch").value = "The loss has become NaN. Start over.";
}
const hasFiniteLoss = () =>
  Number.isFinite(losses.at(-1).reconstruction + losses.at(-1).kl);

function showProgress() {
  const { reconstruction, kl } = losses.at(-1);
  const epoch = Math.floor((steps * BATCH) / TRAINED);
  const subtracts = $("mistake").value === "sign";
  const total = reconstruction + (subtracts ? -1 : 1) * model.beta * kl;
  const price = model.beta === 1 ? "" : `${model.beta} × `;
  const digits = (value) => decimal(value, Math.abs(value) < 10 ? 2 : 1);
  $("epoch").value =
    `epoch ${epoch}, held out: ${digits(total)} = ${digits(reconstruction)} ${subtracts ? "−" : "+"} ${price}${digits(kl)}`;
  drawCurve();
}

// Both terms, each from its least to its largest value
const curve = $("curve");
function drawCurve() {
  const pen = curve.getContext("2d");
  curve.width = curve.clientWidth * window.devicePixelRatio;
  curve.height = curve.clientHeight * window.devicePixelRatio;
  pen.lineWidth = 2 * window.devicePixelRatio;
  const across = (i) => (i / Math.max(1, losses.length - 1)) * curve.width;
  pen.fillStyle = style("--soft");
  for (const i of changes) pen.fillRect(across(i), 0, 1, curve.height);
  for (const [term, color] of [
    ["kl", "--truth"],
    ["reconstruction", "--accent"],
  ]) {
    const values = losses.map((loss) => loss[term]).filter(Number.isFinite);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    pen.strokeStyle = style(color);
    pen.beginPath();
    values.forEach((value, i) => {
      const height = (value - least) / Math.max(1e-9, most - least);
      pen.lineTo(across(i), (0.92 - 0.84 * height) * curve.height);
    });
    pen.stroke();
  }
}

function startTraining() {
  training = {};
  Object.assign(model, { grid: null, cells: null });
  $("train").textContent = "Pause";
  $("beyond").textContent = "Pause training to see the clouds and −log p(x).";
  $("mutual").textContent = "";
  inSlices(train(training));
}
function stopTraining() {
  training = null;
  $("train").textContent = "Train";
}
// Without training: the model as it is now, with all that takes longer to compute
let looking = null;
async function lookAgain() {
  const mine = {};
  looking = mine;
  const wanted = () => looking === mine && training === null;
  await inSlices(evaluateAll(wanted));
  if (!wanted()) return;
  refreshPage();
  measureAll();
}
function measureAll() {
  if (state.model !== model || !hasFiniteLoss()) return;
  const size = Math.min(GRID * model.reach, FAR);
  model.grid = { size, side: 128, softplus: null };
  showClouds();
  computeCells();
}
$("train").addEventListener("click", () => {
  if (training === null) {
    startTraining();
    return;
  }
  stopTraining();
  lookAgain();
});
$("restart").addEventListener("click", () => {
  const again = training !== null;
  stopTraining();
  startOver();
  if (again) startTraining();
  else lookAgain();
});
for (const id of ["own-beta", "mistake"]) {
  $(id).addEventListener("change", () => {
    model.beta = Number($("own-beta").value);
    since = steps; // with the full rate again
    changes.push(losses.length);
    $("hint").textContent =
      $("mistake").value === "none" ? "" : "; the panels make no mistake";
    if (!training) lookAgain();
  });
}

function fill(select, options, chosen) {
  for (const [value, text] of options) {
    select.append(new Option(text, value, false, value === chosen));
  }
}
let first = null; // the first look at the model
export function addOwn() {
  if (count < FEWEST) return;
  const betas = BETAS.map((value) => [String(value), String(value)]);
  fill($("own-beta"), betas, "1");
  fill($("mistake"), Object.entries(MISTAKES), "none");
  addModel(model.name, async () => {
    $("own").hidden = false;
    if (optimizer === null) {
      startOver();
      first = inSlices(evaluateAll(() => true));
    }
    await first;
    if ($("own").hidden) return; // Another model was chosen meanwhile.
    switchTo(model);
    showProgress();
    measureAll();
  });
}
export function leaveOwn() {
  $("own").hidden = true;
  stopTraining();
}
