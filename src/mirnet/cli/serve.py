"""`mirnet serve`: the page and the REST service on this machine."""

import os
from pathlib import Path
from typing import Annotated

import typer

from mirnet.cli import options
from mirnet.errors import SettingsError
from mirnet.extras import needs

PORT = 7411
LOOPBACK = ("127.", "::1", "localhost")


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 is all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes one that is free.")] = PORT,
    open: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    token: Annotated[
        str | None, typer.Option(envvar="MIRNET_TOKEN", help="Who uses the service must know it (Bearer).")
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name by which it may be called, default_target localhost."),
    ] = None,
    queue: Annotated[int, typer.Option(min=1, help="How many requests may wait.")] = 64,
    time_limit: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="For one request.")] = 300.0,
    max_megabytes: Annotated[float, typer.Option(min=0.001, metavar="MB", help="Of one upload.")] = 100.0,
    max_megapixels: options.MaxMegapixels = 100.0,
    jobs: options.Jobs = 2,
    weights: options.WeightsOption = "lite",
    runtime: options.Runtime = "openvino",
    device: options.Device = "cpu",
    fast: options.Fast = False,
    threads: options.Threads = None,
) -> None:
    """A page in the browser and a REST service, on this machine: images stay in its memory, and nowhere else."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded, as in `mirnet enhance`
    if jobs < 1:
        raise SettingsError(f"jobs must be at least 1, not {jobs}.")
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise SettingsError("A token is made of ASCII letters, digits and signs without spaces; choose another one.")
    with needs("serve"):
        from mirnet.service import app, enhancer_pool, server, service
    from mirnet.inference.enhancer import Enhancer

    bound = server.bind(host, port)  # first: a taken port is reported at once

    def make(path: Path) -> Enhancer:
        return Enhancer(path, runtime=runtime, device=device, threads=threads, fast=fast)

    with bound:
        nets = enhancer_pool.EnhancerPool(weights, make)
        nets.get(nets.default)  # its errors are reported before the first request
        limits = service.Limits(at_once=jobs, queue=queue, time_limit_seconds=time_limit,
                                max_bytes=int(max_megabytes * 1e6), max_megapixels=max_megapixels,
                                uploads_bytes=max(10**9, int(2e6 * max_megabytes)))  # fmt: skip
        serving = service.Service(nets, limits, token_needed=bool(token))
        guarded = app.make_app(serving, hosts=[host, *(allowed_host or [])], token=token)
        _log()
        server.listen(
            serving,
            guarded,
            bound,
            started=lambda: _tell(host, bound.getsockname()[1], token, open),
            told=lambda: typer.echo("Ending: what can finish in 10 s finishes.", err=True),
        )


def _tell(host: str, port: int, token: str | None, open: bool) -> None:
    """Where it listens, on standard output; what a person should know besides, on standard error."""
    import sys
    import webbrowser
    from urllib.parse import quote

    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    address = f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}/"
    page = address + (f"#token={quote(token, safe='')}" if token else "")
    # into a log, which others may read, goes no token
    shown = page if sys.stdout.isatty() or not token else f"{address}#token=TOKEN"
    typer.echo(f"mirnet listens on {shown} (Ctrl-C ends it)")
    sys.stdout.flush()
    if not token and not host.startswith(LOOPBACK):
        typer.echo("There is no --token: everyone on the network who reaches this port can use the service.", err=True)
    if open:
        webbrowser.open(address)  # without the token: other users of this machine see what programs are called with


def _log() -> None:
    """A line for each request on standard error: method, route, status and seconds, nothing of an image."""
    import logging

    lines = logging.StreamHandler()
    lines.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log = logging.getLogger("mirnet.serve")
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it quotes what it cannot read
