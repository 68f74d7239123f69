// A drawing → an image as the VAE knows them. Nothing here needs a browser.

// A box of a drawing, `width` to a row, as rows × columns averages of its area
export function shrink(ink, width, box, columns, rows) {
  const small = new Float64Array(columns * rows);
  const [across, down] = [box.width / columns, box.height / rows];
  const overlap = (i, from, to) => Math.min(i + 1, to) - Math.max(i, from);
  for (let i = 0; i < small.length; i++) {
    const left = box.left + (i % columns) * across;
    const top = box.top + Math.floor(i / columns) * down;
    for (let y = Math.floor(top); y < top + down; y++) {
      for (let x = Math.floor(left); x < left + across; x++) {
        const area = overlap(x, left, left + across) * overlap(y, top, top + down);
        small[i] += (area * (ink[y * width + x] ?? 0)) / (across * down);
      }
    }
  }
  return small;
}

// Strokes on a square pad, with those of a small drawing spread over as much of it as a
// large one covers, 20 of 28. Their thickness stays: enlarged, it would make a blob.
const MOST = 6; // times as large
export function spread(strokes, size) {
  const all = strokes.flatMap(({ places }) => places);
  const ends = [0, 1].map((axis) => {
    const values = all.map((place) => place[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const thickness = Math.max(...strokes.map((stroke) => stroke.thickness));
  const extent = Math.max(...ends.map(([least, most]) => most - least));
  const room = (size * 20) / 28 - thickness;
  if (extent >= room) return strokes;
  const scale = Math.min(MOST, room / extent);
  const move = (value, [least, most]) =>
    size / 2 + scale * (value - (least + most) / 2);
  return strokes.map((stroke) => ({
    ...stroke,
    places: stroke.places.map((place) => place.map((v, axis) => move(v, ends[axis]))),
  }));
}

// The smallest box around the ink, ignoring the faint edges of strokes; null if none
export function boundingBox(ink, width) {
  let [left, right, top, bottom] = [Infinity, -1, Infinity, -1];
  ink.forEach((value, i) => {
    if (value < 0.5) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  });
  return right < 0
    ? null
    : { left, top, width: right + 1 - left, height: bottom + 1 - top };
}

// A drawing, prepared like MNIST's digits: fitted into 20 × 20 pixels, then moved so that
// its center of mass is in the middle of 28 × 28 (LeCun et al. 1998)
export function center(ink, width) {
  const x = new Float64Array(28 * 28);
  const box = boundingBox(ink, width);
  if (!box) return x;
  const scale = 20 / Math.max(box.width, box.height);
  const columns = Math.max(1, Math.round(scale * box.width));
  const rows = Math.max(1, Math.round(scale * box.height));
  const digit = shrink(ink, width, box, columns, rows);
  let [mass, across, down] = [0, 0, 0];
  digit.forEach((value, i) => {
    mass += value;
    across += value * ((i % columns) + 0.5);
    down += value * (Math.floor(i / columns) + 0.5);
  });
  // Rounded up, as in MNIST, where every center of mass is between 14 and 15.
  const left = Math.min(28 - columns, Math.max(0, Math.ceil(14 - across / mass)));
  const top = Math.min(28 - rows, Math.max(0, Math.ceil(14 - down / mass)));
  digit.forEach((value, i) => {
    x[(top + Math.floor(i / columns)) * 28 + left + (i % columns)] = value;
  });
  return x;
}
