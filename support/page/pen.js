// What drawings of the latent plane share: views, colors, text, lines

import { $, known, state } from "./state.js";

export const plane = $("plane");
// Part of the latent plane on a canvas: a square around `center`, `reach` to each side
export const whole = () => ({
  canvas: plane,
  center: [0, 0],
  reach: state.model.reach,
});
export const scale = (view) => view.canvas.width / 2 / view.reach; // pixels per unit of z
export const toLeft = (view, value) =>
  (value - view.center[0] + view.reach) * scale(view);
export const toTop = (view, value) =>
  (view.center[1] + view.reach - value) * scale(view);
export const left = (z, view = whole()) => toLeft(view, z[state.model.dims[0]]);
export const top = (z, view = whole()) => toTop(view, z[state.model.dims[1]]);
export const style = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name);

// A class's color, lighter on dark paper
export const classColor = (i, whiten = style("--whiten")) =>
  `color-mix(in oklab, ${known.colors[i % known.colors.length]}, white ${whiten})`;

export const zoomOf = (canvas) => canvas.width / canvas.clientWidth;
export function write(pen, text, x, y, align, { size = 11, weight = "normal" } = {}) {
  const zoom = zoomOf(plane) * (parseFloat(style("font-size")) / 14);
  pen.font = `${weight} ${size * zoom}px system-ui, sans-serif`;
  pen.textAlign = align;
  pen.textBaseline = "middle";
  pen.lineWidth = 4 * zoom;
  pen.lineJoin = "round";
  pen.strokeStyle = style("--paper");
  pen.strokeText(text, x, y);
  pen.fillStyle = style("--ink");
  pen.fillText(text, x, y);
}

// What `draw` strokes, on a broader line of paper, so that it shows on anything
export function outlined(pen, color, thickness, draw) {
  for (const [ink, factor] of [
    [style("--paper"), 2.6],
    [color, 1],
  ]) {
    pen.strokeStyle = ink;
    pen.lineWidth = factor * thickness;
    draw();
  }
}

export function ellipse(pen, view, center, radii) {
  pen.beginPath();
  pen.ellipse(
    toLeft(view, center[0]),
    toTop(view, center[1]),
    radii[0] * scale(view),
    radii[1] * scale(view),
    0,
    0,
    2 * Math.PI,
  );
  pen.stroke();
}

// The largest of 1, 2 and 5 times a power of ten that is not greater
export function roundBelow(value) {
  const decade = 10 ** Math.floor(Math.log10(value));
  return [5, 2, 1].find((digit) => digit * decade <= value) * decade;
}

// The ellipses of 1σ and 2σ of q(z|x); dashed, those of the best q
export function drawBeliefs(pen, view) {
  drawBelief(pen, view, state.q);
  if (!state.search?.gap) return;
  pen.setLineDash([4 * zoomOf(view.canvas), 4 * zoomOf(view.canvas)]);
  drawBelief(pen, view, state.search.gap.best);
  pen.setLineDash([]);
}
function drawBelief(pen, view, q) {
  const { dims } = state.model;
  const mean = dims.map((i) => q.z_mean[i]);
  const sigma = dims.map((i) => Math.exp(q.z_log_sigma[i]));
  outlined(pen, style("--accent"), 1.8 * zoomOf(view.canvas), () => {
    for (const n of [2, 1]) ellipse(pen, view, mean, [n * sigma[0], n * sigma[1]]);
  });
}

// z: crosshairs with an open middle
export function drawSight(pen, x, y, radius) {
  outlined(pen, style("--accent"), radius / 3.3, () => {
    pen.beginPath();
    for (const [right, down] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ]) {
      pen.moveTo(x + right * radius, y + down * radius);
      pen.lineTo(x + 2.2 * right * radius, y + 2.2 * down * radius);
    }
    pen.stroke();
  });
}
