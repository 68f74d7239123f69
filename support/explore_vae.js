"use strict";
// The VAE in the page: what vae_mnist.py does with one image, in the same order.
// An image is an array of its pixels, x in [0, 1]; nothing here knows of the page.

const ACTIVATIONS = {
  linear: (x) => x,
  tanh: Math.tanh,
  relu: (x) => Math.max(0, x),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  silu: (x) => x / (1 + Math.exp(-x)),
};
const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));

// A dense layer: h ↦ activation(h · kernel + bias)
function dense(h, { kernel, bias, activation }) {
  const sum = Float64Array.from(bias);
  for (let i = 0; i < h.length; i++) {
    const row = i * sum.length;
    for (let j = 0; j < sum.length; j++) sum[j] += h[i] * kernel[row + j];
  }
  return sum.map((value) => ACTIVATIONS[activation](value));
}
const through = (layers, h) => layers.reduce((input, layer) => dense(input, layer), h);

// Encoder: x → q(z|x) = N(z_mean, diag(σ²)), with z_log_sigma = log σ
function encode(vae, x) {
  const h = through(vae.hidden, x);
  return { z_mean: dense(h, vae.z_mean), z_log_sigma: dense(h, vae.z_log_sigma) };
}

// ε ~ N(0, 1), by Box & Muller 1958
function normal() {
  const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
  return radius * Math.cos(2 * Math.PI * Math.random());
}

// Sampling: q(z|x) → z = z_mean + σ·ε
function sample({ z_mean, z_log_sigma }) {
  return z_mean.map((mean, i) => mean + Math.exp(z_log_sigma[i]) * normal());
}

// Decoder: z → the logit of each pixel; sigmoid(logit) is its probability to be white
const decode = (vae, z) => through(vae.decoder, z);

// Loss: −log p(x|z) and KL(q(z|x) ‖ N(0, I)), in nats
function reconstructionLoss(x, logits) {
  const softplus = (logit) =>
    Math.max(0, logit) + Math.log1p(Math.exp(-Math.abs(logit)));
  return logits.reduce((sum, logit, i) => sum + softplus(logit) - x[i] * logit, 0);
}
function klDivergence({ z_mean, z_log_sigma }) {
  return z_mean.reduce((sum, mean, i) => {
    const log = z_log_sigma[i];
    return sum + (Math.exp(2 * log) + mean ** 2 - 1 - 2 * log) / 2;
  }, 0);
}

// Points on the straight line from one z to another, both of them included
function interpolate(from, to, count) {
  return Array.from({ length: count }, (_, step) => {
    const t = step / (count - 1);
    return from.map((value, i) => (1 - t) * value + t * to[i]);
  });
}

// Noise that is added to what the encoder sees, and clipped as a camera does
function corrupt(x, noise, epsilon) {
  return x.map((value, i) => Math.min(1, Math.max(0, value + noise * epsilon[i])));
}

// A box of a drawing, `width` to a row, as rows × columns averages of its area
function shrink(ink, width, box, columns, rows) {
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

// The smallest box round all ink, the faint rim of its strokes left out; null without
function boundingBox(ink, width) {
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

// A drawing as MNIST's digits are: fitted into 20 × 20 pixels, and put where its centre
// of mass lies in the middle of 28 × 28 (LeCun et al. 1998)
function centre(ink, width) {
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
  // Upwards, as in MNIST, where each centre of mass lies between 14 and 15.
  const left = Math.min(28 - columns, Math.max(0, Math.ceil(14 - across / mass)));
  const top = Math.min(28 - rows, Math.max(0, Math.ceil(14 - down / mass)));
  digit.forEach((value, i) => {
    x[(top + Math.floor(i / columns)) * 28 + left + (i % columns)] = value;
  });
  return x;
}

// The numbers in base64 of an array of 16-bit or 32-bit floats
function floats(text, bits = 32) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  if (bits === 32) return new Float32Array(bytes.buffer);
  return Float32Array.from(new Uint16Array(bytes.buffer), float16);
}

// A 16-bit float: a bit of sign, 5 of exponent, 10 of fraction (IEEE 754)
function float16(bits) {
  const [sign, exponent] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31];
  const fraction = (bits & 1023) / 1024;
  if (exponent === 0) return sign * 2 ** -14 * fraction;
  return sign * 2 ** (exponent - 15) * (1 + fraction);
}
