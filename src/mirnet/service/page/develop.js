// @ts-check
// From settings to the picture on the stage: what can be blended here is shown at once, the rest is asked of the server
// when the sliders rest, first small and soon, then as large as the stage, then the seen part's own pixels.

import { pause, send } from "./api.js";
import { blend, cutLayers, exposureCurve } from "./blend.js";
import { bytesOf, canvasOf, decoded } from "./pixels.js";
import { body, renderingKey, renderingOptions } from "./settings.js";
import { meet, without } from "./view.js";

const QUICK_PX = 200_000; // two cores render it in a fifth of a second
const ONE_PIECE_PX = 1_500_000; // that the server renders at once; what is larger it makes of tiles
const MOST_PX = 8_300_000; // of a whole picture: the finest screens
const MOST_PIECES = 6; // a large, fine screen at 1:1 is worth so many
const KEPT_PX = 6_000_000; // of pieces that are not seen any more, for whoever comes back
const ORIGINALS_KEPT = 8;
const REST_MS = 100;
const MUCH = 1.1; // less sharper is not worth a request

/**
 * @typedef {{key: string, exposure: number, region: number[], before: HTMLCanvasElement,
 *   after: HTMLCanvasElement, original: Uint8ClampedArray | null, layers: any, image: ImageData | null, blended: string,
 *   stops: number}} Shot a part of the picture as the server rendered it; with layers where they can be blended here
 */

/** Tells "shown" whenever other pixels are on the stage, "busy" with what it waits for, "failed" with an error. */
export class Developer extends EventTarget {
  /** @param {import("./viewer.js").Viewer} viewer @param {import("./pictures.js").Pictures} pictures */
  constructor(viewer, pictures) {
    super();
    this.viewer = viewer;
    this.pictures = pictures;
    /** @type {import("./pictures.js").Picture | null} */
    this.picture = null;
    this.preview = null;
    /** @type {Shot | null} */
    this.whole = null;
    /** @type {Shot[]} the seen part at its own pixels */
    this.details = [];
    this.originals = new Map(); // by what was asked for: other settings do not change them
    this.asking = new AbortController();
    this.blending = 0;
    viewer.addEventListener("view", () => this.#viewChanged());
  }

  /** Shows another picture, which is ready, or none. */
  show(picture) {
    this.asking.abort();
    this.#mark(false);
    this.picture = picture;
    this.preview = picture?.preview ?? null; // its facts; the server may know it by another name later
    this.whole = null;
    this.details = [];
    this.originals = new Map();
    this.viewer.open(picture && { width: picture.preview.width, height: picture.preview.height });
    if (picture) this.#refresh(0);
  }

  /** To be called after each change of the shown picture's settings. */
  settingsChanged() {
    this.#blend();
    this.#refresh(REST_MS);
  }

  /** Stops of exposure that the picture on the stage has, null before the first. */
  get stops() {
    return this.whole?.stops ?? null;
  }

  #viewChanged() {
    if (!this.whole) return;
    this.#blend(); // what comes into sight was left as it was
    const sharper = this.#wantedPixels() > pixelsOf(this.whole) * MUCH;
    if (sharper || this.#missingRegions().length) this.#refresh(REST_MS);
  }

  async #refresh(rest) {
    this.asking.abort();
    const asking = (this.asking = new AbortController());
    this.#mark(true);
    try {
      await pause(rest, asking.signal);
      await this.#ask(asking.signal);
    } catch (error) {
      if (!asking.signal.aborted) this.dispatchEvent(new CustomEvent("failed", { detail: error }));
    } finally {
      if (asking === this.asking) {
        this.#busy("");
        this.#mark(false);
      }
    }
  }

  async #ask(signal) {
    const { picture } = this;
    const { width, height, blendable } = this.preview;
    const key = renderingKey(picture.settings, blendable);
    const all = [0, 0, width, height];
    const wanted = this.#wantedPixels();
    if (this.whole?.key !== key) {
      this.#busy("rendering");
      this.whole = await this.#shot(all, [["pixels", Math.min(QUICK_PX, wanted)]], signal);
      this.#arrived();
    }
    for (const pixels of wanted > 2 * ONE_PIECE_PX ? [ONE_PIECE_PX, wanted] : [wanted]) {
      if (pixels <= pixelsOf(this.whole) * MUCH) continue;
      this.#busy("sharpening");
      this.whole = await this.#shot(all, [["pixels", pixels]], signal);
      this.#arrived();
    }
    for (const region of this.#missingRegions()) {
      this.#busy("sharpening");
      this.details.push(await this.#shot(region, [["region", region]], signal));
      this.#arrived();
    }
  }

  /** How many pixels the whole picture is worth on this stage: as many as it covers, but no more than it has. */
  #wantedPixels() {
    const { width, height } = this.preview;
    const covered = Math.max(QUICK_PX, this.viewer.fittedPixels);
    return Math.floor(Math.min(width * height, MOST_PX, covered));
  }

  /** What is missing of the seen part, if its own pixels would show more than the whole picture's rendering does. */
  #missingRegions() {
    const { region, view } = this.viewer;
    const sharpness = this.whole.after.width / this.preview.width;
    if (Math.min(1, view.scale) <= sharpness * MUCH) return [];
    const [, , width, height] = region;
    if (width * height > ONE_PIECE_PX * MOST_PIECES) return [];
    const key = renderingKey(this.picture.settings, this.preview.blendable);
    const there = this.details.filter((each) => each.key === key).map((each) => each.region);
    const missing = there.reduce((left, each) => left.flatMap((one) => without(one, each)), [region]);
    return (missing.length > MOST_PIECES ? [region] : missing).flatMap(inPieces);
  }

  /** @returns {Promise<Shot>} */
  async #shot(region, where, signal) {
    const { picture, originals } = this;
    const settings = { ...picture.settings };
    const shot = await this.pictures.withPreview(picture, async ({ id, blendable }) => {
      const name = String(where);
      const [original, rendered] = await Promise.all([
        originals.get(name) ?? canvasFrom(send("GET", `v1/previews/${id}/original`, { query: where, signal })),
        render(id, settings, where, blendable, signal),
      ]);
      originals.delete(name);
      originals.set(name, original); // last in line to be forgotten
      if (originals.size > ORIGINALS_KEPT) originals.delete(originals.keys().next().value);
      const { width, height } = original;
      return {
        key: renderingKey(settings, blendable),
        exposure: settings.exposure,
        region,
        before: original,
        original: blendable ? bytesOf(original) : null,
        layers: blendable ? cutLayers(bytesOf(rendered.canvas)) : null,
        after: blendable ? canvasOf(width, height) : rendered.canvas,
        image: blendable ? new ImageData(width, height) : null,
        blended: "",
        stops: rendered.stops,
      };
    });
    signal.throwIfAborted(); // an abort ends requests, but not the decoding of what has come
    return shot;
  }

  #arrived() {
    const current = renderingKey(this.picture.settings, this.preview.blendable);
    this.details = this.#kept(this.details.filter((each) => each.key === current)); // others are sharp, but of other settings
    this.viewer.pieces = [this.whole, ...this.details];
    this.#blendNow();
  }

  /** The pieces that are seen, and the newest of the others. */
  #kept(details) {
    let room = KEPT_PX;
    const { region } = this.viewer;
    return details.reverse().filter((each) => meet(each.region, region) || (room -= pixelsOf(each)) > 0).reverse();
  }

  /** Blends before the next frame, however many sliders moved. */
  #blend() {
    this.blending ||= requestAnimationFrame(() => this.#blendNow());
  }

  #blendNow() {
    cancelAnimationFrame(this.blending);
    this.blending = 0;
    if (!this.whole) return;
    const seen = this.details.filter((each) => meet(each.region, this.viewer.region));
    for (const shot of [this.whole, ...seen]) if (shot.layers) this.#blendShot(shot);
    this.viewer.paint();
    this.dispatchEvent(new Event("shown"));
  }

  #blendShot(shot) {
    const { denoise, strength, exposure } = this.picture.settings;
    const wished = String([denoise, strength, exposure]);
    if (shot.blended === wished) return;
    shot.blended = wished;
    const curve = exposureCurve(exposure - shot.exposure); // until the server has rendered that exposure
    blend(shot.original, shot.layers, denoise, strength, shot.image.data, curve);
    shot.after.getContext("2d").putImageData(shot.image, 0, 0);
  }

  /** Says, to whoever reads the page aloud, whether more is to come. */
  #mark(busy) {
    this.viewer.stage.setAttribute("aria-busy", String(busy));
  }

  #busy(what) {
    this.dispatchEvent(new CustomEvent("busy", { detail: what }));
  }
}

/** A region in parts that the server renders at once. */
const inPieces = ([x, y, width, height]) => {
  const rows = Math.max(1, Math.floor(ONE_PIECE_PX / width));
  const tops = Array.from({ length: Math.ceil(height / rows) }, (_, index) => index * rows);
  return tops.map((top) => [x, y + top, width, Math.min(rows, height - top)]);
};

const pixelsOf = (shot) => shot.after.width * shot.after.height;

const canvasFrom = async (answer) => decoded(await (await answer).blob());

async function render(id, settings, where, blendable, signal) {
  const answer = await send("POST", `v1/previews/${id}`, {
    query: [...renderingOptions(settings, blendable), ...where, ["layers", blendable]],
    body: body(settings),
    headers: { "Mirnet-Render": "latest" },
    signal,
  });
  return { canvas: await decoded(await answer.blob()), stops: Number(answer.headers.get("Mirnet-Stops")) };
}

/** A small rendering as the server proposes it, for the queue. @returns {Promise<HTMLCanvasElement>} */
export const thumbnail = (id, signal) => canvasFrom(send("POST", `v1/previews/${id}`, { query: [["pixels", 20_000]], signal }));
