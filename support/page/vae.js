// The VAE in the page: what vae_mnist.py does with one image, in the same order.
// An image is an array of its pixels, x in [0, 1]. Nothing here needs a browser.

const ACTIVATIONS = {
  linear: (x) => x,
  tanh: Math.tanh,
  relu: (x) => Math.max(0, x),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  silu: (x) => x / (1 + Math.exp(-x)),
};
export const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));

// The dot product of h and a row of a matrix; four sums at a time, as one is slower
export function dot(h, matrix, start = 0) {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (; i + 3 < h.length; i += 4) {
    a += h[i] * matrix[start + i];
    b += h[i + 1] * matrix[start + i + 1];
    c += h[i + 2] * matrix[start + i + 2];
    d += h[i + 3] * matrix[start + i + 3];
  }
  for (; i < h.length; i++) a += h[i] * matrix[start + i];
  return a + b + c + d;
}

// A dense layer: h ↦ activation(kernel · h + bias), with a row of the kernel per output
function dense(h, { kernel, bias, activation }) {
  const activate = ACTIVATIONS[activation];
  const output = new Float64Array(bias.length);
  for (let j = 0; j < bias.length; j++) {
    output[j] = activate(dot(h, kernel, j * h.length) + bias[j]);
  }
  return output;
}
export const through = (layers, h) => layers.reduce(dense, h);

// Encoder: x → q(z|x) = N(z_mean, diag(σ²)), with z_log_sigma = log σ
export function encode(vae, x) {
  // Single precision, as in Keras: of constant images, the mean is exactly their gray.
  const standardize = (value) => (Math.fround(value) - vae.mean) * vae.scale;
  const h = through(vae.hidden, x.map(standardize));
  return { z_mean: dense(h, vae.z_mean), z_log_sigma: dense(h, vae.z_log_sigma) };
}

// ε ~ N(0, 1), by Box & Muller 1958
export function normal() {
  const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
  return radius * Math.cos(2 * Math.PI * Math.random());
}

// Sampling: q(z|x), ε → z = z_mean + σ·ε
export function reparameterize({ z_mean, z_log_sigma }, epsilon) {
  return z_mean.map((mean, i) => mean + Math.exp(z_log_sigma[i]) * epsilon[i]);
}

// Decoder: z → the logit of each pixel; sigmoid(logit) is its probability of being white
export const decode = (vae, z) => through(vae.decoder, z);

// Σ softplus(logit), which is −log p(x|z) of a black image. The log of a product of many
// is ten times as fast as many logs.
export function sumSoftplus(logits) {
  let [sum, product] = [0, 1];
  for (const logit of logits) {
    sum += Math.max(0, logit);
    product *= 1 + Math.exp(-Math.abs(logit));
    if (product < 1e300) continue;
    sum += Math.log(product);
    product = 1;
  }
  return sum + Math.log(product);
}

// Loss: −log p(x|z) and KL(q(z|x) ‖ N(0, I)), in nats
export const reconstructionLoss = (x, logits) => sumSoftplus(logits) - dot(x, logits);
export function klDivergence({ z_mean, z_log_sigma }) {
  return z_mean.reduce((sum, mean, i) => {
    const log = z_log_sigma[i];
    return sum + (Math.exp(2 * log) + mean ** 2 - 1 - 2 * log) / 2;
  }, 0);
}

// Points on the straight line from one z to another, including both
export function interpolate(from, to, count) {
  return Array.from({ length: count }, (_, step) => {
    const t = step / (count - 1);
    return from.map((value, i) => (1 - t) * value + t * to[i]);
  });
}

// Noise added to what the encoder sees, clipped to [0, 1]
export function corrupt(x, noise, epsilon) {
  return x.map((value, i) => Math.min(1, Math.max(0, value + noise * epsilon[i])));
}

// A VAE whose arrays are still base64 → one that `encode` and `decode` can use
export function unpack(model) {
  const { bits, mean, scale, hidden, z_mean, z_log_sigma, decoder } = model;
  const layer = ({ activation, kernel, bias }) => ({
    activation,
    kernel: floats(kernel, bits),
    bias: floats(bias, bits),
  });
  return {
    mean,
    scale,
    hidden: hidden.map(layer),
    z_mean: layer(z_mean),
    z_log_sigma: layer(z_log_sigma),
    decoder: decoder.map(layer),
  };
}

// The numbers in a base64 string of 16-bit or 32-bit floats
export function floats(text, bits = 32) {
  const { buffer } = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  if (bits === 32) return new Float32Array(buffer);
  const { Float16Array } = globalThis; // in browsers since 2025
  if (Float16Array) return Float32Array.from(new Float16Array(buffer));
  return Float32Array.from(new Uint16Array(buffer), float16);
}

// A 16-bit float: a sign bit, 5 bits of exponent, 10 of fraction (IEEE 754)
export function float16(bits) {
  const [sign, exponent] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31];
  const fraction = (bits & 1023) / 1024;
  if (exponent === 0) return sign * 2 ** -14 * fraction;
  return sign * 2 ** (exponent - 15) * (1 + fraction);
}
