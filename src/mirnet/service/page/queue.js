// @ts-check
// The strip of photographs: a card each, with thumbnail, state, progress, and what went wrong with a way on.

import { percent, text } from "./texts.js";

const THUMBNAIL_PX = 144;

export class Queue extends EventTarget {
  /** Tells "select" with a picture as detail. @param {HTMLElement} list @param {import("./pictures.js").Pictures} pictures */
  constructor(list, pictures) {
    super();
    this.list = list;
    this.pictures = pictures;
    this.cards = new Map();
    pictures.addEventListener("added", (event) => this.#add(event.detail));
    pictures.addEventListener("changed", (event) => this.#refresh(event.detail));
    pictures.addEventListener("removed", (event) => this.#remove(event.detail));
  }

  /** Marks the one that is shown. */
  select(picture) {
    for (const [each, card] of this.cards) {
      if (each === picture) card.button.setAttribute("aria-current", "true");
      else card.button.removeAttribute("aria-current");
    }
    this.cards.get(picture)?.item.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** Paints a picture's thumbnail from any canvas that shows it. */
  paint(picture, source) {
    const canvas = this.cards.get(picture)?.thumbnail;
    if (!canvas) return;
    const share = THUMBNAIL_PX / Math.max(source.width, source.height);
    canvas.width = Math.max(1, Math.round(source.width * share));
    canvas.height = Math.max(1, Math.round(source.height * share));
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(source, 0, 0, canvas.width, canvas.height);
  }

  #add(picture) {
    const item = make("li", "card");
    const button = make("button", "face");
    button.type = "button";
    button.addEventListener("click", () => this.dispatchEvent(new CustomEvent("select", { detail: picture })));
    const thumbnail = /** @type {HTMLCanvasElement} */ (make("canvas", "thumbnail"));
    const name = make("span", "name", picture.name);
    const state = make("span", "state");
    button.append(thumbnail, name, state);
    const progress = make("progress", "progress");
    progress.setAttribute("aria-label", text("queue.progress", { name: picture.name }));
    const problem = make("p", "problem");
    const retry = make("button", "retry", text("queue.retry"));
    retry.type = "button";
    retry.addEventListener("click", () => this.pictures.retry(picture));
    const remove = make("button", "remove");
    remove.type = "button";
    remove.innerHTML = '<svg aria-hidden="true" viewBox="0 0 24 24"><path d="M6 6l12 12M18 6L6 18" stroke="currentColor" stroke-width="2"/></svg>';
    remove.setAttribute("aria-label", text("queue.remove", { name: picture.name }));
    remove.title = text("queue.dismiss");
    remove.addEventListener("click", () => this.pictures.remove(picture));
    item.append(button, progress, problem, retry, remove);
    this.list.append(item);
    this.cards.set(picture, { item, button, thumbnail, state, progress, problem, retry, remove });
    this.#refresh(picture);
  }

  #refresh(picture) {
    const card = this.cards.get(picture);
    if (!card) return;
    card.item.dataset.state = picture.state;
    card.state.textContent = picture.described;
    card.button.setAttribute("aria-label", text("queue.select", { name: picture.name, state: picture.described }));
    card.problem.textContent = picture.problem;
    const failed = picture.state === "failed";
    card.problem.hidden = card.retry.hidden = !failed;
    card.progress.hidden = failed || picture.state === "ready";
    const known = picture.state === "uploading" || picture.state === "saving";
    if (known) card.progress.value = percent(picture.progress) / 100;
    else card.progress.removeAttribute("value"); // how long it takes is not known
  }

  /** Whoever stood on the card goes on with the next one. */
  #remove(picture) {
    const { item } = this.cards.get(picture);
    const next = item.nextElementSibling ?? item.previousElementSibling;
    const stood = item.contains(document.activeElement);
    item.remove();
    this.cards.delete(picture);
    if (stood) (next?.querySelector(".face") ?? document.querySelector("[data-choose]"))?.focus();
  }
}

function make(tag, kind, content = "") {
  const element = document.createElement(tag);
  element.className = kind;
  element.textContent = content;
  return element;
}
