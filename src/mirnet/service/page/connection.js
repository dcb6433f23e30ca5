// @ts-check
// Whether mirnet still answers: a server that is lost is said once, asked for every second, and waited for.

const ASKED_EVERY_MS = 1000;
const ANSWERS_WITHIN_MS = 3000; // a computer that sleeps, or a network that is gone, says nothing at all

/** Tells "lost" and "back" to whoever listens. */
export const connection = new EventTarget();

/** @type {Promise<void> | null} */
let waiting = null;

/** Resolves when the server answers (again). */
export function back() {
  waiting ??= ask().finally(() => (waiting = null));
  return waiting;
}

async function ask() {
  if (await answers()) return; // a single connection broke, the server is well
  connection.dispatchEvent(new Event("lost"));
  do await new Promise((resolve) => setTimeout(resolve, ASKED_EVERY_MS));
  while (!(await answers()));
  connection.dispatchEvent(new Event("back"));
}

async function answers() {
  try {
    return (await fetch("healthz", { cache: "no-store", signal: AbortSignal.timeout(ANSWERS_WITHIN_MS) })).ok;
  } catch {
    return false;
  }
}
