// @ts-check
// The page, put together: doors, queue, stage, sliders, saving; and what is said when.

import { either, json, Problem } from "./api.js";
import { connection } from "./connection.js";
import { Controls } from "./controls.js";
import { Developer, thumbnail } from "./develop.js";
import { clear, count, draw } from "./histogram.js";
import { openDoors } from "./intake.js";
import { Picture, Pictures } from "./pictures.js";
import { bytesOf, exact, ownPreview } from "./pixels.js";
import { Queue } from "./queue.js";
import { developed, download, zipped } from "./save.js";
import { fillTexts, percent, text } from "./texts.js";
import { Viewer } from "./viewer.js";

const OWN_PREVIEW_PX = 350_000;
const HERE = ["127.0.0.1", "localhost", "[::1]"];
const GRACE_MS = 250; // what is done within it need not say that it works

const element = (id) => document.getElementById(id);

fillTexts();
const pictures = new Pictures();
const queue = new Queue(element("queue"), pictures);
const viewer = new Viewer(element("viewer"));
const developer = new Developer(viewer, pictures);
const controls = new Controls(element("panel"));

/** For whoever looks over our shoulder: the browser's console, and the tests. */
export const desk = { pictures, viewer, developer };

/** @type {Picture | null} the one on the stage */
let selected = null;
/** @type {{name: string, suffix: string, media_type: string}[]} */
let formats = [];
/** @type {AbortController | null} */
let saving = null;

const say = (key, values) => (element("status").textContent = text(key, values));

// Where the picture goes, and how the page looks ----------------------------------------------------------------------

element("nowhere").textContent = HERE.includes(location.hostname)
  ? text("nowhere.here")
  : text("nowhere.there", { host: location.hostname });

function labelTheme() {
  const label = text("theme.label", { theme: text(`theme.${document.documentElement.dataset.theme}`) });
  element("theme").setAttribute("aria-label", label);
  element("theme").title = label;
}
element("theme").addEventListener("click", () => {
  chooseTheme(nextTheme());
  labelTheme();
  viewer.paint();
  showHistogram();
});
labelTheme();

// Pictures come and go -------------------------------------------------------------------------------------------------

let glances = Promise.resolve(); // one after the other: decoded, a photograph is large

openDoors((files, from) => {
  const added = files.map((file) => new Picture(file, from));
  for (const picture of added) {
    pictures.add(picture);
    glances = glances.then(() => glance(picture)).catch(console.error);
  }
  if (added.length) say("status.added", { count: added.length });
});

/** What the browser itself can show of a file, at once: as the thumbnail, and on the stage until the server answers. */
async function glance(picture) {
  const late = () => picture.preview || picture.gone.signal.aborted;
  const own = late() ? null : await ownPreview(picture.file, OWN_PREVIEW_PX);
  if (!own || late()) return;
  picture.own = own;
  queue.paint(picture, own.canvas);
  if (picture === selected) showStage();
}

pictures.addEventListener("added", (event) => {
  if (!selected || selected.state === "failed") select(event.detail);
  showPage();
});
pictures.addEventListener("removed", (event) => {
  say("status.removed", { name: event.detail.name });
  if (event.detail === selected) select(pictures.all.at(0) ?? null);
  showPage();
});
pictures.addEventListener("changed", async (event) => {
  const picture = event.detail;
  if (picture.state === "failed") say("status.failed", { name: picture.name, sentence: picture.problem });
  if (picture.state === "ready" && picture.announced !== picture.preview) await isReady(picture);
  if (picture === selected) showStage();
  showPage();
});
queue.addEventListener("select", (event) => select(event.detail));

/** Each time that the server has (again) got to know a picture. */
async function isReady(picture) {
  picture.announced = picture.preview;
  say("status.ready", { name: picture.name });
  if (picture === selected) return;
  try {
    queue.paint(picture, await thumbnail(picture.preview.id, picture.gone.signal));
  } catch {
    // the queue goes without it: when the picture is looked at, the error is told
  }
}

function select(picture) {
  selected = picture;
  queue.select(picture);
  showStage();
  showPage();
}

function showPage() {
  const empty = !pictures.all.length;
  document.body.classList.toggle("empty", empty);
  element("welcome").hidden = !empty;
  element("workbench").hidden = empty;
  const several = pictures.all.length > 1;
  element("everywhere").hidden = !several;
  element("save-all").hidden = !several || saving !== null;
  element("stop").hidden = saving === null;
  element("save").hidden = saving !== null;
  element("save").disabled = !selected?.preview || selected.state === "failed";
  element("save-all").disabled = !pictures.all.some((each) => each.preview && each.state !== "failed");
}

// The picture on the stage ---------------------------------------------------------------------------------------------

function showStage() {
  const failed = selected?.state === "failed";
  element("apology").hidden = !failed;
  element("apology").querySelector("p").textContent = failed ? selected.problem : "";
  controls.show(selected);
  element("name").textContent = selected?.name ?? "";
  showFacts();
  // While a dropped preview is sent again, what is on the stage stays there.
  const known = selected?.preview || (selected === developer.picture && developer.whole);
  const shown = known && !failed ? selected : null;
  if (shown !== developer.picture) {
    developer.show(shown);
    showHistogram();
  }
  markWaiting();
  if (selected?.own && !failed && !developer.whole) showOwn(selected.own);
  else if (!shown) viewer.open(null);
  if (!shown) busy(selected && !failed ? selected.state : "");
}

/** What the browser can show by itself, on both sides, until the server has sent better. */
function showOwn({ canvas, width, height }) {
  if (viewer.pieces[0]?.before === canvas) return;
  if (!viewer.picture) viewer.open({ width, height });
  viewer.pieces = [{ region: [0, 0, viewer.picture.width, viewer.picture.height], before: canvas, after: canvas }];
  viewer.paint();
}

/** Before there is an after, there is no line between them. */
const markWaiting = () => viewer.frame.classList.toggle("waiting", !developer.whole);

function showFacts() {
  const preview = selected?.preview;
  const format = preview && (formats.find((each) => each.name === preview.format)?.name ?? preview.format).toUpperCase();
  const megapixels = preview && (preview.width * preview.height / 1e6).toFixed(1);
  element("facts").textContent = preview ? text("facts", { ...preview, megapixels, format }) : "";
  const remarks = (preview?.remarks ?? []).map((sentence) => Object.assign(document.createElement("li"), { textContent: sentence }));
  element("remarks").replaceChildren(...remarks);
  element("remarks").hidden = !remarks.length;
}

let grace = 0;
function busy(what) {
  clearTimeout(grace);
  if (!what) element("busy").hidden = true;
  else
    grace = setTimeout(() => {
      element("busy").firstElementChild.textContent = text(`busy.${what}`);
      element("busy").hidden = false;
    }, GRACE_MS);
}

element("histogram").closest("figure").hidden = !exact;

function showHistogram() {
  if (!exact) return; // none rather than a wrong one
  const whole = developer.whole;
  if (!whole) {
    clear(element("histogram"));
    element("histogram").setAttribute("aria-label", text("histogram.title"));
    return;
  }
  whole.counted ??= count(bytesOf(whole.before));
  const after = count(whole.image?.data ?? bytesOf(whole.after));
  draw(element("histogram"), whole.counted, after, document.querySelectorAll(".histogram .key"));
  const means = { before: percent(whole.counted.mean), after: percent(after.mean) };
  element("histogram").setAttribute("aria-label", text("histogram.label", means));
}

let drawing = 0;
developer.addEventListener("shown", () => {
  markWaiting();
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    showHistogram();
    if (developer.whole && selected) queue.paint(selected, developer.whole.after);
  });
});
developer.addEventListener("busy", (event) => busy(event.detail));
developer.addEventListener("failed", (event) => {
  const { picture } = developer;
  if (!picture.settings.match) return pictures.fail(picture, event.detail);
  pictures.leaveMatch(picture, event.detail);
  developer.settingsChanged();
});
controls.addEventListener("changed", () => {
  if (selected.state === "failed") return pictures.retry(selected);
  pictures.touch(selected);
  developer.settingsChanged();
});
addEventListener("resize", showHistogram);
element("retry").addEventListener("click", () => pictures.retry(selected));
element("dismiss").addEventListener("click", () => pictures.remove(selected));
element("everywhere").addEventListener("click", () => {
  for (const picture of pictures.all) {
    picture.settings = { ...selected.settings };
    pictures.touch(picture);
  }
  say("status.everywhere");
});

// Saving ---------------------------------------------------------------------------------------------------------------

element("save").addEventListener("click", () => save([selected], ([file]) => download(file.input, file.name)));
element("save-all").addEventListener("click", () => {
  const those = pictures.all.filter((picture) => picture.preview && picture.state !== "failed");
  save(those, async (files) => download(await zipped(files), text("save.archive")));
});
element("stop").addEventListener("click", () => saving?.abort());

/** Develops some pictures one after the other, and hands them on together; one that fails leaves the others be. */
async function save(those, hand) {
  const stop = (saving = new AbortController());
  showPage();
  const done = [];
  try {
    for (const picture of those) {
      const file = await tryToDevelop(picture, stop.signal);
      if (stop.signal.aborted) return say("status.stopped");
      if (file) done.push({ picture, file });
    }
    if (done.length) await hand(done.map(({ file }) => file));
    for (const { picture, file } of done) keepInMind(picture, file);
  } catch (error) {
    for (const { picture } of done) pictures.fail(picture, error); // a zip, say, that found no memory
  } finally {
    saving = null;
    showPage();
  }
}

/** The file that became of a picture; none if that failed, which the picture tells, or was stopped. */
async function tryToDevelop(picture, stop) {
  try {
    const signal = either(stop, picture.gone.signal);
    const file = await developed(pictures, picture, element("format").value, formats, signal);
    pictures.rest(picture);
    return file;
  } catch (error) {
    if (stop.aborted) pictures.rest(picture);
    else pictures.fail(picture, error);
    return null;
  }
}

function keepInMind(picture, file) {
  pictures.rest(picture, { saved: file.key });
  say("status.saved", { name: file.name });
}

addEventListener("beforeunload", (event) => {
  if (pictures.unsaved) event.preventDefault();
});

// The server -----------------------------------------------------------------------------------------------------------

connection.addEventListener("lost", () => {
  element("banner").textContent = text("connection.lost");
  element("banner").hidden = false;
});
connection.addEventListener("back", () => {
  element("banner").hidden = true;
  say("connection.back");
});

async function learnLimits() {
  try {
    const limits = await json("GET", "v1/limits");
    pictures.largestFile = limits.max_bytes;
    formats = limits.formats_out;
  } catch (error) {
    if (!(error instanceof Problem)) throw error; // without its limits the server still says them picture by picture
  }
  const choices = [["", text("save.as_it_came")], ...formats.map(({ name }) => [name, name.toUpperCase()])];
  element("format").replaceChildren(...choices.map(([value, title]) => new Option(title, value)));
  showFacts();
}

showPage();
showHistogram();
await learnLimits();
