// The part of the map that does not change from frame to frame

import { fit, paint } from "./canvas.js";
import {
  ellipse,
  left,
  plane,
  classColor,
  roundBelow,
  scale,
  style,
  toLeft,
  toTop,
  top,
  whole,
  write,
  zoomOf,
} from "./pen.js";
import {
  $,
  classOf,
  count,
  covered,
  image,
  known,
  models,
  point,
  state,
} from "./state.js";

const DIM = 0.15; // opacity of dots that would hide something else

// What is drawn where: the decoded images of a grid of z
function drawTiles(pen) {
  const { reach, dims } = state.model;
  const [cells, here] = [20, state.z.slice()];
  const side = plane.width / cells;
  const tile = fit(document.createElement("canvas"));
  for (let row = 0; row < cells; row++) {
    for (let column = 0; column < cells; column++) {
      here[dims[0]] = reach * ((2 * (column + 0.5)) / cells - 1);
      here[dims[1]] = reach * (1 - (2 * (row + 0.5)) / cells);
      paint(tile, image(here));
      pen.drawImage(tile, column * side, row * side, side, side);
    }
  }
}

function drawDots(pen) {
  pen.globalAlpha = covered() || $("true").checked || $("grid").checked ? DIM : 0.7;
  const colors = known.colors.map((_, i) => classColor(i));
  for (let i = 0; i < count; i++) {
    if (state.hidden.has(classOf(i))) continue;
    pen.fillStyle = colors[classOf(i) % colors.length];
    pen.beginPath();
    pen.arc(left(point(i)), top(point(i)), plane.width / 200, 0, 2 * Math.PI);
    pen.fill();
  }
  pen.globalAlpha = 1;
}

export function drawBackdrop() {
  const tiles = $("grid").checked;
  const view = whole();
  state.backdrop = document.createElement("canvas");
  state.backdrop.width = state.backdrop.height = plane.width;
  const pen = state.backdrop.getContext("2d");
  if (tiles) drawTiles(pen);
  drawDots(pen);
  drawPrior(pen);
  if (tiles) return; // Text would be hard to read on them.
  for (const [name, x, y] of state.model.names) {
    if (state.hidden.has(known.classNames.indexOf(name))) continue;
    const font = { size: 14, weight: "bold" };
    write(pen, name, toLeft(view, x), toTop(view, y), "center", font);
  }
  drawAxes(pen);
}

// The circles of 1σ and 2σ of the prior
function drawPrior(pen) {
  const view = whole();
  pen.lineWidth = plane.width / 600;
  pen.strokeStyle = $("grid").checked ? "white" : style("--ink");
  pen.setLineDash([plane.width / 100, plane.width / 100]);
  for (const sigmas of [1, 2]) ellipse(pen, view, [0, 0], [sigmas, sigmas]);
  const roomy = scale(view) > 25 * zoomOf(plane); // pixels for 1σ
  if ($("grid").checked || !roomy) return;
  const place = [toLeft(view, 0), toTop(view, -1), toTop(view, -2)];
  write(pen, "1σ", place[0], place[1], "center");
  write(pen, "2σ of the prior", place[0], place[2], "center");
}

function drawAxes(pen) {
  const size = plane.width;
  const { reach, dims } = state.model;
  const view = whole();
  const edge = size / 40;
  const step = roundBelow(reach / 2.5);
  const last = Math.floor((0.95 * reach) / step) * step;
  for (let value = -last; value <= last; value += step) {
    const text = String(value).replace("-", "−");
    const place = toTop(view, value);
    write(pen, text, toLeft(view, value), size - edge, "center");
    if (place < size - 2 * edge) write(pen, text, edge, place, "center");
  }
  write(pen, `z[${dims[0]}]`, size - edge / 2, size - 2.2 * edge, "right");
  write(pen, `z[${dims[1]}]`, 2 * edge, edge, "left");
  const wide = reach / models[0].reach;
  if (wide > 0.8 && wide < 1.25) return;
  const text = `${wide.toFixed(1)} × as wide as with ${models[0].name}`;
  write(pen, text, size - edge, edge, "right");
}
