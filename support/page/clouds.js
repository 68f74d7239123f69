// What all clouds q(z|x) together have to do with the prior. Nothing here needs a browser.

import { klDivergence, normals, reparameterize, row } from "./vae.js";

const EACH = 5; // z drawn from every cloud

// For clouds of n images, as one array each of z_mean and z_log_sigma: the share of their
// mass that lies beyond 2σ of the prior in two of the dimensions; the mean KL; and the
// information that z has of the image, I(x; z) = mean of log q(z|x) − log q(z), where q(z)
// is the mean of all q(z|x) (Hoffman & Johnson 2016), from one z of each. Yields now and
// then.
export function* measureClouds({ z_mean, z_log_sigma }, latentDim, dims) {
  const count = z_mean.length / latentDim;
  const cloud = (i) => ({
    z_mean: row(z_mean, i, latentDim),
    z_log_sigma: row(z_log_sigma, i, latentDim),
  });
  const precision = z_log_sigma.map((value) => Math.exp(-value));
  const constant = Float64Array.from({ length: count }, (_, i) =>
    cloud(i).z_log_sigma.reduce((sum, value) => sum - value, 0),
  );
  let [beyond, kl, information] = [0, 0, 0];
  const log = new Float64Array(count); // log q(z|x) of every x, but for a constant
  for (let i = 0; i < count; i++) {
    let z;
    for (let draw = 0; draw < EACH; draw++) {
      z = reparameterize(cloud(i), normals(latentDim));
      if (Math.hypot(z[dims[0]], z[dims[1]]) > 2) beyond++;
    }
    kl += klDivergence(cloud(i));
    let most = -Infinity;
    for (let j = 0; j < count; j++) {
      let square = 0;
      for (let k = 0; k < latentDim; k++) {
        const at = j * latentDim + k;
        square += ((z[k] - z_mean[at]) * precision[at]) ** 2;
      }
      log[j] = constant[j] - square / 2;
      if (log[j] > most) most = log[j];
    }
    let sum = 0;
    for (const value of log) sum += Math.exp(value - most);
    information += log[i] - most - Math.log(sum / count);
    if (i % 16 === 0) yield;
  }
  return {
    beyond: beyond / (EACH * count),
    kl: kl / count,
    information: information / count,
  };
}
