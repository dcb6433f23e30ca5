// @ts-check
// The token that a server beyond loopback asks for: taken from the address (#token=…) at once, and kept for this tab only.

const NAME = "mirnet-token";

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem(NAME, given);
  history.replaceState(null, "", location.pathname + location.search); // it shall not stay where others can read it
}

/** What requests say about who asks. @returns {Record<string, string>} */
export function authorization() {
  const token = sessionStorage.getItem(NAME);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

const dialog = /** @type {HTMLDialogElement} */ (document.querySelector("#token"));

/** @type {Promise<void> | null} */
let asking = null;

/** Asks the person for the token; resolves once there is one. Several requests at once ask only once. */
export function askForToken() {
  asking ??= new Promise((resolve) => {
    const form = dialog.querySelector("form");
    const input = dialog.querySelector("input");
    dialog.querySelector("#token-wrong").hidden = !sessionStorage.getItem(NAME);
    form.onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem(NAME, input.value.trim());
      input.value = "";
      asking = null;
      dialog.close();
      resolve();
    };
    dialog.oncancel = (event) => event.preventDefault(); // without a token there is nothing to go back to
    dialog.showModal();
  });
  return asking;
}
