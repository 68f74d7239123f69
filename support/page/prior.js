// Without any x: z of the prior beside z of the clouds of all images

import { fit, paintTiles, tileAt } from "./canvas.js";
import { measureClouds } from "./clouds.js";
import { nats, tenth } from "./format.js";
import { halt, moveTo } from "./motion.js";
import { inSlices } from "./slices.js";
import { $, classOf, count, image, point, show, state } from "./state.js";
import { normals, reparameterize, row } from "./vae.js";

const SIDE = 4; // tiles along either edge of a sheet
const samples = {}; // by latentDim: an array of { prior, cloud, epsilon }
let places = []; // z of the tiles of both sheets
for (const id of ["sheet", "cloud-sheet"]) fit($(id), SIDE, SIDE);

function sample() {
  const { latentDim } = state.model;
  samples[latentDim] = Array.from({ length: SIDE ** 2 }, () => ({
    prior: normals(latentDim),
    label: classOf(Math.floor(count * Math.random())), // as frequent as in the page
    cloud: Math.floor(count * Math.random()),
    epsilon: normals(latentDim),
  }));
}

// The same noise for every model, so that what differs is the model
export function showSheets() {
  const { latentDim, logSigmas } = state.model;
  if (!samples[latentDim]) sample();
  const prior = samples[latentDim].map((one) => one.prior);
  const labels = samples[latentDim].map((one) => one.label);
  const clouded = samples[latentDim].map((one) => classOf(one.cloud));
  const clouds = samples[latentDim].map(({ cloud, epsilon }) => {
    const z_mean = Float64Array.from(point(cloud));
    return reparameterize(
      { z_mean, z_log_sigma: row(logSigmas, cloud, latentDim) },
      epsilon,
    );
  });
  paintTiles(
    $("sheet"),
    prior.map((z, i) => image(z, labels[i])),
    SIDE,
  );
  paintTiles(
    $("cloud-sheet"),
    clouds.map((z, i) => image(z, clouded[i])),
    SIDE,
  );
  places = [...prior, ...clouds];
}
// Show where the tiles of both sheets lie on the plane.
export function markSheets() {
  state.marks = places.map((z, i) => ({ z, filled: i < SIDE ** 2 }));
  state.sheetsMarked = true;
  show();
}
// A click on a picture puts z there.
for (const [id, first] of [
  ["sheet", 0],
  ["cloud-sheet", SIDE ** 2],
]) {
  $(id).addEventListener("click", (event) => {
    halt();
    moveTo(places[first + tileAt(event, SIDE, SIDE)], "slider");
  });
}
$("dream").addEventListener("click", () => {
  halt();
  sample();
  showSheets();
  markSheets();
});

const percent = (share) => `${Math.round(100 * share)}%`;
export async function showClouds() {
  const { model } = state;
  if (!model.clouds) {
    $("beyond").textContent = $("mutual").textContent = "…";
    const { points, logSigmas, latentDim, dims } = model;
    const clouds = {
      z_mean: Float64Array.from(points),
      z_log_sigma: Float64Array.from(logSigmas),
    };
    const measured = await inSlices(measureClouds(clouds, latentDim, dims));
    if (model.points === points) {
      for (const each of model.given ?? [model]) each.clouds = measured;
    }
    if (state.model.points !== points || !model.clouds) return;
  }
  const { beyond, kl, information } = model.clouds;
  $("beyond").textContent =
    `beyond 2σ: ${percent(beyond)} of the clouds, ${percent(Math.exp(-2))} of the prior`;
  const [all, known] = [tenth(kl), tenth(information)];
  $("mutual").textContent =
    `mean KL ${nats(all)} = information ${nats(known)} + mismatch ${nats(all - known)}`;
}
