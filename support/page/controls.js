// Train your own: the buttons, the choices, the curve

import { decimal } from "./format.js";
import { MISTAKES } from "./learn.js";
import { computeCells } from "./loss.js";
import { addModel, refresh, switchTo } from "./models.js";
import { epochOf, evaluateAll, own, ownModel, startOver, train } from "./own.js";
import { style } from "./pen.js";
import { showClouds } from "./prior.js";
import { inSlices } from "./slices.js";
import { $, count, state } from "./state.js";

const FEWEST = 100; // images that a model can be trained on
const [GRID, FAR] = [2.5, 24]; // the posterior's grid, as in support/page_grid.py
const BETAS = ["0", "0.1", "1", "10", "100"];

// What the page shows follows the ownModel.
function refreshPage() {
  showProgress();
  if (state.model === ownModel) refresh();
  if (hasFiniteLoss()) return;
  stopTraining();
  $("epoch").value = "The loss has become NaN. Start over.";
}
function hasFiniteLoss() {
  const last = own.losses.at(-1);
  return last !== undefined && Number.isFinite(last.reconstruction + last.kl);
}

function showProgress() {
  if (own.losses.length === 0) return;
  const { reconstruction, kl } = own.losses.at(-1);
  const epoch = epochOf(own.steps);
  const subtracts = $("mistake").value === "sign";
  const total = reconstruction + (subtracts ? -1 : 1) * ownModel.beta * kl;
  const price = ownModel.beta === 1 ? "" : `${ownModel.beta} × `;
  const digits = (value) => decimal(value, Math.abs(value) < 10 ? 2 : 1);
  $("epoch").value =
    `epoch ${epoch}, held out: ${digits(total)} = ${digits(reconstruction)} ${subtracts ? "−" : "+"} ${price}${digits(kl)}`;
  drawCurve();
}

// Both terms, each from its least to its largest value
const curve = $("curve");
new ResizeObserver(drawCurve).observe(curve);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCurve);
function drawCurve() {
  const pen = curve.getContext("2d");
  curve.width = curve.clientWidth * window.devicePixelRatio;
  curve.height = curve.clientHeight * window.devicePixelRatio;
  pen.lineWidth = 2 * window.devicePixelRatio;
  const across = (i) => (i / Math.max(1, own.losses.length - 1)) * curve.width;
  pen.fillStyle = style("--soft");
  for (const i of own.changes) pen.fillRect(across(i), 0, 1, curve.height);
  for (const [term, color] of [
    ["kl", "--truth"],
    ["reconstruction", "--accent"],
  ]) {
    const values = own.losses.map((loss) => loss[term]).filter(Number.isFinite);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    pen.strokeStyle = style(color);
    pen.beginPath();
    values.forEach((value, i) => {
      const height = (value - least) / Math.max(most - least, most / 20, 1e-9);
      pen.lineTo(across(i), (0.92 - 0.84 * height) * curve.height);
    });
    pen.stroke();
  }
}

function startTraining() {
  own.training = {};
  Object.assign(ownModel, { grid: null, cells: null });
  $("train").textContent = "Pause";
  $("beyond").textContent = "Pause training to see the clouds and −log p(x).";
  $("mutual").textContent = "";
  inSlices(train(own.training, refreshPage));
}
function stopTraining() {
  own.training = null;
  $("train").textContent = "Train";
}
// Without training: the model as it is now, with all that takes longer to compute
let looking = null;
async function lookAgain() {
  const mine = {};
  looking = mine;
  const wanted = () => looking === mine && own.training === null;
  await inSlices(evaluateAll(wanted));
  if (!wanted()) return;
  refreshPage();
  measureAll();
}
function measureAll() {
  if (state.model !== ownModel || own.training !== null || !hasFiniteLoss()) return;
  const size = Math.min(GRID * ownModel.reach, FAR);
  ownModel.grid = { size, side: 128, softplus: null };
  showClouds();
  computeCells();
}
$("train").addEventListener("click", () => {
  if (own.training === null) {
    startTraining();
    return;
  }
  stopTraining();
  lookAgain();
});
$("restart").addEventListener("click", () => {
  const again = own.training !== null;
  stopTraining();
  startOver();
  state.source = "cloud"; // where z was may be far off the new map
  if (again) startTraining();
  else lookAgain();
});
for (const id of ["own-beta", "mistake"]) {
  $(id).addEventListener("change", () => {
    ownModel.beta = Number($("own-beta").value);
    own.since = own.steps; // with the full rate again
    own.changes.push(own.losses.length);
    $("hint").textContent =
      $("mistake").value === "none"
        ? ""
        : "; below, all is computed without the mistake";
    if (!own.training) lookAgain();
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
  const betas = BETAS.map((value) => [value, value]);
  fill($("own-beta"), betas, "1");
  fill($("mistake"), Object.entries(MISTAKES), "none");
  addModel(ownModel.name, async () => {
    $("own").hidden = false;
    if (own.optimizer === null) {
      startOver();
      first = inSlices(evaluateAll(() => true));
    }
    await first;
    if ($("own").hidden) return; // Another model was chosen meanwhile.
    switchTo(ownModel);
    showProgress();
    measureAll();
  });
}
export function leaveOwn() {
  $("own").hidden = true;
  if (own.training === null) return;
  stopTraining();
  lookAgain();
}
