"use strict";
// What depends on the data set

for (const id of ["picture", "seen", "original", "reconstruction"]) fit($(id));
fit($("row"), 9);
fit($("sheet"), 5, 5);
const what = known.centred ? "a digit" : "an image";
$("invitation").textContent =
  channels === 1
    ? `Draw ${what}, and watch what the encoder believes.`
    : "Pick an image, and watch what the encoder believes.";
$("howto").textContent =
  channels === 1
    ? "Draw, drop an image file, or pick one."
    : "Drop an image file, or pick one.";
pad.ariaLabel = channels === 1 ? `A pad to draw ${what} on` : "The image";
$("numbers").textContent = pixels.toLocaleString("en");
$("fitting").textContent = known.centred
  ? "Drawings are fitted into 20 × 20 of 28 × 28 pixels, their centre of mass in the middle."
  : "";
$("beta").textContent = known.beta === 1 ? "" : `${known.beta} · `;

known.classes.forEach((name, i) => {
  const label = document.createElement("label");
  const box = document.createElement("input");
  const swatch = document.createElement("span");
  box.type = "checkbox";
  box.checked = true;
  box.addEventListener("change", () => {
    if (box.checked) hidden.delete(i);
    else hidden.add(i);
    redraw();
  });
  swatch.className = "swatch";
  swatch.style.background = known.colours[i % known.colours.length];
  label.append(box, " ", swatch, " ", name);
  $("legend").append(label);
});

for (let i = 0; i < dim; i++) {
  if (i === across || i === up) continue;
  const label = document.createElement("label");
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = -known.reach;
  slider.max = known.reach;
  slider.step = "any";
  slider.dataset.dim = i;
  slider.addEventListener("input", () => {
    halt();
    z[i] = Number(slider.value);
    drawn = null;
    if ($("grid").checked) backdrop = null;
    show();
  });
  label.append(`z[${i}] `, slider);
  $("sliders").append(label);
}

function resize() {
  const size = Math.round(plane.clientWidth * window.devicePixelRatio);
  if (size === 0 || (size === plane.width && size === plane.height)) return;
  plane.width = plane.height = size;
  redraw();
}
new ResizeObserver(resize).observe(plane);
const darkness = window.matchMedia("(prefers-color-scheme: dark)");
darkness.addEventListener("change", redraw);
sheet.decode().then(show);
