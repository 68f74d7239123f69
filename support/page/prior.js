// Without any x: z of the prior beside z of the clouds of all images

import { paintTiles } from "./canvas.js";
import { measureClouds } from "./clouds.js";
import { nats } from "./loss.js";
import { halt } from "./motion.js";
import { inSlices } from "./slices.js";
import { $, count, image, point, show, state } from "./state.js";
import { gauss, reparameterize } from "./vae.js";

const SIDE = 4; // tiles along either edge of a sheet
const draws = {}; // by the number of dimensions: { noise, clouds, more noise }
function draw() {
  const { latentDim } = state.model;
  draws[latentDim] = Array.from({ length: SIDE ** 2 }, () => ({
    prior: gauss(latentDim),
    cloud: Math.floor(count * Math.random()),
    epsilon: gauss(latentDim),
  }));
}

// The same noise for every model, so that what differs is the model. marks: those on the
// plane; if they are the sheets', they follow.
let marked = [];
export function showSheets(marks) {
  const { latentDim, logSigmas } = state.model;
  if (!draws[latentDim]) draw();
  const prior = draws[latentDim].map((one) => one.prior);
  const clouds = draws[latentDim].map(({ cloud, epsilon }) => {
    const z_log_sigma = logSigmas.subarray(cloud * latentDim, (cloud + 1) * latentDim);
    return reparameterize(
      { z_mean: Float64Array.from(point(cloud)), z_log_sigma },
      epsilon,
    );
  });
  paintTiles($("sheet"), prior.map(image), SIDE);
  paintTiles($("cloud-sheet"), clouds.map(image), SIDE);
  if (marks === marked) state.marks = marked = [...prior, ...clouds];
}
$("dream").addEventListener("click", () => {
  halt();
  draw();
  state.marks = marked = [];
  showSheets(marked);
  show();
});

const percent = (share) => `${Math.round(100 * share)} %`;
export async function showClouds() {
  const { model } = state;
  if (!model.clouds) {
    $("beyond").textContent = $("mutual").textContent = "…";
    const { points, logSigmas, latentDim, dims } = model;
    const clouds = { z_mean: points, z_log_sigma: logSigmas };
    const measured = await inSlices(measureClouds(clouds, latentDim, dims));
    if (model.points === points) model.clouds = measured;
    if (state.model !== model || !model.clouds) return;
  }
  const { beyond, kl, information } = model.clouds;
  $("beyond").textContent =
    `beyond 2σ: ${percent(beyond)} of the clouds, ${percent(Math.exp(-2))} of the prior`;
  const rounded = [kl, information].map((value) => Math.round(10 * value) / 10);
  $("mutual").textContent =
    `mean KL ${nats(rounded[0])} = information ${nats(rounded[1])} + mismatch ${nats(rounded[0] - rounded[1])}`;
}
