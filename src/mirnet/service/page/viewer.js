// @ts-check
// The stage: the picture before and after, left and right of a line, zoomed and moved in step. The line is
// img-comparison-slider's; both of its sides are canvases that show the same view.

import { percent, text } from "./texts.js";
import { clamped, corner, fitted, fittingScale, isZoomed, visibleRegion, zoomedAbout } from "./view.js";

const ZOOM_STEP = 1.4;
const PAN_STEP = 0.15; // of the stage
const LINE_STEP = 2; // percent
const HELD_AFTER_MS = 250;
const MOVED_AFTER_PX = 5;

/**
 * @typedef {{region: number[], before: HTMLCanvasElement, after: HTMLCanvasElement}} Piece a part of the picture:
 *   [x, y, width, height] in the picture's own pixels, and what it looks like at any resolution
 */

/** Tells "view" when another part is seen. Everything is drawn by `paint`, at most once a frame. */
export class Viewer extends EventTarget {
  /** @param {HTMLElement} frame with the stage and its buttons: what becomes full screen */
  constructor(frame) {
    super();
    this.frame = frame;
    this.stage = frame.querySelector("#stage");
    this.line = frame.querySelector("img-comparison-slider");
    this.canvases = { before: frame.querySelector("#before"), after: frame.querySelector("#after") };
    /** @type {Piece[]} the whole picture first, then what is sharper */
    this.pieces = [];
    this.picture = null;
    this.view = null;
    this.holding = false;
    this.size = { width: 1, height: 1 };
    this.drawing = 0;
    this.pointers = new Map();
    new ResizeObserver(() => this.#resize()).observe(this.stage);
    this.#listen();
    this.#stopLineAnimation();
  }

  /** Shows another picture of this size; nothing of it is known yet. @param {{width: number, height: number} | null} picture */
  open(picture) {
    this.picture = picture;
    this.pieces = [];
    this.#moveLine(50);
    if (picture) this.go(fitted(picture, this.size));
    else this.paint();
  }

  get zoomed() {
    return this.picture !== null && isZoomed(this.view, this.picture, this.size);
  }

  /** Device pixels that the whole picture covers when it is fitted in. */
  get fittedPixels() {
    const scale = fittingScale(this.picture, this.size);
    return this.picture.width * scale * this.picture.height * scale;
  }

  /** What is seen of the picture, in its own pixels. */
  get region() {
    return visibleRegion(this.view, this.picture, this.size);
  }

  paint() {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      for (const side of ["before", "after"]) this.#draw(this.canvases[side], this.holding ? "before" : side);
    });
  }

  #draw(canvas, side) {
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.picture) return;
    const { scale } = this.view;
    const at = corner(this.view, this.size);
    pen.fillStyle = getComputedStyle(this.stage).backgroundColor; // behind what is transparent
    pen.fillRect(at.x, at.y, Math.round(this.picture.width * scale), Math.round(this.picture.height * scale));
    pen.imageSmoothingQuality = "high";
    for (const { region: [x, y, width, height], [side]: source } of this.pieces) {
      pen.imageSmoothingEnabled = (width * scale) / source.width < 2; // enlarged further, pixels are wanted as such
      pen.drawImage(
        source,
        at.x + Math.round(x * scale),
        at.y + Math.round(y * scale),
        Math.round(width * scale),
        Math.round(height * scale),
      );
    }
  }

  /** @param {import("./view.js").View} view */
  go(view) {
    if (!this.picture) return;
    this.view = clamped(view, this.picture, this.size);
    this.frame.classList.toggle("zoomed", this.zoomed);
    this.frame.querySelector("#zoom").textContent = text("stage.zoom", { percent: percent(this.view.scale) });
    this.paint();
    this.dispatchEvent(new Event("view"));
  }

  zoom(factor, point = { x: 0, y: 0 }) {
    if (this.picture) this.go(zoomedAbout(this.view, clamped({ ...this.view, scale: this.view.scale * factor }, this.picture, this.size).scale, point));
  }

  /** Shows the picture's own pixels, one to one of the screen. */
  pixels(point = { x: 0, y: 0 }) {
    if (this.picture) this.go(zoomedAbout(this.view, 1, point));
  }

  fit() {
    if (this.picture) this.go(fitted(this.picture, this.size));
  }

  hold(holding) {
    if (this.holding === holding) return;
    this.holding = holding;
    this.frame.classList.toggle("holding", holding);
    this.paint();
  }

  async fullScreen() {
    if (document.fullscreenElement) return document.exitFullscreen();
    if (document.fullscreenEnabled) return this.frame.requestFullscreen();
    this.frame.classList.toggle("filling"); // phones that let only videos fill the screen
  }

  #resize() {
    const fits = this.picture && !this.zoomed;
    this.size = {
      width: Math.max(1, Math.round(this.stage.clientWidth * devicePixelRatio)),
      height: Math.max(1, Math.round(this.stage.clientHeight * devicePixelRatio)),
    };
    this.stage.style.setProperty("--stage-height", `${this.stage.clientHeight}px`);
    for (const canvas of Object.values(this.canvases)) {
      canvas.width = this.size.width;
      canvas.height = this.size.height;
      canvas.style.width = `${this.stage.clientWidth}px`;
      canvas.style.height = `${this.stage.clientHeight}px`;
    }
    if (fits) this.fit();
    else if (this.picture) this.go(this.view);
  }

  #moveLine(share) {
    this.line.value = Math.min(100, Math.max(0, share));
    this.#tellLine();
  }

  #tellLine() {
    const value = Math.round(this.line.value);
    this.line.setAttribute("aria-valuenow", value);
    this.line.setAttribute("aria-valuetext", text("stage.divider_value", { percent: value }));
  }

  /** The component glides to where it is told; who wants less motion gets none. */
  #stopLineAnimation() {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("@media (prefers-reduced-motion: reduce) { .first-overlay-container, .handle-container { transition: none !important; } }");
    this.line.shadowRoot.adoptedStyleSheets = [...this.line.shadowRoot.adoptedStyleSheets, sheet];
  }

  // What hands do ----------------------------------------------------------------------------------------------------

  #listen() {
    const { stage, line, frame } = this;
    line.addEventListener("slide", () => this.#tellLine());
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => this.#up(event));
    stage.addEventListener("dblclick", (event) => {
      if (onHandle(event)) return;
      if (this.zoomed) this.fit();
      else this.pixels(this.#point(event));
    });
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(1.0015 ** -event.deltaY, this.#point(event));
    }, { passive: false });
    stage.addEventListener("contextmenu", (event) => this.holding && event.preventDefault()); // a long touch
    stage.addEventListener("keydown", (event) => this.#key(event));
    stage.addEventListener("keyup", (event) => event.key === " " && this.hold(false));
    addEventListener("blur", () => this.hold(false)); // another window will hear of the key's end
    const actions = {
      "zoom-in": () => this.zoom(ZOOM_STEP),
      "zoom-out": () => this.zoom(1 / ZOOM_STEP),
      fit: () => this.fit(),
      pixels: () => this.pixels(),
      full: () => this.fullScreen(),
    };
    for (const [name, act] of Object.entries(actions)) frame.querySelector(`#${name}`).addEventListener("click", act);
    this.#listenToHoldButton(frame.querySelector("#hold"));
  }

  #listenToHoldButton(button) {
    const isKey = (event) => event.key === " " || event.key === "Enter";
    button.addEventListener("pointerdown", () => this.hold(true));
    button.addEventListener("keydown", (event) => isKey(event) && this.hold(true));
    button.addEventListener("keyup", (event) => isKey(event) && this.hold(false));
    for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(end, () => this.hold(false));
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /** A point of the stage from its middle, in device pixels. */
  #point({ clientX, clientY }) {
    const box = this.stage.getBoundingClientRect();
    return {
      x: (clientX - box.left - box.width / 2) * devicePixelRatio,
      y: (clientY - box.top - box.height / 2) * devicePixelRatio,
    };
  }

  #down(event) {
    if (!this.picture || event.button || onHandle(event)) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.#point(event));
    this.start = this.#point(event);
    this.moved = this.pointers.size > 1;
    clearTimeout(this.holdTimer);
    if (!this.moved) this.holdTimer = setTimeout(() => this.moved || this.hold(true), HELD_AFTER_MS);
  }

  #move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#point(event);
    if (!this.moved && Math.hypot(now.x - this.start.x, now.y - this.start.y) < MOVED_AFTER_PX * devicePixelRatio) return;
    this.moved = true;
    this.hold(false);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (other) this.#pinch(before, now, other);
    else if (this.zoomed) this.go(this.#shifted(before.x - now.x, before.y - now.y));
    else this.#lineTo(now);
  }

  /** Two fingers: the distance zooms, the point between them moves. */
  #pinch(before, now, other) {
    const distance = (point) => Math.hypot(point.x - other.x, point.y - other.y);
    const middle = (point) => ({ x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 });
    const [from, to] = [middle(before), middle(now)];
    this.zoom(distance(now) / Math.max(1, distance(before)), to);
    this.go(this.#shifted(from.x - to.x, from.y - to.y));
  }

  #up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    clearTimeout(this.holdTimer);
    const clicked = event.type === "pointerup" && !this.moved && !this.holding;
    this.hold(false);
    if (!clicked) return;
    const point = this.#point(event);
    if (this.zoomed) this.go(this.#shifted(point.x, point.y));
    else this.#lineTo(point);
  }

  #lineTo(point) {
    this.#moveLine((100 * (point.x + this.size.width / 2)) / this.size.width);
  }

  #shifted(x, y) {
    return { ...this.view, x: this.view.x + x / this.view.scale, y: this.view.y + y / this.view.scale };
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.picture) return;
    const act = this.#keys(event.target === this.line)[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  #keys(onLine) {
    const pan = (x, y) => () => this.go(this.#shifted(x * PAN_STEP * this.size.width, y * PAN_STEP * this.size.height));
    const line = (step) => () => this.#moveLine(this.line.value + step);
    const arrows = onLine
      ? {
          ArrowLeft: line(-LINE_STEP), ArrowDown: line(-LINE_STEP), PageDown: line(-5 * LINE_STEP), Home: line(-100),
          ArrowRight: line(LINE_STEP), ArrowUp: line(LINE_STEP), PageUp: line(5 * LINE_STEP), End: line(100),
        }
      : { ArrowLeft: pan(-1, 0), ArrowRight: pan(1, 0), ArrowUp: pan(0, -1), ArrowDown: pan(0, 1) };
    return {
      ...arrows,
      "+": () => this.zoom(ZOOM_STEP),
      "=": () => this.zoom(ZOOM_STEP),
      "-": () => this.zoom(1 / ZOOM_STEP),
      0: () => this.fit(),
      1: () => this.pixels(),
      f: () => this.fullScreen(),
      " ": () => this.hold(true),
    };
  }
}

const onHandle = (event) => event.target.closest?.(".handle") !== null;
