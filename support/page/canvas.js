// Images on canvases

import {
  asTrained,
  channels,
  classOf,
  height,
  known,
  pixels,
  state,
  width,
} from "./state.js";

export function fit(canvas, columns = 1, rows = 1) {
  [canvas.width, canvas.height] = [columns * width, rows * height];
  return canvas;
}

export function paint(canvas, x, left = 0, top = 0) {
  const picture = new ImageData(width, height);
  picture.data.fill(255);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      picture.data[4 * i + c] = 255 * x[channels === 3 ? 3 * i + c : i];
    }
  }
  canvas.getContext("2d").putImageData(picture, left, top);
}

export function paintTiles(canvas, images, columns) {
  fit(canvas, columns, Math.ceil(images.length / columns));
  images.forEach((x, i) => {
    paint(canvas, x, (i % columns) * width, Math.floor(i / columns) * height);
  });
}

// Any picture that a browser can draw → an image of the VAE's size
export const scratch = fit(document.createElement("canvas"));
export const scratchPen = scratch.getContext("2d", { willReadFrequently: true });
export function readScratch() {
  const { data } = scratchPen.getImageData(0, 0, width, height);
  return Float64Array.from({ length: pixels }, (_, k) => {
    if (channels === 3) return data[4 * Math.floor(k / 3) + (k % 3)] / 255;
    const [red, green, blue] = data.subarray(4 * k, 4 * k + 3);
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
  });
}

// The held-out images are tiles of one picture.
export const sheet = new Image();
sheet.src = known.sheet;
export function heldOut(i) {
  if (state.shown?.index === i) return state.shown;
  const left = (i % known.columns) * width;
  const top = Math.floor(i / known.columns) * height;
  scratchPen.drawImage(sheet, left, top, width, height, 0, 0, width, height);
  const name = known.labels
    ? `class ${known.classNames[classOf(i)]}`
    : `image ${i + 1}`;
  return { x: asTrained(readScratch()), name, index: i };
}
