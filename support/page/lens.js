// The true posterior and the encoder's, magnified so that both fill a canvas of their own

import {
  drawBeliefs,
  drawSight,
  left,
  outlined,
  roundBelow,
  scale,
  style,
  top,
  zoomOf,
} from "./pen.js";
import { $, covered, state } from "./state.js";
import { reparameterize } from "./vae.js";

const lens = $("lens");
// The part of the plane that the lens shows: all of p(z|x) and q(z|x)
export function lensView() {
  const beliefs = [state.q, state.search?.gap?.best].filter(Boolean);
  const points = visibleCells().map(({ z }) => z);
  for (const sigmas of [-2.5, 2.5]) {
    for (const q of beliefs) points.push(reparameterize(q, [sigmas, sigmas]));
  }
  const ends = [0, 1].map((axis) => {
    const values = points.map((z) => z[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  return {
    canvas: lens,
    center: ends.map(([least, most]) => (least + most) / 2),
    reach: 0.55 * Math.max(...ends.map(([least, most]) => most - least)),
  };
}

export function drawLens() {
  const pen = lens.getContext("2d");
  pen.clearRect(0, 0, lens.width, lens.height);
  if (!state.q || !state.truth || covered()) return;
  const view = lensView();
  drawTruth(pen, view);
  drawBeliefs(pen, view);
  drawSight(pen, left(state.z, view), top(state.z, view), lens.width / 30);
  const length = roundBelow((2 * view.reach) / 3); // of a scale
  const [from, base] = [lens.width * 0.06, lens.height * 0.94];
  outlined(pen, style("--ink"), 2 * zoomOf(lens), () => {
    pen.beginPath();
    pen.moveTo(from, base);
    pen.lineTo(from + length * scale(view), base);
    pen.stroke();
  });
  pen.font = `${lens.width / 11}px system-ui, sans-serif`;
  pen.textAlign = "left";
  pen.fillStyle = style("--ink");
  pen.fillText(String(Number(length.toPrecision(1))), from, base - lens.height * 0.04);
}

// p(z|x), the darker the denser
function drawTruth(pen, view) {
  pen.fillStyle = style("--truth");
  for (const { z, size, opacity } of visibleCells()) {
    const side = size * scale(view);
    pen.globalAlpha = opacity;
    pen.fillRect(left(z, view) - side / 2, top(z, view) - side / 2, side, side);
  }
  pen.globalAlpha = 1;
}
function visibleCells() {
  const { leaves } = state.truth;
  const most = leaves.reduce((best, { density }) => Math.max(best, density), 0);
  return leaves
    .map((leaf) => ({ ...leaf, opacity: leaf.density / most }))
    .filter(({ opacity }) => opacity > 0.01);
}
