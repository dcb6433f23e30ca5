// @ts-check
// From a picture and its settings to a file on the person's disk: a job of the server in full depth, saved by the
// browser under the original's name with `.bright`; or all of them as one zip.

import { events, json, Problem, send } from "./api.js";
import { body, options, savingKey } from "./settings.js";
import { text } from "./texts.js";
import { downloadZip } from "./vendor/client-zip/index.js";

const FINISHED = ["done", "failed", "cancelled"];
const SUFFIXES = { jpeg: ["jpg", "jpeg", "jpe", "jfif"], tiff: ["tif", "tiff"] }; // those of others are one each
const KEPT_FOR_MS = 60_000; // a download is over by then

/**
 * Renders a picture in full.
 * @param {import("./pictures.js").Pictures} pictures
 * @param {import("./pictures.js").Picture} picture
 * @param {string} format a name of the service, or "" as the file came
 * @param {{name: string, suffix: string, media_type: string}[]} formats what the service can write
 * @param {AbortSignal} signal
 * @returns {Promise<{name: string, input: Blob, lastModified: Date, key: string}>}
 */
export async function developed(pictures, picture, format, formats, signal) {
  const settings = { ...picture.settings };
  const query = [...options(settings), ...(format ? [["format", format]] : [])];
  pictures.working(picture, 0);
  const run = () =>
    pictures.withPreview(picture, async ({ id }) => {
      const job = await json("POST", "v1/jobs", { query: [...query, ["preview", id]], body: body(settings), signal });
      return finished(job, (progress) => pictures.working(picture, progress), signal);
    });
  const { blob, mediaType } = await run().catch((error) => {
    if (!(error instanceof Problem && error.gone)) throw error;
    return run(); // the server forgot the job, as one that was started anew does: once more
  });
  const written = formats.find((each) => each.media_type === mediaType);
  return { name: brightName(picture.name, written), input: blob, lastModified: new Date(), key: savingKey(settings) };
}

/** Waits for a job, and fetches what came of it. */
async function finished(job, report, signal) {
  const path = `v1/jobs/${job.id}`;
  const forget = () => send("DELETE", path).catch(() => {}); // it forgets by itself, only later
  signal.addEventListener("abort", forget, { once: true });
  try {
    while (!FINISHED.includes(job.state)) {
      job = await lastOf(path, job, report, signal);
      if (!FINISHED.includes(job.state)) job = await json("GET", path, { signal }); // the stream broke off
    }
    if (job.state !== "done") throw new Problem(job.problem?.detail ?? text("errors.interrupted"), job.problem ?? {});
    const answer = await send("GET", `${path}/result`, { signal });
    const blob = await answer.blob();
    forget();
    return { blob, mediaType: job.result.media_type };
  } finally {
    signal.removeEventListener("abort", forget);
  }
}

async function lastOf(path, job, report, signal) {
  try {
    for await (job of events(`${path}/events`, { signal })) report(job.progress);
  } catch (error) {
    if (signal.aborted || error instanceof Problem) throw error;
  }
  return job;
}

/** party.JPG becomes party.bright.JPG, or party.bright.png where the format is another. */
export function brightName(name, written) {
  const [, stem, suffix] = /^(.+?)(?:\.([^.]*))?$/s.exec(name);
  const known = written ? (SUFFIXES[written.name] ?? [written.suffix.replace(".", "")]) : [];
  const keeps = !written || (suffix && known.includes(suffix.toLowerCase()));
  const end = keeps ? suffix : written.suffix.replace(".", "");
  return [stem, text("save.suffix"), end].filter(Boolean).join(".");
}

/** Hands a file to the browser's downloads. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_FOR_MS);
}

/** One zip of files with names that differ: a second party.bright.jpg becomes party.bright-2.jpg. */
export function zipped(files) {
  const taken = new Set();
  const unique = files.map(({ name, ...rest }) => {
    let free = name;
    for (let count = 2; taken.has(free); count++) free = name.replace(/(\.[^.]*)?$/s, `-${count}$1`);
    taken.add(free);
    return { name: free, ...rest };
  });
  return downloadZip(unique).blob();
}
