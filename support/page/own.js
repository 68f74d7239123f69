// Train your own: one more model, which learns while one looks at it

import { heldOut } from "./canvas.js";
import { build, forward, gradient, layersOf, MISTAKES, RMSprop } from "./learn.js";
import { computeCells, nats } from "./loss.js";
import { addModel, refresh, switchTo } from "./models.js";
import { style } from "./plane.js";
import { showClouds } from "./prior.js";
import { inSlices } from "./slices.js";
import { $, classOf, count, known, pixels, redraw, state } from "./state.js";
import { encode, gauss } from "./vae.js";

const LATENT = 2;
const TRAINED = count - Math.floor(count / 5); // of the page's images; the rest is held out
const BATCH = Math.min(100, Math.max(1, Math.floor(TRAINED / 100))); // as in vae_mnist.py
const EPOCHS = 20; // in which the rate falls along a cosine, and then stays …
const [RATE, LAST_RATE] = [1e-3, 1e-4]; // … so that training can go on
const REFRESH = 200; // ms of training between two looks at the model
const BLOCK = 50; // images encoded at once
const GRID = 2.5; // of the true posterior, in the plane's reach
const BETAS = [0, 0.1, 1, 10, 100];

let images = null; // of the page, one after the other
const model = {
  name: "train your own",
  binarize: false,
  latentDim: LATENT,
  dims: [0, 1],
  names: [],
  tour: Float64Array.from({ length: 200 }, (_, i) => {
    const angle = (Math.PI * Math.floor(i / 2)) / 50;
    return 1.5 * (i % 2 ? Math.sin(angle) : Math.cos(angle)); // once around the prior
  }),
};
let optimizer = null;
let training = null; // the run in progress: { begun }
let step = 0;
let since = 0; // the step at which β or the mistake was changed
let losses = []; // held out: [{ step, reconstruction, kl }]

export const isTraining = () => training !== null;

function startOver() {
  images ??= readImages();
  const vae = build(images.subarray(0, TRAINED * pixels), pixels, {
    latentDim: LATENT,
  });
  Object.assign(model, vae, { reach: 3, beta: Number($("own-beta").value) });
  optimizer = new RMSprop(layersOf(model));
  [step, since, losses] = [0, 0, []];
}
function readImages() {
  const all = new Float32Array(count * pixels);
  for (let i = 0; i < count; i++) all.set(heldOut(i).x, i * pixels);
  return all;
}

function* train(run) {
  let next = performance.now() + REFRESH;
  while (training === run) {
    for (const batch of batches()) {
      const settings = { beta: model.beta, mistake: $("mistake").value };
      const noise = gauss((batch.length / pixels) * LATENT);
      const { gradients } = gradient(model, batch, noise, settings);
      const done = Math.min(1, (step - since) / ((EPOCHS * TRAINED) / BATCH));
      const share = (1 + Math.cos(Math.PI * done)) / 2;
      optimizer.update(gradients, LAST_RATE + share * (RATE - LAST_RATE));
      step++;
      yield;
      if (training !== run) return;
      if (performance.now() < next) continue;
      yield* look();
      follow();
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
    some.forEach((i, row) => {
      batch.set(images.subarray(i * pixels, (i + 1) * pixels), row * pixels);
    });
    yield batch;
  }
}

// Encode all images, and compute the loss of those held out as the program would
function* look() {
  const [points, logSigmas] = [LATENT, LATENT].map((d) => new Float32Array(count * d));
  const held = { step, reconstruction: 0, kl: 0 };
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
    const pass = forward(model, x, gauss(size * LATENT), $("mistake").value);
    held.reconstruction += (size * pass.reconstruction) / (count - TRAINED);
    held.kl += (size * pass.kl) / (count - TRAINED);
    yield;
  }
  losses.push(held);
  Object.assign(model, { points, logSigmas, grid: null, cells: null, clouds: null });
  measure();
}

// How far the plane reaches, and where the classes are
function measure() {
  const { points } = model;
  const sizes = Float64Array.from({ length: count }, (_, i) =>
    Math.max(Math.abs(points[2 * i]), Math.abs(points[2 * i + 1])),
  ).sort();
  const reach = Math.max(3, 1.1 * sizes[Math.floor(0.995 * (count - 1))]);
  // Not at every look, so that the map holds still
  if (!(reach < model.reach && reach > 0.7 * model.reach)) model.reach = 1.15 * reach;
  if (reach === 3) model.reach = 3;
  model.names = known.classes.flatMap((name, label) => {
    const own = Array.from({ length: count }, (_, i) => i).filter(
      (i) => classOf(i) === label,
    );
    const middle = [0, 1].map((axis) => {
      const values = own.map((i) => points[2 * i + axis]).sort((a, b) => a - b);
      return values[Math.floor(values.length / 2)];
    });
    return own.length ? [[name, ...middle]] : [];
  });
}

// What the page shows follows the model.
function follow() {
  showProgress();
  if (state.model === model) refresh();
  if (Number.isFinite(losses.at(-1).reconstruction + losses.at(-1).kl)) return;
  pause();
  $("epoch").value = "The loss is no longer a number: start over.";
}

function showProgress() {
  const { reconstruction, kl } = losses.at(-1);
  const epoch = Math.floor((step * BATCH) / TRAINED);
  const subtracts = $("mistake").value === "sign";
  const total = reconstruction + (subtracts ? -1 : 1) * model.beta * kl;
  const price = model.beta === 1 ? "" : `${model.beta} × `;
  const digits = (value) =>
    Math.abs(value) < 10 ? value.toFixed(2).replace("-", "−") : nats(value);
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
      pen.lineTo(
        (i / Math.max(1, values.length - 1)) * curve.width,
        (0.92 - 0.84 * height) * curve.height,
      );
    });
    pen.stroke();
  }
}

async function pause() {
  training = null;
  $("train").textContent = "Train";
  if (state.model !== model) return;
  model.grid = { size: GRID * model.reach, side: 128, softplus: null };
  showClouds();
  await computeCells();
}
$("train").addEventListener("click", async () => {
  if (training) {
    pause();
    return;
  }
  training = { begun: performance.now() };
  $("beyond").textContent = "Pause to measure the clouds, and for −log p(x).";
  $("mutual").textContent = "";
  $("train").textContent = "Pause";
  await inSlices(train(training));
});
$("restart").addEventListener("click", async () => {
  const was = training;
  training = null;
  startOver();
  await inSlices(look());
  follow();
  if (was) $("train").click();
});
for (const id of ["own-beta", "mistake"]) {
  $(id).addEventListener("change", () => {
    model.beta = Number($("own-beta").value);
    since = step; // with the full rate again
    redraw();
  });
}

function fill(select, options, chosen) {
  for (const [value, text] of options) {
    const option = document.createElement("option");
    [option.value, option.textContent, option.selected] = [
      value,
      text,
      value === chosen,
    ];
    select.append(option);
  }
}
export function addOwn() {
  if (count < 100) return;
  fill(
    $("own-beta"),
    BETAS.map((value) => [String(value), String(value)]),
    "1",
  );
  fill($("mistake"), Object.entries(MISTAKES), "none");
  addModel(model.name, async () => {
    $("own").hidden = false;
    if (optimizer === null) {
      startOver();
      await inSlices(look());
    }
    switchTo(model);
    showProgress();
    if (!training) pause();
  });
}
export function leaveOwn() {
  $("own").hidden = true;
  if (training) pause();
}
