// @ts-check
// The ways in: drop, choose, paste, the camera, and the examples.

import { text } from "./texts.js";

const EXAMPLES = ["coffee-twin", "rocket-at-dusk", "cat-twin"]; // files of examples/, see its README for their credits

let pasted = 0;

/**
 * Listens at every door.
 * @param {(files: File[], from?: {example: boolean}) => void} add
 */
export function openDoors(add) {
  chooser("#files", "[data-choose]", add);
  chooser("#camera", "[data-camera]", add);
  dropping(add);
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    add(files.map(named));
  });
  document.querySelector("#examples").append(...EXAMPLES.map((name) => exampleCard(name, add)));
}

function chooser(field, buttons, add) {
  const input = /** @type {HTMLInputElement} */ (document.querySelector(field));
  input.addEventListener("change", () => {
    add([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  });
  for (const button of document.querySelectorAll(buttons)) button.addEventListener("click", () => input.click());
}

function dropping(add) {
  const curtain = /** @type {HTMLElement} */ (document.querySelector("#curtain"));
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    curtain.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) curtain.hidden = true;
  });
  addEventListener("drop", async (event) => {
    curtain.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files];
    add(entries.some((entry) => entry.isDirectory) ? await filesWithin(entries) : files);
  });
}

/** Every file of what was dropped, folders looked into. @returns {Promise<File[]>} */
async function filesWithin(entries) {
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    else found.push(...(await filesWithin(await children(entry))));
  }
  return found;
}

async function children(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (!some.length) return all;
    all.push(...some);
  }
}

/** What is pasted is always called image.png; then names would collide. */
function named(file) {
  if (file.name !== "image.png") return file;
  const name = text("pasted", { number: ++pasted, suffix: "png" });
  return new File([file], name, { type: file.type, lastModified: file.lastModified });
}

function exampleCard(name, add) {
  const address = new URL(`examples/${name}.jpg`, import.meta.url);
  const image = new Image();
  image.src = address.href;
  image.alt = "";
  const button = document.createElement("button");
  button.type = "button";
  button.append(image, text(`examples.${name}`));
  button.addEventListener("click", async () => {
    const content = await (await fetch(address)).blob();
    add([new File([content], `${name}.jpg`, { type: "image/jpeg" })], { example: true });
  });
  const item = document.createElement("li");
  item.append(button);
  return item;
}
