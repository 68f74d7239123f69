// From A to B

import { fit, paint, paintTiles } from "./canvas.js";
import { halt, startWalk } from "./motion.js";
import { $, image, show, state } from "./state.js";
import { encode, interpolate } from "./vae.js";

const TILES = 9;
const SECONDS = 4; // from A to B

export function setEnd(letter, subject) {
  const { x } = subject;
  state.ends[letter] = { x, z: encode(state.model, x).z_mean };
  paint($(letter).firstElementChild, x);
  showRow();
}
for (const letter of ["A", "B"]) {
  fit($(letter).firstElementChild);
  $(letter).addEventListener("click", () => {
    halt();
    setEnd(letter, state.shown);
    show();
  });
}
function steps() {
  const { A, B } = state.ends;
  return A && B ? interpolate(A.z, B.z, TILES) : [];
}
function showRow() {
  const places = steps();
  $("walk").disabled = places.length === 0;
  if (places.length) paintTiles($("row"), places.map(image), TILES);
}
// Of another model, or the same one after more training
export function encodeEnds() {
  for (const end of Object.values(state.ends))
    end.z = encode(state.model, end.x).z_mean;
  showRow();
}
$("walk").addEventListener("click", () => {
  const places = steps();
  startWalk([...places, ...places.slice(1, -1).reverse()], 2 * SECONDS);
});
