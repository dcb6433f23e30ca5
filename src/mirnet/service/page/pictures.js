// @ts-check
// The photographs that were added: what became of each, and its preview in the server's memory. A preview is sent once,
// and again by itself when the server has dropped it.

import { Problem, send } from "./api.js";
import { exact } from "./pixels.js";
import { percent, text } from "./texts.js";
import { DEFAULTS, savingKey } from "./settings.js";

const MEGABYTE = 1_000_000;

let number = 0;

/** One photograph. `state` is waiting, uploading, looking, ready, saving or failed. */
export class Picture {
  /** @param {File} file */
  constructor(file, { example = false } = {}) {
    this.id = `picture-${++number}`;
    this.file = file;
    this.name = file.name;
    this.example = example;
    this.state = "waiting";
    this.progress = 0;
    /** @type {import("./settings.js").Settings} */
    this.settings = { ...DEFAULTS };
    /** @type {{id: string, width: number, height: number, [fact: string]: any} | null} */
    this.preview = null;
    this.problem = "";
    this.matchProblem = ""; // why the photograph to match is left out
    this.saved = example ? savingKey(DEFAULTS) : ""; // of an untouched example nothing is lost
    this.gone = new AbortController();
    /** @type {{canvas: HTMLCanvasElement, width: number, height: number} | null} what the browser itself can show of it */
    this.own = null;
    /** @type {Promise<void> | null} an upload that is under way */
    this.underWay = null;
    this.announced = null; // the preview that was last told of
  }

  get unsaved() {
    const hopeless = this.state === "failed" && !this.preview;
    return !hopeless && this.saved !== savingKey(this.settings);
  }

  /** In a word or two, for people. */
  get described() {
    const state = this.state === "ready" && this.saved && !this.unsaved && !this.example ? "saved" : this.state;
    return text(`state.${state}`, { percent: percent(this.progress) });
  }
}

/** Tells "added", "changed" and "removed"; each event's `detail` is the picture. */
export class Pictures extends EventTarget {
  constructor() {
    super();
    /** @type {Picture[]} */
    this.all = [];
    this.largestFile = Infinity; // in bytes; the server says it
    this.line = Promise.resolve(); // uploads stand in line, so that the first is seen soon
  }

  get unsaved() {
    return this.all.some((picture) => picture.unsaved);
  }

  add(picture) {
    this.all.push(picture);
    this.#tell("added", picture);
    this.line = this.line.then(() => this.upload(picture).catch((error) => this.fail(picture, error)));
  }

  remove(picture) {
    picture.gone.abort();
    this.all = this.all.filter((each) => each !== picture);
    if (picture.preview) send("DELETE", `v1/previews/${picture.preview.id}`).catch(() => {}); // it is dropped anyway
    this.#tell("removed", picture);
  }

  /** Tries again what failed. */
  retry(picture) {
    picture.problem = "";
    if (picture.preview) return this.#change(picture, { state: "ready" });
    this.#change(picture, { state: "waiting" });
    this.line = this.line.then(() => this.upload(picture).catch((error) => this.fail(picture, error)));
  }

  /** Sends the file, for a preview in the server's memory. Once, however many ask. */
  upload(picture) {
    picture.underWay ??= this.#upload(picture).finally(() => (picture.underWay = null));
    return picture.underWay;
  }

  async #upload(picture) {
    const { signal } = picture.gone;
    signal.throwIfAborted();
    if (picture.file.size > this.largestFile) {
      const [megabytes, limit] = [picture.file.size, this.largestFile].map((bytes) => Math.round(bytes / MEGABYTE));
      throw new Problem(text("errors.too_large", { megabytes, limit }));
    }
    this.#change(picture, { state: "uploading", progress: 0 });
    const answer = await send("POST", "v1/previews", {
      body: picture.file,
      headers: { "Content-Type": "application/octet-stream" },
      signal,
      sent: (share) => this.#change(picture, { state: share < 1 ? "uploading" : "looking", progress: share }),
    });
    const preview = await answer.json();
    preview.blendable &&= exact; // else the server renders each change
    signal.throwIfAborted();
    this.#change(picture, { preview, state: "ready", progress: 0 });
  }

  /**
   * Does something that needs the picture's preview; where the server has dropped it, the file is sent again.
   * @template T
   * @param {(preview: any) => Promise<T>} act
   * @returns {Promise<T>}
   */
  async withPreview(picture, act) {
    if (!picture.preview) await this.upload(picture);
    try {
      return await act(picture.preview);
    } catch (error) {
      if (!(error instanceof Problem && error.type.endsWith("#preview-gone"))) throw error;
      picture.preview = null;
      await this.upload(picture);
      return act(picture.preview);
    }
  }

  /** Keeps an error with the picture that it belongs to. */
  fail(picture, error) {
    if (picture.gone.signal.aborted) return;
    this.#change(picture, { state: "failed", problem: sentenceOf(error) });
  }

  /** Leaves out the photograph to match, with which rendering failed: without it the picture goes on. */
  leaveMatch(picture, error) {
    const values = { name: picture.settings.match.name, sentence: sentenceOf(error) };
    picture.settings.match = null;
    this.#change(picture, { matchProblem: text("looks.left_out", values) });
  }

  working(picture, progress) {
    this.#change(picture, { state: "saving", progress });
  }

  rest(picture, { saved = picture.saved } = {}) {
    this.#change(picture, { state: "ready", progress: 0, saved });
  }

  /** To be called when a picture's settings have changed. */
  touch(picture) {
    this.#change(picture, {});
  }

  #change(picture, what) {
    Object.assign(picture, what);
    this.#tell("changed", picture);
  }

  #tell(kind, picture) {
    this.dispatchEvent(new CustomEvent(kind, { detail: picture }));
  }
}

function sentenceOf(error) {
  if (error instanceof Problem) return error.message;
  console.error(error); // ours to mend; the person gets a sentence all the same
  return text("errors.interrupted");
}
