// From A to B

import { fit, paint, paintTiles, tileAt } from "./canvas.js";
import { halt, moveTo, startWalk } from "./motion.js";
import { $, image, modelFor, show, state } from "./state.js";
import { encode, mix } from "./vae.js";

const TILES = 9;
const SECONDS = 4; // from A to B

export function setEnd(letter, subject) {
  const { x } = subject;
  state.ends[letter] = { subject, z: encode(modelFor(subject), x).z_mean };
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
fit($("row"), TILES);

// z on the straight line from A to B, including both
function placesBetween() {
  const { A, B } = state.ends;
  if (!A || !B) return [];
  return Array.from({ length: TILES }, (_, i) => mix(A.z, B.z, i / (TILES - 1)));
}
export function showRow() {
  const places = placesBetween();
  $("walk").disabled = places.length === 0;
  if (places.length)
    paintTiles(
      $("row"),
      places.map((z) => image(z)),
      TILES,
    );
}
// Of another model, or the same one after more training
export function encodeEnds() {
  for (const end of Object.values(state.ends))
    end.z = encode(modelFor(end.subject), end.subject.x).z_mean;
  showRow();
}
// A click on a picture puts z there.
$("row").addEventListener("click", (event) => {
  const place = placesBetween()[tileAt(event, TILES, 1)];
  if (place) moveTo(place, "slider");
});
$("walk").addEventListener("click", () => {
  const places = placesBetween();
  startWalk([...places, ...places.slice(1, -1).reverse()], 2 * SECONDS);
});
