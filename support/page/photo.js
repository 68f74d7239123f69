// The ink in a photo of something written. Nothing here needs a browser.

const FAINTEST = 0.04; // contrast of ink with the paper
const NOISE = 7; // the same, in multiples of the paper's own
const STROKE = 0.11; // thickness of strokes, at least, as a share of the digit's size

// gray: values in [0, 1], `width` to a row. Returns the ink of each pixel, from 0 to 1:
// without the paper, its shadows and specks, and whether the ink was darker than the paper.
export function findInk(gray, width) {
  const height = gray.length / width;
  // Most of the photo is paper: is it lighter than halfway?
  const halfway = (quantile(gray, 0.002) + quantile(gray, 0.998)) / 2;
  const dark = quantile(gray, 0.5) > halfway;
  const value = dark ? gray.map((v) => 1 - v) : gray;
  // The paper around each pixel: the mean there, then the mean of what is below it
  const radius = Math.ceil(Math.max(width, height) / 8);
  const all = new Float64Array(value.length).fill(1);
  const mean = localMean(value, all, width, radius);
  const paper = value.map((v, i) => Number(v <= mean[i] + 0.02));
  const below = localMean(value, paper, width, radius);
  const above = value.map((v, i) => v - below[i]);
  const noise = quantile(above.map(Math.abs), 0.5);
  const written = keepLargest(
    above.map((v) => (v > Math.max(FAINTEST, NOISE * noise) ? v : 0)),
    width,
  );
  const level = quantile(
    written.filter((v) => v > 0),
    0.6,
  );
  const ink = written.map((v) => Math.min(1, Math.max(0, v / level / 0.5 - 0.4)));
  return { ink: thicken(ink, width), dark };
}

function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
}

// The weighted mean of the square around each pixel, from sums over rectangles
function localMean(values, weights, width, radius) {
  const height = values.length / width;
  const sums = (of) => {
    const table = new Float64Array((width + 1) * (height + 1));
    for (let y = 0; y < height; y++) {
      let row = 0;
      for (let x = 0; x < width; x++) {
        row += of(y * width + x);
        table[(y + 1) * (width + 1) + x + 1] = table[y * (width + 1) + x + 1] + row;
      }
    }
    return table;
  };
  const [top, bottom] = [sums((i) => values[i] * weights[i]), sums((i) => weights[i])];
  return values.map((value, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    const [left, right] = [Math.max(0, x - radius), Math.min(width, x + radius + 1)];
    const [up, down] = [Math.max(0, y - radius), Math.min(height, y + radius + 1)];
    const within = (table) =>
      table[down * (width + 1) + right] -
      table[up * (width + 1) + right] -
      table[down * (width + 1) + left] +
      table[up * (width + 1) + left];
    return within(bottom) ? within(top) / within(bottom) : value;
  });
}

// Only the largest piece of connected ink, and others of at least a tenth of its size. What
// touches the rim is the edge of a table or a finger, unless there is nothing else.
function keepLargest(ink, width) {
  const height = ink.length / width;
  const piece = new Int32Array(ink.length).fill(-1);
  const pieces = [];
  ink.forEach((value, start) => {
    if (value === 0 || piece[start] >= 0) return;
    const found = { size: 0, rim: false };
    const open = [start];
    piece[start] = pieces.length;
    while (open.length) {
      const i = open.pop();
      const [x, y] = [i % width, Math.floor(i / width)];
      found.size += ink[i];
      found.rim ||= x === 0 || y === 0 || x === width - 1 || y === height - 1;
      for (const [dx, dy] of [
        [1, 0],
        [-1, 0],
        [0, 1],
        [0, -1],
      ]) {
        const next = i + dx + dy * width;
        const inside = x + dx >= 0 && x + dx < width && y + dy >= 0 && y + dy < height;
        if (!inside || ink[next] === 0 || piece[next] >= 0) continue;
        piece[next] = pieces.length;
        open.push(next);
      }
    }
    pieces.push(found);
  });
  const free = pieces.filter(({ rim }) => !rim);
  const usable = free.some(({ size }) => size > 20) ? free : pieces;
  const largest = Math.max(...usable.map(({ size }) => size));
  const kept = new Set(usable.filter(({ size }) => size >= largest / 10));
  return ink.map((value, i) => (value && kept.has(pieces[piece[i]]) ? value : 0));
}

// Thin strokes, as of a ballpoint pen, become as thick as MNIST's.
function thicken(ink, width) {
  const height = ink.length / width;
  const at = (x, y) =>
    x >= 0 && x < width && y >= 0 && y < height ? ink[y * width + x] : 0;
  let [left, right, top, bottom] = [width, 0, height, 0];
  let [area, edge] = [0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (at(x, y) < 0.5) continue;
      [left, right] = [Math.min(left, x), Math.max(right, x)];
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
      area++;
      edge += Number(at(x + 1, y) < 0.5) + Number(at(x - 1, y) < 0.5);
      edge += Number(at(x, y + 1) < 0.5) + Number(at(x, y - 1) < 0.5);
    }
  }
  const size = Math.max(right - left, bottom - top) + 1;
  // Steps of a pixel's edge make a slanted line longer by up to √2: 4/π on average.
  const thickness = (2 * area) / ((Math.PI / 4) * edge);
  const radius = Math.round((STROKE * size - thickness) / 2);
  if (!(radius >= 1)) return ink;
  const thick = ink.slice();
  for (let y = top - radius; y <= bottom + radius; y++) {
    for (let x = left - radius; x <= right + radius; x++) {
      if (x < 0 || y < 0 || x >= width || y >= height) continue;
      for (let dy = -radius; dy <= radius; dy++) {
        const reach = Math.floor(Math.sqrt(radius ** 2 - dy ** 2));
        for (let dx = -reach; dx <= reach; dx++) {
          thick[y * width + x] = Math.max(thick[y * width + x], at(x + dx, y + dy));
        }
      }
    }
  }
  return thick;
}
