// @ts-check
// The sliders and buttons beside the picture: they show a picture's settings, and change them.

import { percent, stops, text } from "./texts.js";
import { DEFAULTS } from "./settings.js";

export class Controls extends EventTarget {
  /** Tells "changed" when the picture's settings have changed. @param {HTMLFormElement} panel */
  constructor(panel) {
    super();
    this.panel = panel;
    /** @type {import("./pictures.js").Picture | null} */
    this.picture = null;
    this.inputs = Object.fromEntries([...panel.querySelectorAll("input, button, output")].map((each) => [each.id, each]));
    this.matchFile = /** @type {HTMLInputElement} */ (document.querySelector("#match-file"));
    this.matchProblem = panel.querySelector("#match-problem");
    panel.addEventListener("submit", (event) => event.preventDefault());
    this.#listen();
  }

  /** Shows the settings of a picture. */
  show(picture) {
    if (picture !== this.picture) this.#rest();
    this.picture = picture;
    this.panel.querySelector("#adjust").disabled = !picture?.preview; // one that failed may work with other settings
    if (picture) this.#refresh();
  }

  #listen() {
    const { inputs } = this;
    const dragged = (name, value) => inputs[name].addEventListener("input", () => this.#set(value(Number(inputs[name].value))));
    dragged("exposure", (value) => ({ exposure: value }));
    dragged("denoise", (value) => ({ denoise: value / 100 }));
    dragged("strength", (value) => ({ strength: value / 100 }));
    dragged("warmth", (value) => ({ warmth: value }));
    dragged("quality", (value) => ({ quality: value }));
    inputs.strip.addEventListener("change", () => this.#set({ strip_location: inputs.strip.checked }));
    const pressed = (name, change) => inputs[name].addEventListener("click", () => this.#set(change(this.picture.settings)));
    pressed("night", ({ mood }) => ({ mood: mood === "night" ? "day" : "night", keep_exposure: false, match: null }));
    pressed("keep", ({ keep_exposure }) => ({ keep_exposure: !keep_exposure, mood: "day", match: null }));
    pressed("denoise-auto", ({ denoise }) => ({ denoise: denoise === "auto" ? Number(inputs.denoise.value) / 100 : "auto" }));
    pressed("reset", () => (this.#rest(), { ...DEFAULTS }));
    inputs.match.addEventListener("click", () => {
      if (this.picture.settings.match) this.#set({ match: null });
      else this.matchFile.click();
    });
    this.matchFile.addEventListener("change", () => {
      const [match] = this.matchFile.files;
      this.matchFile.value = "";
      if (match) this.#set({ match, exposure: 0, mood: "day", keep_exposure: false });
    });
  }

  /** Where nobody has chosen how much is denoised, the slider stands at all of it. */
  #rest() {
    this.inputs.denoise.value = 100;
  }

  #set(change) {
    Object.assign(this.picture.settings, change);
    if ("match" in change) this.picture.matchProblem = "";
    this.#refresh();
    this.dispatchEvent(new Event("changed"));
  }

  #refresh() {
    const { inputs, picture: { settings, preview, matchProblem } } = this;
    const matched = settings.match !== null;
    inputs.exposure.value = settings.exposure;
    inputs.exposure.disabled = matched;
    const proposed = stops(preview?.proposed_stops ?? 0);
    const yours = stops(settings.exposure);
    const how = matched ? "matched" : settings.keep_exposure ? "kept" : "value";
    inputs["exposure-value"].value = text(`exposure.${how}`, { proposed, yours });
    inputs.exposure.setAttribute("aria-valuetext", text("exposure.spoken", { proposed, yours }));
    press(inputs.night, settings.mood === "night");
    press(inputs.keep, settings.keep_exposure);
    press(inputs.match, matched);
    inputs.match.textContent = matched ? text("looks.matched", { name: settings.match.name }) : text("looks.match");
    this.matchProblem.textContent = matchProblem;
    this.matchProblem.hidden = !matchProblem;
    const auto = settings.denoise === "auto";
    press(inputs["denoise-auto"], auto);
    if (!auto) inputs.denoise.value = percent(settings.denoise);
    inputs.denoise.classList.toggle("resting", auto);
    inputs["denoise-value"].value = auto ? text("denoise.value_auto") : text("denoise.value", { percent: percent(settings.denoise) });
    inputs.denoise.setAttribute("aria-valuetext", inputs["denoise-value"].value);
    inputs.strength.value = percent(settings.strength);
    inputs["strength-value"].value = text("strength.value", { percent: percent(settings.strength) });
    inputs.warmth.value = settings.warmth;
    inputs["warmth-value"].value = text("more.warmth_value", { stops: stops(settings.warmth) });
    inputs.quality.value = inputs["quality-value"].value = settings.quality;
    inputs.strip.checked = settings.strip_location;
    for (const range of this.panel.querySelectorAll("input[type=range]")) paintTrack(range);
  }
}

const press = (button, pressed) => button.setAttribute("aria-pressed", String(pressed));

/** Where the filled part of a slider's track begins and ends; it begins at zero, if it has one in its middle. */
function paintTrack(range) {
  const share = (value) => (100 * (value - range.min)) / (range.max - range.min);
  const ends = [share(Math.max(0, Number(range.min))), share(Number(range.value))].sort((a, b) => a - b);
  range.style.setProperty("--from", `${ends[0]}%`);
  range.style.setProperty("--to", `${ends[1]}%`);
}
