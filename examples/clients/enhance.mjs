// Enhances a photo with a mirnet service: `enhance` for programs (node 18 or newer, and pages of the service's own
// origin: it rejects requests of other sites), and a command:
//
//     node enhance.mjs [--job] PHOTO [OPTION=VALUE ...]         node enhance.mjs party.jpg exposure=0.5 format=png
//
// Writes PHOTO.bright.EXT beside it and prints stops and seconds. --job is for large photos: it shows the progress.
// MIRNET_URL: the service's URL, by default http://127.0.0.1:7411; MIRNET_TOKEN: its token, if it needs one.

const TRIES = 8;
const BUSY = [429, 503];
const SUFFIXES = { "image/jpeg": "jpg", "image/tiff": "tif" }; // where it differs from the end of the media type

/**
 * Enhances one photo, a Blob. `options` are the service's: {exposure: 0.5, format: "png"}. With `progress`, a function
 * of 0 to 1, it runs as a job; without, as one request. `wait(seconds, message)` is called while the service is busy.
 * Resolves to {blob, stops, proposedStops, seconds}; throws Error with the service's message.
 */
export async function enhance(photo, options = {}, { url = "http://127.0.0.1:7411", token, progress, wait } = {}) {
  const service = { url, wait, headers: token ? { Authorization: `Bearer ${token}` } : {} };
  const query = `?${new URLSearchParams(options)}`;
  const sent = { method: "POST", body: photo };
  const response = progress
    ? await asJob(service, query, sent, progress)
    : await ask(service, `/v1/enhance${query}`, sent);
  const number = (name) => Number(response.headers.get(name));
  return {
    blob: await response.blob(),
    stops: number("Mirnet-Stops"),
    proposedStops: number("Mirnet-Proposed-Stops"),
    seconds: number("Mirnet-Seconds"),
  };
}

/** Returns the response of a request; retries a busy service after its Retry-After. */
async function ask({ url, headers, wait }, path, what = {}) {
  for (let left = TRIES - 1; ; left--) {
    const response = await fetch(url + path, { ...what, headers });
    if (response.ok) return response;
    const message = await detail(response);
    if (!BUSY.includes(response.status) || !left) throw new Error(`${response.status}: ${message}`);
    const seconds = Number(response.headers.get("Retry-After") ?? 5);
    wait?.(seconds, message);
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  }
}

/** The message of an error response (RFC 9457). */
async function detail(response) {
  const isProblem = response.headers.get("Content-Type")?.startsWith("application/problem+json");
  return isProblem ? (await response.json()).detail : response.statusText;
}

/** Runs a job, reports its progress and returns its result; deletes the job at the end. */
async function asJob(service, query, sent, progress) {
  const job = (await ask(service, `/v1/jobs${query}`, sent)).headers.get("Location");
  try {
    let last = {};
    for await (last of states(await ask(service, `${job}/events`))) progress(last.progress);
    if (last.state !== "done") throw new Error(last.problem?.detail ?? "The job did not finish.");
    return await ask(service, `${job}/result`);
  } finally {
    await ask(service, job, { method: "DELETE" });
  }
}

/** Yields the states of a job from its server-sent events. (EventSource cannot send a token.) */
async function* states(events) {
  const decoder = new TextDecoder();
  const reader = events.body.getReader();
  let text = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (text + decoder.decode(part.value, { stream: true })).split(/\r?\n/);
    text = lines.pop(); // an incomplete line
    for (const line of lines) if (line.startsWith("data:")) yield JSON.parse(line.slice("data:".length));
  }
}

/** Splits NAME=VALUE into [NAME, VALUE]; VALUE may contain "=". */
const splitOption = (option) => {
  const at = option.indexOf("=");
  if (at < 1) throw new Error(`Expected OPTION=VALUE, not "${option}".`);
  return [option.slice(0, at), option.slice(at + 1)];
};

async function main([...words]) {
  const { basename, dirname, extname, join } = await import("node:path");
  const { readFile, writeFile } = await import("node:fs/promises");
  const asJob = words[0] === "--job" && Boolean(words.shift());
  const [path, ...options] = words;
  if (!path) throw new Error("Usage: node enhance.mjs [--job] PHOTO [OPTION=VALUE ...]");
  const done = await enhance(new Blob([await readFile(path)]), options.map(splitOption), {
    url: process.env.MIRNET_URL,
    token: process.env.MIRNET_TOKEN,
    progress: asJob ? (share) => process.stderr.write(`\r${Math.round(100 * share)} %`) : undefined,
    wait: (seconds, message) => console.error(`${message} Asking again in ${seconds} s.`),
  }).finally(() => asJob && console.error());
  const suffix = SUFFIXES[done.blob.type] ?? done.blob.type.replace("image/", "");
  const bright = join(dirname(path), `${basename(path, extname(path))}.bright.${suffix}`);
  await writeFile(bright, done.blob.stream(), { flag: "wx" }); // never replaces a file
  console.log(`${bright}: ${done.stops} stops (${done.proposedStops} proposed), ${done.seconds} s`);
}

if (globalThis.process?.argv[1] && import.meta.url.endsWith(process.argv[1].replace(/.*[\\/]/, "/"))) {
  main(process.argv.slice(2)).catch((error) => {
    console.error(error.cause?.message ?? error.message);
    process.exitCode = 1;
  });
}
