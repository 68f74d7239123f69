// Numbers as text

export function decimal(value, digits) {
  const text = Math.abs(value) < 1e6 ? value.toFixed(digits) : value.toExponential(1);
  return text.replace("-", "−");
}
export const nats = (value) => decimal(value, 1);
// Rounded as nats() shows it, so that columns of such numbers add up
export const tenth = (value) => Math.round(10 * value) / 10;
