// Has a photograph enhanced by a mirnet service: `enhance` for programs (node 18 or newer, and pages of the service's own
// origin: it lets no other site ask), and a command:
//
//     node enhance.mjs [--job] PHOTO [OPTION=VALUE ...]         node enhance.mjs party.jpg exposure=0.5 format=png
//
// Writes PHOTO.bright.EXT beside it and says the stops and seconds. --job is for large ones: it shows how far the work is.
// MIRNET_URL: where the service is, if not at http://127.0.0.1:7411; MIRNET_TOKEN: its token, where it asks for one.

const TRIES = 8;
const BUSY = [429, 503];
const SUFFIXES = { "image/jpeg": "jpg", "image/tiff": "tif" }; // where it is not the end of the media type

/**
 * One photograph, enhanced. `photo` is a Blob, `options` are the service's: {exposure: 0.5, format: "png"}.
 * With `progress`, a function of 0 to 1, it goes as a job; without, as one request. `wait(seconds, sentence)` is called
 * while the service is busy. Answers {blob, stops, proposedStops, seconds}; throws Error with the service's sentence.
 */
export async function enhance(photo, options = {}, { url = "http://127.0.0.1:7411", token, progress, wait } = {}) {
  const service = { url, wait, headers: token ? { Authorization: `Bearer ${token}` } : {} };
  const query = `?${new URLSearchParams(options)}`;
  const sent = { method: "POST", body: photo };
  const answer = progress
    ? await asJob(service, query, sent, progress)
    : await ask(service, `/v1/enhance${query}`, sent);
  const number = (name) => Number(answer.headers.get(name));
  return {
    blob: await answer.blob(),
    stops: number("Mirnet-Stops"),
    proposedStops: number("Mirnet-Proposed-Stops"),
    seconds: number("Mirnet-Seconds"),
  };
}

/** The answer of the service; one that is busy is asked again when it says. */
async function ask({ url, headers, wait }, path, what = {}) {
  for (let left = TRIES - 1; ; left--) {
    const answer = await fetch(url + path, { ...what, headers });
    if (answer.ok) return answer;
    const sentence = await detail(answer);
    if (!BUSY.includes(answer.status) || !left) throw new Error(`${answer.status}: ${sentence}`);
    const seconds = Number(answer.headers.get("Retry-After") ?? 5);
    wait?.(seconds, sentence);
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  }
}

/** The sentence of a problem (RFC 9457). */
async function detail(answer) {
  const isProblem = answer.headers.get("Content-Type")?.startsWith("application/problem+json");
  return isProblem ? (await answer.json()).detail : answer.statusText;
}

/** The result of a job whose progress is told. The service forgets the job then. */
async function asJob(service, query, sent, progress) {
  const job = (await ask(service, `/v1/jobs${query}`, sent)).headers.get("Location");
  try {
    let last = {};
    for await (last of states(await ask(service, `${job}/events`))) progress(last.progress);
    if (last.state !== "done") throw new Error(last.problem?.detail ?? "The job came to no end.");
    return await ask(service, `${job}/result`);
  } finally {
    await ask(service, job, { method: "DELETE" });
  }
}

/** The job as it goes on, from its server-sent events. (EventSource could send no token.) */
async function* states(events) {
  const decoder = new TextDecoder();
  const reader = events.body.getReader();
  let text = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (text + decoder.decode(part.value, { stream: true })).split(/\r?\n/);
    text = lines.pop(); // what is not yet a whole line
    for (const line of lines) if (line.startsWith("data:")) yield JSON.parse(line.slice("data:".length));
  }
}

/** NAME=VALUE as [NAME, VALUE], of which the value may hold more of these signs. */
const parted = (option) => {
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
  const done = await enhance(new Blob([await readFile(path)]), options.map(parted), {
    url: process.env.MIRNET_URL,
    token: process.env.MIRNET_TOKEN,
    progress: asJob ? (share) => process.stderr.write(`\r${Math.round(100 * share)} %`) : undefined,
    wait: (seconds, sentence) => console.error(`${sentence} Asking again in ${seconds} s.`),
  }).finally(() => asJob && console.error());
  const suffix = SUFFIXES[done.blob.type] ?? done.blob.type.replace("image/", "");
  const bright = join(dirname(path), `${basename(path, extname(path))}.bright.${suffix}`);
  await writeFile(bright, done.blob.stream(), { flag: "wx" }); // never over another
  console.log(`${bright}: ${done.stops} stops (${done.proposedStops} proposed), ${done.seconds} s`);
}

if (globalThis.process?.argv[1] && import.meta.url.endsWith(process.argv[1].replace(/.*[\\/]/, "/"))) {
  main(process.argv.slice(2)).catch((error) => {
    console.error(error.cause?.message ?? error.message);
    process.exitCode = 1;
  });
}
