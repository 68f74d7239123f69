// The VAE in the page: what vae_mnist.py does with images, in the same order.
// An image is an array of its pixels, x in [0, 1]; several are one array, one after the
// other, and so are several z. Nothing here needs a browser.

export const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));
const ACTIVATIONS = {
  linear: (x) => x,
  sigmoid,
  tanh: Math.tanh,
  relu: (x) => Math.max(0, x),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  silu: (x) => x * sigmoid(x),
};

export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

// Row i of a matrix of such rows
export const row = (matrix, i, length) => matrix.subarray(i * length, (i + 1) * length);

// A·Bᵀ: the dot products of all rows of A with all rows of B, `inner` numbers each. Four
// rows of B at a time, so that each number of A is fetched once for four products.
export function multiply(A, B, inner) {
  const [rows, columns] = [A.length / inner, B.length / inner];
  const product = new Float64Array(rows * columns);
  for (let column = 0; column < columns; column += 4) {
    // The last block repeats some rows if their number is no multiple of four.
    const j = Math.max(0, Math.min(column, columns - 4));
    const [b0, b1] = [j * inner, Math.min(j + 1, columns - 1) * inner];
    const b2 = Math.min(j + 2, columns - 1) * inner;
    const b3 = Math.min(j + 3, columns - 1) * inner;
    for (let row = 0; row < rows; row++) {
      let [s0, s1, s2, s3] = [0, 0, 0, 0];
      for (let k = 0; k < inner; k++) {
        const a = A[row * inner + k];
        s0 += a * B[b0 + k];
        s1 += a * B[b1 + k];
        s2 += a * B[b2 + k];
        s3 += a * B[b3 + k];
      }
      const sums = [s0, s1, s2, s3];
      const count = Math.min(4, columns);
      for (let i = 0; i < count; i++) product[row * columns + j + i] = sums[i];
    }
  }
  return product;
}

// A dense layer: h ↦ activation(kernel · h + bias), with a row of the kernel per output,
// times the outputs of a second layer if it has such a gate
export function dense(h, { kernel, bias, activation, gate }) {
  const activate = ACTIVATIONS[activation];
  const units = bias.length;
  const output = multiply(h, kernel, kernel.length / units);
  for (let i = 0; i < output.length; i++) {
    output[i] = activate(output[i] + bias[i % units]);
  }
  if (!gate) return output;
  const open = dense(h, gate);
  return output.map((value, i) => value * open[i]);
}
export const through = (layers, h) => layers.reduce(dense, h);

// Encoder: x → q(z|x) = N(z_mean, diag(σ²)), with z_log_sigma = log σ
export function encode(vae, x) {
  // Single precision, as in Keras: of constant images, the mean is exactly their gray.
  const standardize = (value) => (Math.fround(value) - vae.mean) * vae.scale;
  const h = through(vae.hidden, x.map(standardize));
  return { z_mean: dense(h, vae.z_mean), z_log_sigma: dense(h, vae.z_log_sigma) };
}

// A conditional VAE, given a label. One-hot, it only adds a row of the kernel to the bias,
// in the first layer of the encoder and of the decoder.
export function given(vae, label) {
  const relabel = (layer) => ({
    ...layer,
    bias: row(layer.biases, label, layer.bias.length),
    gate: layer.gate && relabel(layer.gate),
  });
  const [hidden, decoder] = [vae.hidden, vae.decoder].map(([first, ...others]) => [
    relabel(first),
    ...others,
  ]);
  return { ...vae, hidden, decoder };
}

// ε ~ N(0, 1), by Box & Muller 1958
export function normal() {
  const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
  return radius * Math.cos(2 * Math.PI * Math.random());
}

export const normals = (length) => Float64Array.from({ length }, normal);

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

// A point between two z
export const mix = (from, to, t) => from.map((value, i) => (1 - t) * value + t * to[i]);

// Noise added to what the encoder sees, clipped to [0, 1]
export function corrupt(x, noise, epsilon) {
  return x.map((value, i) => Math.min(1, Math.max(0, value + noise * epsilon[i])));
}
