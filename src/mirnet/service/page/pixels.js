// @ts-check
// From what a server sends, or what lies in a file, to pixels whose values nobody has touched.

import { Problem } from "./api.js";
import { text } from "./texts.js";

/** A canvas that pixels are written to and read from, rather than shown. */
export function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d", { willReadFrequently: true }); // pixels stay in memory, where they can be read exactly
  return canvas;
}

/**
 * Decodes a PNG of the server to its very values: the browser shall neither convert colours nor multiply alpha.
 * @param {Blob} file
 * @returns {Promise<HTMLCanvasElement>}
 */
export async function decoded(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch (error) {
    throw new Problem(text("errors.undrawable"));
  }
  const canvas = canvasOf(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

/** RGBA bytes of a canvas. @returns {Uint8ClampedArray} */
export const bytesOf = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;

/**
 * Whether this browser gives back the pixels that were written. Some, above all in private windows, change them a little
 * or refuse, so that nobody is known again by them: what is shown stays right, what is computed of it would not be.
 */
export const exact = (() => {
  const side = 64;
  const known = Uint8ClampedArray.from({ length: 4 * side * side }, (_, at) => (at % 4 === 3 ? 255 : (at * 37 + (at >> 5) * 11) % 256));
  const written = canvasOf(side, side);
  const drawn = canvasOf(side, side);
  try {
    written.getContext("2d").putImageData(new ImageData(known, side, side), 0, 0);
    drawn.getContext("2d").drawImage(written, 0, 0);
    return bytesOf(drawn).every((value, at) => value === known[at]);
  } catch {
    return false;
  }
})();

/**
 * What the browser itself can show of a file, small and upright, with the size of the whole; null if it can't.
 * @param {File} file
 * @param {number} pixels at most so many
 */
export async function ownPreview(file, pixels) {
  const address = URL.createObjectURL(file);
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const { naturalWidth: width, naturalHeight: height } = image;
    if (!width || !height) return null;
    const share = Math.min(1, Math.sqrt(pixels / (width * height)));
    const canvas = canvasOf(Math.max(1, Math.round(width * share)), Math.max(1, Math.round(height * share)));
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    return { canvas, width, height };
  } catch {
    return null; // TIFF, HEIC, RAW and what is no picture at all: the server knows
  } finally {
    URL.revokeObjectURL(address);
  }
}
