"use strict";
// The plane
const plane = $("plane");
let backdrop = null;
const toPixel = (value) => ((value / known.reach + 1) / 2) * plane.width;
const x = (value) => toPixel(value);
const y = (value) => toPixel(-value);
const style = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name);

function write(pen, text, left, top, align) {
  pen.font = `${(11 * plane.width) / plane.clientWidth}px system-ui, sans-serif`;
  pen.textAlign = align;
  pen.textBaseline = "middle";
  pen.lineWidth = plane.width / 90;
  pen.lineJoin = "round";
  pen.strokeStyle = style("--paper");
  pen.strokeText(text, left, top);
  pen.fillStyle = style("--ink");
  pen.fillText(text, left, top);
}

function ellipse(pen, centre, radii) {
  const scale = plane.width / 2 / known.reach;
  pen.beginPath();
  pen.ellipse(
    ...[x(centre[0]), y(centre[1]), radii[0] * scale, radii[1] * scale],
    ...[0, 0, 2 * Math.PI],
  );
  pen.stroke();
}

function drawManifold(pen) {
  const [cells, here] = [20, Float64Array.from(z)];
  const side = plane.width / cells;
  const tile = fit(document.createElement("canvas"));
  pen.globalAlpha = 0.35;
  for (let row = 0; row < cells; row++) {
    for (let column = 0; column < cells; column++) {
      here[across] = known.reach * ((2 * (column + 0.5)) / cells - 1);
      here[up] = known.reach * (1 - (2 * (row + 0.5)) / cells);
      paint(tile, image(here));
      pen.drawImage(tile, column * side, row * side, side, side);
    }
  }
  pen.globalAlpha = 1;
}

function drawBackdrop() {
  backdrop = document.createElement("canvas");
  const size = plane.width;
  backdrop.width = backdrop.height = size;
  const pen = backdrop.getContext("2d");
  if ($("grid").checked) drawManifold(pen);
  pen.globalAlpha = 0.7;
  for (let i = 0; i < count; i++) {
    if (hidden.has(classOf(i))) continue;
    pen.fillStyle = known.colours[classOf(i) % known.colours.length];
    pen.beginPath();
    pen.arc(x(point(i)[across]), y(point(i)[up]), size / 200, 0, 2 * Math.PI);
    pen.fill();
  }
  pen.globalAlpha = 1;
  pen.lineWidth = size / 600;
  pen.strokeStyle = style("--ink");
  pen.setLineDash([size / 100, size / 100]);
  for (const sigmas of [1, 2]) ellipse(pen, [0, 0], [sigmas, sigmas]);
  write(pen, "1σ of the prior", x(0), y(1), "center");
  write(pen, "2σ", x(0), y(2), "center");
  const edge = (12 * size) / plane.clientWidth;
  const step = [1, 2, 5, 10, 20, 50].find((s) => known.reach / s <= 6) ?? 100;
  const last = Math.floor((0.95 * known.reach) / step) * step;
  for (let value = -last; value <= last; value += step) {
    const text = String(value).replace("-", "−");
    write(pen, text, x(value), size - edge, "center");
    if (y(value) < size - 2 * edge) write(pen, text, edge, y(value), "center");
  }
  write(pen, `z[${across}]`, size - edge / 2, size - 2.2 * edge, "right");
  write(pen, `z[${up}]`, 2 * edge, edge, "left");
}

function nearest() {
  // the visible held-out image whose point is close to z, or −1
  let [best, least] = [-1, (known.reach / 40) ** 2];
  for (let i = 0; i < count; i++) {
    const distance = (point(i)[across] - z[across]) ** 2 + (point(i)[up] - z[up]) ** 2;
    if (distance < least && !hidden.has(classOf(i))) [best, least] = [i, distance];
  }
  return best;
}

function drawPlane() {
  if (!backdrop) drawBackdrop();
  const [pen, size] = [plane.getContext("2d"), plane.width];
  const ink = style("--ink");
  pen.clearRect(0, 0, size, size);
  pen.drawImage(backdrop, 0, 0);
  pen.strokeStyle = pen.fillStyle = ink;
  pen.lineWidth = size / 250;
  pen.beginPath();
  for (const place of path) pen.lineTo(x(place[across]), y(place[up]));
  pen.stroke();
  for (const place of marks) {
    pen.beginPath();
    pen.arc(x(place[across]), y(place[up]), size / 240, 0, 2 * Math.PI);
    pen.fill();
  }
  if (q) drawBelief(pen);
  for (const [letter, mean] of Object.entries(ends)) {
    write(pen, letter, x(mean[across]), y(mean[up]) - size / 40, "center");
  }
  drawSight(pen, x(z[across]), y(z[up]), size / 60);
}

// The ellipses of 1σ and 2σ of q(z|x)
function drawBelief(pen) {
  const mean = [q.z_mean[across], q.z_mean[up]];
  const sigma = [across, up].map((i) => Math.exp(q.z_log_sigma[i]));
  for (const [colour, thickness] of [
    [style("--paper"), plane.width / 100],
    [style("--ink"), plane.width / 300],
  ]) {
    pen.strokeStyle = colour;
    pen.lineWidth = thickness;
    for (const n of [2, 1]) ellipse(pen, mean, [n * sigma[0], n * sigma[1]]);
  }
}

// z, as a sight: four lines that leave what they point at free
function drawSight(pen, left, top, radius) {
  for (const [colour, thickness] of [
    [style("--paper"), plane.width / 90],
    [style("--accent"), plane.width / 200],
  ]) {
    pen.strokeStyle = colour;
    pen.lineWidth = thickness;
    pen.beginPath();
    for (const [right, down] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ]) {
      pen.moveTo(left + right * radius, top + down * radius);
      pen.lineTo(left + 2.2 * right * radius, top + 2.2 * down * radius);
    }
    pen.stroke();
  }
}
