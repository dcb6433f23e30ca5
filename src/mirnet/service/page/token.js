// @ts-check
// The token that a server beyond loopback asks for: taken from the address (#token=…) at once, and kept for this tab only.

import { text } from "./texts.js";

const NAME = "mirnet-token";
const SENDABLE = /^[!-~]+$/; // what mirnet serve takes; beyond Latin-1 the browser could not even send it

/** Where the browser keeps nothing, because its person does not want it to, the token lasts until the page goes. */
let atHand = "";

function keep(token) {
  atHand = token;
  try {
    sessionStorage.setItem(NAME, token);
  } catch {
    // it is at hand
  }
}

function kept() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return atHand;
  }
}

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  if (SENDABLE.test(given)) keep(given);
  history.replaceState(null, "", location.pathname + location.search); // it shall not stay where others can read it
}

/** What requests say about who asks. @returns {Record<string, string>} */
export function authorization() {
  const token = kept();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

const dialog = /** @type {HTMLDialogElement} */ (document.querySelector("#token"));
const wrong = /** @type {HTMLElement} */ (dialog.querySelector("#token-wrong"));

/** Says what is wrong with a token, or nothing. */
function complain(sentence) {
  wrong.textContent = sentence;
  wrong.hidden = !sentence;
}

/** @type {Promise<void> | null} */
let asking = null;

/** Asks the person for the token; resolves once there is one. Several requests at once ask only once. */
export function askForToken() {
  asking ??= new Promise((resolve) => {
    const form = dialog.querySelector("form");
    const input = dialog.querySelector("input");
    complain(kept() ? text("token.wrong") : "");
    form.onsubmit = (event) => {
      event.preventDefault();
      const token = input.value.trim();
      if (!SENDABLE.test(token)) return complain(text("token.unsendable"));
      keep(token);
      input.value = "";
      asking = null;
      dialog.close();
      resolve();
    };
    dialog.oncancel = (event) => event.preventDefault(); // without a token there is nothing to go back to
    dialog.onclose = () => asking && !dialog.open && dialog.showModal(); // browsers let a second Esc close it all the same
    dialog.showModal();
  });
  return asking;
}
