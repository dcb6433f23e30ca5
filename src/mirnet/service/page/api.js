// @ts-check
// Requests to the service: its errors as sentences, its token, its events, and patience when it is busy or away.

import { back } from "./connection.js";
import { text } from "./texts.js";
import { askForToken, authorization } from "./token.js";

const PATIENT_TRIES = 5; // with a server that says "later"
const BROKEN_TRIES = 3; // where a request breaks off although the server is well: then it is the file

/** An error that the service told (RFC 9457), or that we tell in its place. Its message is a sentence for a person. */
export class Problem extends Error {
  /** @param {string} sentence */
  constructor(sentence, { status = 0, type = "" } = {}) {
    super(sentence);
    this.status = status;
    this.type = type;
  }

  /** Whether it was the server's memory of a preview or a job that ended, and not what was asked. */
  get gone() {
    return this.status === 404;
  }
}

/**
 * Sends a request until it is answered; a Problem where the answer is an error.
 * @param {string} method
 * @param {string} path relative to the page, such as "v1/previews"
 * @param {{query?: [string, unknown][], body?: BodyInit, headers?: Record<string, string>, signal?: AbortSignal,
 *   sent?: (share: number) => void}} [request] `sent` is told how much of the body is under way
 * @returns {Promise<Response>}
 */
export async function send(method, path, { query = [], body, headers = {}, signal, sent } = {}) {
  const search = new URLSearchParams(query.map(([name, value]) => [name, String(value)])).toString();
  const address = search ? `${path}?${search}` : path;
  for (let broken = 0, tried = 0; ; ) {
    signal?.throwIfAborted(); // while we waited, perhaps
    const request = { method, body, headers: { ...headers, ...authorization() }, signal };
    let answer;
    try {
      answer = await (sent ? sentWithProgress(address, request, sent) : fetch(address, { ...request, cache: "no-store" }));
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (++broken > BROKEN_TRIES) throw new Problem(text("errors.unsent"));
      await back();
      continue;
    }
    if (answer.ok) return answer;
    if (answer.status === 401) {
      await askForToken();
      continue;
    }
    const seconds = Number(answer.headers.get("Retry-After"));
    if (seconds && ++tried < PATIENT_TRIES) {
      await pause(1000 * seconds, signal);
      continue;
    }
    throw await problemOf(answer);
  }
}

/** The same, and the answer's JSON. */
export const json = async (method, path, request) => (await send(method, path, request)).json();

/**
 * Server-sent events of one job, read by fetch since EventSource cannot send a token. Ends when the stream does.
 * @returns {AsyncGenerator<any>} the data of each event
 */
export async function* events(path, { signal } = {}) {
  const answer = await send("GET", path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value.replaceAll("\r\n", "\n")).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5));
        if (data.length) yield JSON.parse(data.join("\n"));
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // whoever listened has heard enough; a stream that broke needs no second word
  }
}

async function problemOf(answer) {
  try {
    const { detail, title, type } = await answer.json();
    return new Problem(detail || title, { status: answer.status, type });
  } catch {
    return new Problem(text("errors.unknown", { status: answer.status }), { status: answer.status });
  }
}

/** fetch cannot say how much of a body is sent, XMLHttpRequest can. @returns {Promise<Response>} */
function sentWithProgress(address, { method, body, headers, signal }, sent) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    request.responseType = "blob";
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && sent(event.loaded / event.total);
    request.onload = () => {
      const said = request.getAllResponseHeaders().trim().split(/\r?\n/).map((line) => line.split(/:\s*(.*)/s).slice(0, 2));
      resolve(new Response(request.response, { status: request.status, headers: said }));
    };
    request.onerror = () => reject(new TypeError("the connection broke"));
    request.onabort = () => reject(signal.reason);
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body);
  });
}

/** Aborted as soon as one of them is; browsers have AbortSignal.any for it, but only since 2024. @returns {AbortSignal} */
export function either(...signals) {
  const all = new AbortController();
  for (const signal of signals) {
    const abort = () => all.abort(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true, signal: all.signal });
  }
  return all.signal;
}

/** Waits, unless nobody wants to any more. */
export async function pause(milliseconds, signal) {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
