"""Enhances a photo with a mirnet service, with httpx.

    python enhance.py [--job] PHOTO [OPTION=VALUE ...]         python enhance.py party.jpg exposure=0.5 format=png

Writes PHOTO.bright.EXT beside it and prints stops and seconds. --job is for large photos: it shows the progress.
MIRNET_URL: the service's URL, by default http://127.0.0.1:7411; MIRNET_TOKEN: its token, if it needs one.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

TRIES = 8
BUSY = (429, 503)
SUFFIXES = {"image/jpeg": "jpg", "image/tiff": "tif"}  # where it differs from the end of the media type
WORK_SECONDS = 600  # the longest wait for a response; the service has a limit of its own


class Problem(Exception):
    """An error response; its text is the service's message."""


def connect() -> httpx.Client:
    """Returns a client for the service at MIRNET_URL."""
    token = os.environ.get("MIRNET_TOKEN")
    return httpx.Client(
        base_url=os.environ.get("MIRNET_URL", "http://127.0.0.1:7411"),
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=httpx.Timeout(30, read=WORK_SECONDS),
    )


def ask(client: httpx.Client, method: str, path: str, **what: Any) -> httpx.Response:
    """Returns the response of a request; retries a busy service after its Retry-After. Raises Problem."""
    for left in reversed(range(TRIES)):
        response = client.request(method, path, **what)
        if response.is_success:
            return response
        if response.status_code not in BUSY or not left:
            break
        seconds = int(response.headers.get("Retry-After", 5))
        print(f"{detail(response)} Asking again in {seconds} s.", file=sys.stderr)
        time.sleep(seconds)
    raise Problem(f"{response.status_code}: {detail(response)}")


def detail(response: httpx.Response) -> str:
    """The message of an error response (RFC 9457)."""
    is_problem = response.headers.get("Content-Type", "").startswith("application/problem+json")
    return str(response.json()["detail"]) if is_problem else response.reason_phrase


def as_job(client: httpx.Client, content: bytes, options: dict[str, str]) -> httpx.Response:
    """Runs a job, prints its progress and returns its result; deletes the job at the end, also after Ctrl-C."""
    job = ask(client, "POST", "/v1/jobs", content=content, params=options).headers["Location"]
    last: dict[str, Any] = {}
    try:
        for last in states(client, job):
            print(f"\r{last['progress']:4.0%}", end="", file=sys.stderr)
        print(file=sys.stderr)
        if last.get("state") != "done":
            raise Problem((last.get("problem") or {}).get("detail", "The job did not finish."))
        return ask(client, "GET", f"{job}/result")
    finally:
        client.delete(job)


def states(client: httpx.Client, job: str) -> Iterator[dict[str, Any]]:
    """Yields the states of a job from its server-sent events; the last one is final."""
    with client.stream("GET", f"{job}/events") as events:
        events.raise_for_status()
        for line in events.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", action="store_true", help="for large photos: shows the progress")
    parser.add_argument("photo", type=Path)
    parser.add_argument("options", nargs="*", metavar="OPTION=VALUE")
    arguments = parser.parse_args()
    options = dict(option.partition("=")[::2] for option in arguments.options)
    try:
        with connect() as client:
            content = arguments.photo.read_bytes()
            if arguments.job:
                response = as_job(client, content, options)
            else:
                response = ask(client, "POST", "/v1/enhance", content=content, params=options)
        headers = response.headers
        suffix = SUFFIXES.get(headers["Content-Type"], headers["Content-Type"].removeprefix("image/"))
        bright = arguments.photo.with_name(f"{arguments.photo.stem}.bright.{suffix}")
        with bright.open("xb") as file:  # never replaces a file
            file.write(response.content)
    except FileExistsError as error:
        print(f"{error.filename} exists already; move it away.", file=sys.stderr)
        return 1
    except (Problem, httpx.HTTPError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    stops, proposed, seconds = (headers[f"Mirnet-{name}"] for name in ("Stops", "Proposed-Stops", "Seconds"))
    print(f"{bright}: {stops} stops ({proposed} proposed), {seconds} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
