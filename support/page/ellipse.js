// The best q(z|x) for one image: the Gaussian with the smallest bound, of which the encoder
// has to guess the parameters in one pass. Nothing here needs a browser.

import {
  decode,
  klDivergence,
  reconstructionLoss,
  reparameterize,
  row,
} from "./vae.js";

// Gauss-Hermite quadrature, [ε, weight], exact for polynomials up to degree nine
const NODES = [
  [-2.856970013872806, 0.011257411327720691],
  [-1.355626179974266, 0.22207592200561266],
  [0, 0.5333333333333333],
  [1.355626179974266, 0.22207592200561266],
  [2.856970013872806, 0.011257411327720691],
];
const POINTS = NODES.flatMap(([a, u]) =>
  NODES.map(([b, v]) => ({ epsilon: [a, b], weight: u * v })),
);
const ITERATIONS = 60;
const DAMPING = 0.5; // of the way to what Newton's method says

// The loss at the 25 nodes of q in a plane: [{ epsilon, weight, z, loss }]
function evaluate(vae, x, q) {
  const z = POINTS.map(({ epsilon }) => [...reparameterize(q, epsilon)]);
  const logits = decode(vae, Float64Array.from(z.flat()));
  return POINTS.map((point, i) => ({
    ...point,
    z: z[i],
    loss: reconstructionLoss(x, row(logits, i, x.length)),
  }));
}
const expect = (points, value) =>
  points.reduce((sum, point) => sum + point.weight * value(point), 0);

// Steps from some q to a better one: Newton's method for a Gaussian (Khan & Lin 2017, Khan
// et al. 2018). With
// f(z) = −log p(x|z) + ½|z|², it needs the means of f' and f'' over q, which Stein's
// identity makes of f alone: E[f'] = E[f·ε]/σ and E[f''] = E[f·(ε² − 1)]/σ².
function* improve(vae, x, start) {
  let q = start;
  let best = { bound: Infinity };
  for (let step = 0; step <= ITERATIONS; step++) {
    const points = evaluate(vae, x, q);
    const bound = expect(points, ({ loss }) => loss) + klDivergence(q);
    if (bound < best.bound) best = { q, bound };
    const f = ({ loss, z }) => loss + (z[0] ** 2 + z[1] ** 2) / 2;
    const next = { z_mean: q.z_mean.slice(), z_log_sigma: q.z_log_sigma.slice() };
    for (const i of [0, 1]) {
      const sigma = Math.exp(q.z_log_sigma[i]);
      const gradient = expect(points, (p) => f(p) * p.epsilon[i]) / sigma;
      const curvature =
        expect(points, (p) => f(p) * (p.epsilon[i] ** 2 - 1)) / sigma ** 2;
      const now = 1 / sigma ** 2;
      // Where f is not convex, or far off, at most a factor of two in σ.
      const precision = Math.min(
        4 * now,
        Math.max(now / 4, (1 - DAMPING) * now + DAMPING * curvature),
      );
      next.z_log_sigma[i] = -Math.log(precision) / 2;
      const shift = (DAMPING * gradient) / precision;
      next.z_mean[i] -= Math.sign(shift) * Math.min(Math.abs(shift), 2 * sigma);
    }
    q = next;
    yield;
  }
  return best;
}

// The better of two searches: from the encoder's q and from the densest place of the true
// posterior. Yields after every step.
export function* findBestEllipse(vae, x, q, { leaves }) {
  const densest = leaves.reduce((a, b) => (b.density > a.density ? b : a));
  const one = yield* improve(vae, x, q);
  const other = yield* improve(vae, x, { ...q, z_mean: densest.z });
  return one.bound < other.bound ? one.q : other.q;
}
