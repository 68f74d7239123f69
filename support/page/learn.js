// Training as in vae_mnist.py, with the gradient written by hand: one hidden layer in the
// encoder and one in the decoder, RMSprop with momentum. Nothing here needs a browser.

import {
  dense,
  klDivergence,
  multiply,
  normal,
  reconstructionLoss,
  row,
  sigmoid,
} from "./vae.js";

const MOMENTUM = 0.9;

// What a program can get wrong: a change of one line each
export const MISTAKES = {
  none: "none",
  mean: "a mean over the pixels instead of the sum",
  noise: "no noise: z = z_mean",
  exp: "no exp: z = z_mean + z_log_sigma·ε",
  sign: "the KL subtracted instead of added",
};

// Layers with random weights, as build_encoder, build_decoder and VAE.adapt make them.
// images: n of them, one after the other
export function build(images, pixels, { units = 64, latentDim = 2 } = {}) {
  const count = images.length / pixels;
  const mean = images.reduce((sum, value) => sum + value, 0) / images.length;
  const square = images.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const white = new Float64Array(pixels);
  images.forEach((value, i) => {
    white[i % pixels] += value;
  });
  const random = (length, draw) => Float32Array.from({ length }, draw);
  const layer = (inputs, outputs, activation, bias = 0) => {
    const limit = Math.sqrt(6 / (inputs + outputs)); // Glorot & Bengio 2010
    const kernel = random(inputs * outputs, () => limit * (2 * Math.random() - 1));
    return { kernel, bias: new Float32Array(outputs).fill(bias), activation };
  };
  const spread = () => Math.sqrt(8 / latentDim) * normal();
  const logits = layer(units, pixels, "linear");
  logits.bias = Float32Array.from(white, (sum) => {
    const p = (sum + 1) / (count + 2);
    return Math.log(p / (1 - p));
  });
  return {
    mean,
    scale: 5 / Math.sqrt(pixels) / Math.max(1e-7, Math.sqrt(square / images.length)),
    hidden: [layer(pixels, units, "tanh")],
    z_mean: layer(units, latentDim, "linear"),
    z_log_sigma: layer(units, latentDim, "linear", -2),
    decoder: [
      {
        kernel: random(units * latentDim, spread),
        bias: random(units, spread),
        activation: "tanh",
      },
      logits,
    ],
  };
}

export const layersOf = ({ hidden, z_mean, z_log_sigma, decoder }) => [
  ...hidden,
  z_mean,
  z_log_sigma,
  ...decoder,
];

// The forward pass for a batch x of images, with noise epsilon, and both terms of the loss
// as the program computes them: means over the batch
export function forward(vae, x, epsilon, mistake = "none") {
  const input = x.map((value) => (value - vae.mean) * vae.scale);
  const h = dense(input, vae.hidden[0]);
  const z_mean = dense(h, vae.z_mean);
  const z_log_sigma = dense(h, vae.z_log_sigma);
  const width = { noise: () => 0, exp: (log) => log }[mistake] ?? Math.exp;
  const z = z_mean.map((mean, i) => mean + width(z_log_sigma[i]) * epsilon[i]);
  const g = dense(z, vae.decoder[0]);
  const logits = dense(g, vae.decoder[1]);
  const count = x.length / vae.decoder[1].bias.length;
  const share = mistake === "mean" ? 1 / x.length : 1 / count; // of a pixel's loss
  const reconstruction = share * reconstructionLoss(x, logits);
  const kl = klDivergence({ z_mean, z_log_sigma }) / count;
  return { input, h, z_mean, z_log_sigma, z, g, logits, share, reconstruction, kl };
}

// The gradient of reconstruction + β·KL with respect to every layer's weights, in the order
// of layersOf, by backpropagation: from the loss back to the pixels
export function gradient(vae, x, epsilon, { beta = 1, mistake = "none" } = {}) {
  const pass = forward(vae, x, epsilon, mistake);
  const { input, h, z_mean, z_log_sigma, z, g, logits, share } = pass;
  const count = x.length / vae.decoder[1].bias.length;
  const price = (mistake === "sign" ? -beta : beta) / count; // of a nat of KL

  const dLogits = logits.map((logit, i) => share * (sigmoid(logit) - x[i]));
  const dG = throughTanh(back(dLogits, vae.decoder[1]), g);
  const dZ = back(dG, vae.decoder[0]);
  // z = z_mean + σ·ε: the gradient goes through both.
  const slope = { noise: () => 0, exp: () => 1 }[mistake] ?? Math.exp; // of σ by its log
  const dMean = dZ.map((value, i) => value + price * z_mean[i]);
  const dLog = dZ.map((value, i) => {
    const log = z_log_sigma[i];
    return value * epsilon[i] * slope(log) + price * (Math.exp(2 * log) - 1);
  });
  const dMeanH = back(dMean, vae.z_mean);
  const dLogH = back(dLog, vae.z_log_sigma);
  const dH = throughTanh(
    dMeanH.map((value, i) => value + dLogH[i]),
    h,
  );
  const gradients = [
    weightGradient(dH, input, count),
    weightGradient(dMean, h, count),
    weightGradient(dLog, h, count),
    weightGradient(dG, z, count),
    weightGradient(dLogits, g, count),
  ];
  return { ...pass, gradients };
}

// Through one layer, from its outputs to its inputs: D·K
const back = (d, { kernel, bias }) =>
  multiply(d, transpose(kernel, bias.length), bias.length);
const throughTanh = (d, h) => d.map((value, i) => value * (1 - h[i] ** 2));
// The gradient of a layer's weights: Dᵀ·H, and the sum of D
function weightGradient(d, h, count) {
  const columns = transpose(d, count);
  const units = d.length / count;
  const bias = Float64Array.from({ length: units }, (_, j) =>
    row(columns, j, count).reduce((sum, value) => sum + value, 0),
  );
  return { kernel: multiply(columns, transpose(h, count), count), bias };
}
function transpose(matrix, rows) {
  const columns = matrix.length / rows;
  const turned = new matrix.constructor(matrix.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) turned[j * rows + i] = matrix[i * columns + j];
  }
  return turned;
}

// RMSprop with momentum, as in Keras: the step is the gradient divided by the root of a
// running mean of its square
export class RMSprop {
  constructor(layers) {
    this.weights = layers.flatMap(({ kernel, bias }) => [kernel, bias]);
    this.squares = this.weights.map((values) => new Float64Array(values.length));
    this.steps = this.weights.map((values) => new Float64Array(values.length));
  }
  update(gradients, rate) {
    const all = gradients.flatMap(({ kernel, bias }) => [kernel, bias]);
    for (const [k, values] of this.weights.entries()) {
      const [gradient, square, step] = [all[k], this.squares[k], this.steps[k]];
      for (let i = 0; i < values.length; i++) {
        square[i] = 0.9 * square[i] + 0.1 * gradient[i] ** 2;
        const size = (rate * gradient[i]) / Math.sqrt(square[i] + 1e-7);
        step[i] = MOMENTUM * step[i] + size;
        values[i] -= step[i];
      }
    }
  }
}
