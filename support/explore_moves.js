"use strict";
// Step 3: z, by hand

function moveTo(place) {
  const limit = known.reach;
  place.forEach((value, i) => {
    z[i] = Math.min(limit, Math.max(-limit, value));
  });
  drawn = null;
  show();
}

function placeOf(event) {
  const box = plane.getBoundingClientRect();
  const place = Float64Array.from(z);
  place[across] = known.reach * ((2 * (event.clientX - box.left)) / box.width - 1);
  place[up] = known.reach * (1 - (2 * (event.clientY - box.top)) / box.height);
  return place;
}
let dragging = false;
plane.addEventListener("pointerdown", (event) => {
  if (event.button || !event.isPrimary) return;
  halt();
  hovering = dragging = true;
  plane.setPointerCapture(event.pointerId);
  path = [];
  moveTo(placeOf(event));
});
plane.addEventListener("pointermove", (event) => {
  if (motion) return;
  hovering = true;
  moveTo(placeOf(event));
  if (dragging) path.push(Float64Array.from(z));
});
plane.addEventListener("lostpointercapture", () => {
  dragging = false;
  const extent = (i) => Math.max(...path.map((p) => Math.abs(p[i] - path[0][i])));
  if (Math.max(extent(across), extent(up)) < known.reach / 100) pickNearest(); // a click
  $("walk").disabled = path.length < 2;
});
plane.addEventListener("pointerleave", () => {
  if (chosen) hovering = false;
  show();
});
function pickNearest() {
  path = [];
  const i = nearest();
  if (i >= 0) choose(heldOut(i));
}
plane.addEventListener("keydown", (event) => {
  const moves = {
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
    ArrowUp: [0, 1],
    ArrowDown: [0, -1],
  };
  if (event.key === "Enter") pickNearest();
  if (!(event.key in moves)) return;
  event.preventDefault();
  halt();
  hovering = true;
  const step = known.reach / (event.shiftKey ? 12 : 60);
  const place = Float64Array.from(z);
  place[across] += step * moves[event.key][0];
  place[up] += step * moves[event.key][1];
  moveTo(place);
});

// Step 3: z, by itself. tick(seconds) is called for every frame of the screen.

function start(tick) {
  halt();
  hovering = false;
  $("stop").disabled = false;
  const begun = performance.now();
  const mine = {};
  motion = mine;
  function frame(now) {
    if (motion !== mine) return;
    tick(Math.max(0, now - begun) / 1000);
    requestAnimationFrame(frame);
  }
  requestAnimationFrame(frame);
}
function halt() {
  if (motion && dim > 2 && $("grid").checked) redraw(); // elsewhere in other dimensions
  motion = null;
  $("stop").disabled = true;
}
$("stop").addEventListener("click", halt);

function startWalk(places, seconds) {
  start((time) => {
    const passed = calm.matches ? Math.floor(time) : time; // in steps of a second
    const position = (passed / seconds) * places.length;
    const [i, t] = [Math.floor(position), position % 1];
    const [from, to] = [places[i % places.length], places[(i + 1) % places.length]];
    moveTo(from.map((value, k) => (1 - t) * value + t * to[k]));
  });
}
$("walk").addEventListener("click", () => {
  const back = path.slice(1, -1).reverse(); // there and back: so that it closes
  startWalk([...path, ...back], Math.max(2, path.length / 15));
});
$("tour").addEventListener("click", () => {
  const tour = floats(known.tour);
  path = [];
  for (let i = 0; i < tour.length; i += dim) path.push(tour.slice(i, i + dim));
  path.push(path[0]);
  $("walk").disabled = false;
  startWalk(path.slice(0, -1), known.seconds);
});

function drawFromBelief() {
  drawn = sample(q);
  z.set(drawn);
  marks.push(drawn);
  show();
}
$("sample").addEventListener("click", () => {
  if (shown !== chosen) choose(shown);
  if (calm.matches) {
    halt();
    drawFromBelief();
    return;
  }
  marks = [];
  let draws = 0;
  start((time) => {
    if (!q) halt();
    if (!q || draws > time * DRAWS) return;
    draws++;
    drawFromBelief();
  });
});

$("grid").addEventListener("change", redraw);

// From A to B, and without any x

for (const letter of ["A", "B"]) {
  const canvas = fit($(letter).firstElementChild);
  $(letter).addEventListener("click", () => {
    ends[letter] = q.z_mean;
    paint(canvas, shown.x);
    if (ends.A && ends.B) {
      halt();
      path = interpolate(ends.A, ends.B, 9);
      paintTiles($("row"), path.map(image), 9);
      $("walk").disabled = false;
    }
    show();
  });
}
$("dream").addEventListener("click", () => {
  halt();
  marks = Array.from({ length: 25 }, () => Float64Array.from(z, normal));
  paintTiles($("sheet"), marks.map(image), 5);
  show();
});
