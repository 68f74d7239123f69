// z that moves by itself. tick(seconds) is called for every frame of the screen.

import { $, attach, calm, redraw, show, state } from "./state.js";
import { mix } from "./vae.js";

const TAIL = 90; // frames

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

// z goes back to the image, if there is one.
export function halt() {
  if (!state.motion) return;
  state.motion = null;
  state.tail = [];
  $("stop").disabled = true;
  attach();
  // The tiles may have moved through the other dimensions.
  if (state.z.length > 2 && $("grid").checked) redraw();
  else show();
}
$("stop").addEventListener("click", halt);

// source: as of state
export function moveTo(place, source) {
  const { reach } = state.model;
  state.z = place.map((value) => Math.min(reach, Math.max(-reach, value)));
  state.source = source;
  show();
}

// Move z along places, from the last one back to the first
export function startWalk(places, seconds) {
  start((time) => {
    const passed = calm.matches ? Math.floor(time) : time; // in steps of a second
    const position = (passed / seconds) * places.length;
    const [i, t] = [Math.floor(position), position % 1];
    const [from, to] = [places[i % places.length], places[(i + 1) % places.length]];
    const z = mix(from, to, t);
    moveTo(z, "motion");
    state.tail = [...state.tail.slice(-TAIL), z];
  });
}
