// @ts-check
// Every word of the page comes from texts.LANGUAGE.json: to translate it, copy texts.en.json and name the language here.

const LANGUAGES = ["en"];

const language = navigator.languages.map((each) => each.split("-")[0]).find((each) => LANGUAGES.includes(each)) ?? "en";
const texts = await (await fetch(new URL(`texts.${language}.json`, import.meta.url))).json();

/**
 * The text of a key such as "queue.remove", with {names} replaced by values.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function text(key, values = {}) {
  const found = key.split(".").reduce((part, name) => part?.[name], texts);
  if (typeof found !== "string") throw new Error(`texts.${language}.json has no text "${key}"`);
  return found.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** Fills what HTML leaves empty: data-text becomes content, data-label the name that is read aloud, and the tooltip. */
export function fillTexts(root = document) {
  document.documentElement.lang = language;
  document.title = text("title");
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", text(element.dataset.label));
    if (element.matches("button")) element.title = text(element.dataset.label);
  }
}

/** A number of stops as photographers write it: +0.5, −1.2, 0. */
export function stops(value) {
  const rounded = Math.round(value * 10) / 10;
  if (rounded === 0) return "0";
  return `${rounded > 0 ? "+" : "−"}${Math.abs(rounded).toFixed(1)}`;
}

/** A share from 0 to 1 in whole percent. */
export const percent = (share) => Math.round(share * 100);
