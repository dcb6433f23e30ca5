// @ts-check
// From the server's layers to the picture that is shown: pure functions of pixels, RGBA in bytes as canvases have them.

/**
 * @typedef {{exposed: Uint8ClampedArray, restored: Uint8ClampedArray, automatic: Uint8ClampedArray}} Layers
 */

/**
 * Cuts one picture, in which the three layers lie below one another, into them.
 * @param {Uint8ClampedArray} pixels
 * @returns {Layers}
 */
export function cutLayers(pixels) {
  const one = pixels.length / 3;
  return {
    exposed: pixels.subarray(0, one),
    restored: pixels.subarray(one, 2 * one),
    automatic: pixels.subarray(2 * one),
  };
}

/**
 * The picture with a denoise and a strength: the server's own formula, within 1 of 255 of its own result.
 * @param {Uint8ClampedArray} original
 * @param {Layers} layers
 * @param {"auto" | number} denoise
 * @param {number} strength
 * @param {Uint8ClampedArray} result the same length as the others; written
 * @param {Uint8ClampedArray | null} [curve] 256 values through which the picture goes first, see exposureCurve
 */
export function blend(original, { exposed, restored, automatic }, denoise, strength, result, curve = null) {
  const from = denoise === "auto" ? automatic : exposed;
  const to = denoise === "auto" ? automatic : restored;
  const share = denoise === "auto" ? 0 : denoise;
  for (let at = 0; at < result.length; at += 4) {
    for (let channel = at; channel < at + 3; channel++) {
      let value = from[channel] + share * (to[channel] - from[channel]);
      if (curve) value = curve[Math.round(value)];
      result[channel] = original[channel] + strength * (value - original[channel]); // the array rounds and clamps
    }
    result[at + 3] = 255;
  }
}

/**
 * What an exposure change by `stops` makes of each of the 256 values: the same curve as in mirnet.exposure.expose.
 * It stands in while a slider moves; what the server renders a moment later takes its place.
 * @param {number} stops
 * @returns {Uint8ClampedArray | null} none where nothing changes
 */
export function exposureCurve(stops) {
  if (stops === 0) return null;
  const gain = 2 ** stops;
  return Uint8ClampedArray.from({ length: 256 }, (_, value) => {
    const light = decoded(value / 255);
    return 255 * encoded((gain * light) / Math.sqrt(1 + (gain * gain - 1) * light * light));
  });
}

const decoded = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const encoded = (light) => (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055);
