// Images on canvases

import { asTrained, channels, classOf, height, known, state, width } from "./state.js";

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

// The number of the tile that was clicked
export function tileAt(event, columns, rows) {
  const box = event.currentTarget.getBoundingClientRect();
  const along = (from, length, count) =>
    Math.min(count - 1, Math.max(0, Math.floor((from / length) * count)));
  const column = along(event.clientX - box.left, box.width, columns);
  return along(event.clientY - box.top, box.height, rows) * columns + column;
}

// The pixels of a canvas as numbers from 0 to 1, in color only if the images have color
export function readPixels(canvas) {
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  return Float64Array.from({ length: (data.length / 4) * channels }, (_, k) => {
    if (channels === 3) return data[4 * Math.floor(k / 3) + (k % 3)] / 255;
    const i = 4 * k;
    return (0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]) / 255;
  });
}

// Draw a picture in the middle of a canvas, with a background where it is transparent.
export function drawBitmap(bitmap, canvas, scale, background) {
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const [wide, high] = [scale * bitmap.width, scale * bitmap.height];
  pen.fillStyle = background;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingQuality = "high";
  const [left, top] = [(canvas.width - wide) / 2, (canvas.height - high) / 2];
  pen.drawImage(bitmap, left, top, wide, high);
}

// Of an image's size
export const scratch = fit(document.createElement("canvas"));
const scratchPen = scratch.getContext("2d", { willReadFrequently: true });

// The page's images are tiles of one picture.
export const sheet = new Image();
sheet.src = known.sheet;
export function pageImage(i) {
  if (state.shown?.index === i) return state.shown;
  const left = (i % known.columns) * width;
  const top = Math.floor(i / known.columns) * height;
  scratchPen.drawImage(sheet, left, top, width, height, 0, 0, width, height);
  const name = known.labels
    ? `class ${known.classNames[classOf(i)]}`
    : `image ${i + 1}`;
  return { x: asTrained(readPixels(scratch)), name, index: i };
}
