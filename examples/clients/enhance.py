"""Has a photograph enhanced by a mirnet service, with httpx.

    python enhance.py [--job] PHOTO [OPTION=VALUE ...]         python enhance.py party.jpg exposure=0.5 format=png

Writes PHOTO.bright.EXT beside it and says the stops and seconds. --job is for large ones: it shows how far the work is.
MIRNET_URL: where the service is, if not at http://127.0.0.1:7411; MIRNET_TOKEN: its token, where it asks for one.
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
SUFFIXES = {"image/jpeg": "jpg", "image/tiff": "tif"}  # where it is not the end of the media type
WORK_SECONDS = 600  # how long an answer may take: the service has a limit of its own


class Problem(Exception):
    """The service's own sentence of what is wrong."""


def connect() -> httpx.Client:
    """A client for the service that the environment names."""
    token = os.environ.get("MIRNET_TOKEN")
    return httpx.Client(
        base_url=os.environ.get("MIRNET_URL", "http://127.0.0.1:7411"),
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=httpx.Timeout(30, read=WORK_SECONDS),
    )


def ask(client: httpx.Client, method: str, path: str, **what: Any) -> httpx.Response:
    """The answer of the service; one that is busy is asked again when it says. Raises Problem."""
    for left in reversed(range(TRIES)):
        answer = client.request(method, path, **what)
        if answer.is_success:
            return answer
        if answer.status_code not in BUSY or not left:
            break
        seconds = int(answer.headers.get("Retry-After", 5))
        print(f"{detail(answer)} Asking again in {seconds} s.", file=sys.stderr)
        time.sleep(seconds)
    raise Problem(f"{answer.status_code}: {detail(answer)}")


def detail(answer: httpx.Response) -> str:
    """The sentence of a problem (RFC 9457)."""
    is_problem = answer.headers.get("Content-Type", "").startswith("application/problem+json")
    return str(answer.json()["detail"]) if is_problem else answer.reason_phrase


def as_job(client: httpx.Client, content: bytes, options: dict[str, str]) -> httpx.Response:
    """The result of a job whose progress is shown. The service forgets it then, or when we are interrupted."""
    job = ask(client, "POST", "/v1/jobs", content=content, params=options).headers["Location"]
    last: dict[str, Any] = {}
    try:
        for last in states(client, job):
            print(f"\r{last['progress']:4.0%}", end="", file=sys.stderr)
        print(file=sys.stderr)
        if last.get("state") != "done":
            raise Problem((last.get("problem") or {}).get("detail", "The job came to no end."))
        return ask(client, "GET", f"{job}/result")
    finally:
        client.delete(job)


def states(client: httpx.Client, job: str) -> Iterator[dict[str, Any]]:
    """The job as it goes on, from its server-sent events; the last one is its end."""
    with client.stream("GET", f"{job}/events") as events:
        events.raise_for_status()
        for line in events.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", action="store_true", help="for large photographs: shows how far the work is")
    parser.add_argument("photo", type=Path)
    parser.add_argument("options", nargs="*", metavar="OPTION=VALUE")
    asked = parser.parse_args()
    options = dict(option.partition("=")[::2] for option in asked.options)
    try:
        with connect() as client:
            content = asked.photo.read_bytes()
            if asked.job:
                answer = as_job(client, content, options)
            else:
                answer = ask(client, "POST", "/v1/enhance", content=content, params=options)
        said = answer.headers
        suffix = SUFFIXES.get(said["Content-Type"], said["Content-Type"].removeprefix("image/"))
        bright = asked.photo.with_name(f"{asked.photo.stem}.bright.{suffix}")
        with bright.open("xb") as file:  # never over another
            file.write(answer.content)
    except FileExistsError as error:
        print(f"{error.filename} is there already; move it away.", file=sys.stderr)
        return 1
    except (Problem, httpx.HTTPError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    stops, proposed, seconds = (said[f"Mirnet-{name}"] for name in ("Stops", "Proposed-Stops", "Seconds"))
    print(f"{bright}: {stops} stops ({proposed} proposed), {seconds} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
