// z that moves by itself. tick(seconds) is called for every frame of the screen.

import { $, calm, redraw, show, state } from "./state.js";

export function start(tick) {
  halt();
  state.hovering = false;
  $("stop").disabled = false;
  const begun = performance.now();
  const mine = {};
  state.motion = mine;
  function frame(now) {
    if (state.motion !== mine) return;
    tick(Math.max(0, now - begun) / 1000);
    requestAnimationFrame(frame);
  }
  requestAnimationFrame(frame);
}

export function halt() {
  // The manifold may have moved through the other dimensions.
  if (state.motion && state.z.length > 2 && $("grid").checked) redraw();
  state.motion = null;
  $("stop").disabled = true;
}
$("stop").addEventListener("click", halt);

export function moveTo(place) {
  const { reach } = state.model;
  state.z = place.map((value) => Math.min(reach, Math.max(-reach, value)));
  show();
}

export function startWalk(places, seconds) {
  start((time) => {
    const passed = calm.matches ? Math.floor(time) : time; // in steps of a second
    const position = (passed / seconds) * places.length;
    const [i, t] = [Math.floor(position), position % 1];
    const [from, to] = [places[i % places.length], places[(i + 1) % places.length]];
    moveTo(from.map((value, k) => (1 - t) * value + t * to[k]));
  });
}
