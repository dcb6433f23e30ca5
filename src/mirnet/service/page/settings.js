// @ts-check
// What a person may choose for one picture, and how that is said to the server.

/**
 * @typedef {{exposure: number, keep_exposure: boolean, mood: "day" | "night", match: File | null,
 *   denoise: "auto" | number, strength: number, warmth: number, strip_location: boolean, quality: number}} Settings
 */

/** @type {Readonly<Settings>} The server's own defaults; what equals them need not be said. */
export const DEFAULTS = Object.freeze({
  exposure: 0,
  keep_exposure: false,
  mood: "day",
  match: null,
  denoise: "auto",
  strength: 1,
  warmth: 0,
  strip_location: false,
  quality: 92,
});

const ONLY_IN_FILES = ["strip_location", "quality"];
const BLENDED_HERE = ["denoise", "strength"];

/** The options of a request as [name, value], without the picture to match, which is a body. */
export function options(settings, { without = [] } = {}) {
  return Object.entries(settings).filter(
    ([name, value]) => name !== "match" && !without.includes(name) && value !== DEFAULTS[name],
  );
}

/** The body that a request with these settings has: the photograph to match, or none. */
export function body(settings) {
  if (!settings.match) return undefined;
  const form = new FormData();
  form.append("match", settings.match, "match");
  return form;
}

/** Says which rendering settings need: equal keys, equal pictures from the server. */
export function renderingKey(settings, blendable) {
  const without = blendable ? [...ONLY_IN_FILES, ...BLENDED_HERE] : ONLY_IN_FILES;
  return JSON.stringify([options(settings, { without }), fingerprint(settings.match)]);
}

/** The options of a rendering; where layers are blended here, the server need not know how. */
export function renderingOptions(settings, blendable) {
  return options(settings, { without: blendable ? [...ONLY_IN_FILES, ...BLENDED_HERE] : ONLY_IN_FILES });
}

/** Says what a saved file has in it: as long as it stays the same, there is nothing unsaved. */
export const savingKey = (settings) => JSON.stringify([options(settings), fingerprint(settings.match)]);

const fingerprint = (file) => file && [file.name, file.size, file.lastModified];
