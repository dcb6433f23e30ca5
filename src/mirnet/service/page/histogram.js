// @ts-check
// How many pixels are how bright, before and after: counted, and drawn as two hills in front of each other.

const BINS = 128;
const AT_MOST = 60_000; // of so many pixels, evenly spread, the hills look the same as of all

/**
 * Counts luma (as televisions weigh it) of RGBA bytes.
 * @param {Uint8ClampedArray} pixels
 * @returns {{counts: Float64Array, mean: number}} the mean as a share of white
 */
export function count(pixels) {
  const counts = new Float64Array(BINS);
  const step = 4 * Math.max(1, Math.floor(pixels.length / 4 / AT_MOST));
  let sum = 0;
  let number = 0;
  for (let at = 0; at < pixels.length; at += step) {
    const luma = 0.2126 * pixels[at] + 0.7152 * pixels[at + 1] + 0.0722 * pixels[at + 2];
    counts[Math.min(BINS - 1, Math.floor((luma / 256) * BINS))]++;
    sum += luma;
    number++;
  }
  return { counts, mean: sum / number / 255 };
}

/** @param {HTMLCanvasElement} canvas */
export const clear = (canvas) => canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);

/**
 * Draws both hills, in the colours of their keys: those a browser tells as computed, however the style sheet says them.
 * @param {HTMLCanvasElement} canvas @param {Iterable<Element>} keys of before and after
 */
export function draw(canvas, before, after, keys) {
  const ratio = devicePixelRatio;
  const width = (canvas.width = Math.round(canvas.clientWidth * ratio));
  const height = (canvas.height = Math.round(canvas.clientHeight * ratio));
  const pen = canvas.getContext("2d");
  const colours = [...keys].map((key) => getComputedStyle(key, "::before").backgroundColor);
  // A few bins, pure black above all, tower over the rest: heights are square roots, so that the rest is seen too.
  const highest = Math.sqrt(Math.max(...before.counts, ...after.counts, 1));
  const hill = (counts) => {
    const path = new Path2D();
    path.moveTo(0, height);
    counts.forEach((value, bin) => {
      path.lineTo((bin / (BINS - 1)) * width, height - (Math.sqrt(value) / highest) * (height - 2 * ratio));
    });
    path.lineTo(width, height);
    path.closePath();
    return path;
  };
  pen.clearRect(0, 0, width, height);
  for (const [index, { counts }] of [before, after].entries()) {
    const path = hill(counts);
    pen.fillStyle = pen.strokeStyle = colours[index];
    pen.globalAlpha = 0.35;
    pen.fill(path);
    pen.globalAlpha = 1;
    pen.lineWidth = 1.25 * ratio;
    pen.stroke(path);
  }
}
