// Models as extras.explore wrote them. Nothing here needs a browser.

// A VAE whose arrays are still base64 → one that `encode` and `decode` can use
export function unpack(model) {
  const { bits, mean, scale, hidden, z_mean, z_log_sigma, decoder } = model;
  const layer = ({ activation, kernel, bias, biases, gate }) => ({
    activation,
    kernel: floats(kernel, bits),
    bias: floats(bias, bits),
    biases: biases && floats(biases),
    gate: gate && layer(gate),
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
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  const { buffer } = bytes;
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
