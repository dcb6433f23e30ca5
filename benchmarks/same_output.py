"""Checks that the program still writes the same bytes: records its output at one commit, and compares later.

    python benchmarks/same_output.py record before.json          # five to eight minutes on one core
    python benchmarks/same_output.py compare before.json         # exit code 1, and a line for each difference
    python benchmarks/same_output.py compare before.json --only enhance

It runs the code in `src` beside this folder, in one thread each, through the stable interfaces: the command line, the
REST service and the names of `mirnet.__all__`. So it runs before and after modules are moved or renamed. It records the
SHA-256 of files and tensors, and of JSON the keys, numbers and words; it leaves out messages, since their wording may
change, times and ids. Compare on the machine and with the packages of the recording: others round differently. --fast,
Ray, and figures with text in them (curves, contact sheets) are not compared.
"""

import argparse
import csv
import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import safetensors
import same_output_inputs as inputs

Found = dict[str, Any]  # by the name of the case

REPOSITORY = inputs.REPOSITORY
CLOCKS = {"seconds", "samples_per_second", "waiting", "when", "seconds_left", "expires_in_seconds", "hours", "started",
          "at"}  # fmt: skip
OF_THIS_RUN = {"id", "href", "versions", "threads", "progress"}
FROZEN = "settings"  # its sentence stays, for programs read it
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VIPS_CONCURRENCY")}
HASH = re.compile(r"\b[0-9a-f]{64}$")
WORD = re.compile(r"[^\s]*")  # a text without spaces is a word or a name; with spaces it is a sentence
SERVED = re.compile(r"http://127\.0\.0\.1:(\d+)/")
PATIENCE_SECONDS = 300
DEVICE = ["--threads", "1"]


# What is kept of the output ------------------------------------------------------------------------------------------


def hash_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def hash_pixels(array: np.ndarray) -> str:
    """Shape, type and a hash of the values."""
    return f"{array.dtype} {'x'.join(map(str, array.shape))} {hash_bytes(np.ascontiguousarray(array).tobytes())}"


def keep_facts(value: Any) -> Any:
    """JSON without clocks, ids and sentences; of a sentence stays that there is one."""
    if isinstance(value, dict):
        kept = {name: part for name, part in value.items() if name not in CLOCKS | OF_THIS_RUN}
        is_kept = {name: name == FROZEN and isinstance(part, str) for name, part in kept.items()}
        return {name: part if is_kept[name] else keep_facts(part) for name, part in kept.items()}
    if isinstance(value, list | tuple):
        return [keep_facts(part) for part in value]
    if isinstance(value, str):
        return value if WORD.fullmatch(value) else "(a sentence)"
    if isinstance(value, float) and value != value:
        return "NaN"  # which as a number is never equal to itself
    return value if value is None or isinstance(value, int | float) else f"({type(value).__name__})"


def hash_file(path: Path) -> Any:
    """A hash of the bytes; of JSON the facts."""
    if path.suffix == ".json":
        return keep_facts(json.loads(path.read_text("utf-8")))
    return hash_bytes(path.read_bytes())


def hash_folder(folder: Path, pattern: str = "*") -> Found:
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in files}


def hash_tensors(path: Path) -> Found:
    """A hash of each part of a safetensors file's weights, and the facts of its header."""
    with safetensors.safe_open(path, framework="np") as file:
        parts: dict[str, Any] = {}
        for name in sorted(file.keys()):
            part = parts.setdefault(name.partition("/")[0] if "/" in name else "weights", hashlib.sha256())
            tensor = file.get_tensor(name)
            part.update(f"{name} {tensor.dtype} {tensor.shape}".encode() + tensor.tobytes())
        header = {name: keep_facts(json.loads(text)) for name, text in (file.metadata() or {}).items()}
    return {"header": header, **{name: part.hexdigest() for name, part in parts.items()}}


# The command line ----------------------------------------------------------------------------------------------------


class Program:
    """Runs `mirnet` commands in a folder that holds the inputs; all paths are relative to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command = [sys.executable, "-m", "mirnet"]

    def run(self, *arguments: object, standard_input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Runs a command, whatever its exit code."""
        command = [*self.command, *(str(each) for each in arguments)]
        return subprocess.run(command, cwd=self.folder, input=standard_input or b"", capture_output=True, check=False)

    def must_run(self, *arguments: object, **options: Any) -> bytes:
        """Runs a command and returns its standard output. Ends this process where the command fails."""
        done = self.run(*arguments, **options)
        if done.returncode:
            command = " ".join(str(each) for each in arguments)
            sys.exit(f"mirnet {command}: ended with {done.returncode}\n{done.stderr.decode()}")
        return done.stdout

    def path(self, name: str) -> Path:
        return self.folder / name


# Group: enhance ------------------------------------------------------------------------------------------------------

SOME = ["rich.jpg", "p3.jpg", "turned-5.jpg", "deep.png", "alpha.png", "palette.png", "float.tif", "webp-rich.webp",
        "eight.avif", "camera.dng"]  # fmt: skip
SETTINGS = {
    "night": ["--mood", "night"],
    "match": ["--match", "in/bright.jpg"],
    "keep-exposure": ["--keep-exposure"],
    "denoise 0": ["--denoise", "0"],
    "denoise 0.5": ["--denoise", "0.5"],
    "denoise-colour 1": ["--denoise", "0.2", "--denoise-colour", "1"],
    "denoise-colour 0": ["--denoise-colour", "0", "--exposure", "0.5"],
    "strength 0": ["--strength", "0"],
    "strength 0.4": ["--strength", "0.4", "--quality", "60"],
    "exposure +1": ["--exposure", "1", "--warmth", "0.7"],
    "exposure -1.5": ["--exposure", "-1.5", "--warmth", "-1"],
    "strip-location": ["--strip-location"],
    "no-provenance": ["--no-provenance"],
    "as jpeg": ["--format", "jpeg", "--quality", "70"],
    "as png": ["--format", "png"],
    "as webp": ["--format", "webp", "--quality", "80"],
    "as tiff": ["--format", "tiff", "--strip-location"],
    "as avif": ["--format", "avif", "--quality", "50"],
    "weights free": ["--weights", "free"],
    "weights denoise": ["--weights", "denoise", "--keep-exposure"],
}


def record_enhance(program: Program) -> Found:
    everything = [f"in/{name}" for name in sorted(os.listdir(program.path("in")))]  # noqa: PTH208  names alone
    found = {"inputs": hash_folder(program.path("in"))}
    found["defaults"] = enhance_batch(program, "defaults", everything, [])
    for name, options in SETTINGS.items():
        found[name] = enhance_batch(program, name, [f"in/{each}" for each in SOME], options)
    few = {
        "clip": (["in/float-beyond.tif"], ["--clip"]),
        "tile 64": (["in/large.png", "in/rocket-at-dusk.jpg"], ["--tile", "64"]),
        "tile 128 night": (["in/large.png"], ["--tile", "128", "--mood", "night", "--denoise", "0.6"]),
        "too many pixels": (["in/png.png", "in/tiny.jpg"], ["--max-megapixels", "0.001"]),
        "folder": (["tree"], []),
        "folders within": (["tree"], ["--recursive", "--jobs", "1"]),
        "shard": (["tree", "in/plain.jpg", "in/bmp.bmp"], ["--recursive", "--shard", "1/2"]),
        "onnxruntime": (["in/png.png"], ["--runtime", "onnxruntime"]),
        "torch": (["in/png.png"], ["--runtime", "torch"]),
    }
    for name, (sources, options) in few.items():
        found[name] = enhance_batch(program, name, sources, options)
    return found | enhance_through_pipes(program) | enhance_beside(program) | use_python(program)


def enhance_batch(program: Program, name: str, sources: list[str], options: list[str]) -> Found:
    """Hashes of what one command writes, its exit code, and its report without clocks and sentences."""
    target = f"out/{name.replace(' ', '_')}"
    program.path(target).mkdir(parents=True)
    done = program.run("enhance", *sources, "-o", target, "--report", f"{target}.jsonl", *DEVICE, *options)
    report = program.path(f"{target}.jsonl")
    lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    facts = {line["source"]: keep_facts(line) for line in sorted(lines, key=lambda line: line["source"])}
    return {"exit code": done.returncode, "files": hash_folder(program.path(target)), "report": facts}


def enhance_through_pipes(program: Program) -> Found:
    photo = program.path("in/rich.jpg").read_bytes()
    program.must_run("enhance", "-", "-o", "out/piped.webp", *DEVICE, standard_input=photo)
    return {
        "pipe": {
            "- to -": hash_bytes(program.must_run("enhance", "-", *DEVICE, standard_input=photo)),
            "file to -": hash_bytes(program.must_run("enhance", "in/camera.dng", "-o", "-", *DEVICE)),
            "- to file": hash_bytes(program.path("out/piped.webp").read_bytes()),
            "no image": program.run("enhance", "-", *DEVICE, standard_input=b"no image").returncode,
        }
    }  # fmt: skip


def enhance_beside(program: Program) -> Found:
    """Results without -o, which go beside their originals; a second time they are left alone."""
    program.path("beside").mkdir()
    for name in ("plain.jpg", "gif.gif", "turned.heic"):
        shutil.copy(program.path(f"in/{name}"), program.path("beside"))
    codes = [program.run("enhance", "beside", *DEVICE, *more).returncode for more in ([], [], ["--overwrite"])]
    wrong = [["in/plain.jpg", "--strength", "2"], ["in/plain.jpg", "--weights", "none"], ["in/none.jpg"],
             ["in/plain.jpg", "--mood", "night", "--match", "in/bright.jpg"]]  # fmt: skip
    refused = {" ".join(each): program.run("enhance", *each).returncode for each in wrong}
    return {"beside": {"exit codes": codes, "files": hash_folder(program.path("beside")), "refused": refused}}


def use_python(program: Program) -> Found:
    """`mirnet.__all__` in this process: arrays, PIL images, bytes, proposals, reading and writing."""
    sys.path.insert(0, str(REPOSITORY / "src"))
    import mirnet

    enhancer = mirnet.Enhancer(threads=1)
    arrays = {"uint8": inputs.draw_dark(), "uint16": inputs.draw_dark(np.uint16),
              "float32": inputs.draw_dark(np.float32), "float64": inputs.draw_dark(np.float64),
              "grey": inputs.draw_dark()[..., 0],
              "grey alpha": inputs.draw_dark(channels=2), "alpha": inputs.draw_dark(channels=4)}  # fmt: skip
    found: Found = {f"array {name}": hash_pixels(enhancer.enhance(array)) for name, array in arrays.items()}
    found["array night"] = hash_pixels(enhancer.enhance(arrays["uint8"], mood="night", denoise=0.5, tile=64))
    found["module's enhance"] = hash_pixels(mirnet.enhance(arrays["uint8"], exposure=-0.5))
    image = PIL.Image.fromarray(arrays["uint8"])
    for mode in ("L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr"):
        result = enhancer.enhance(image.convert("L").convert("LA") if mode == "LA" else image.convert(mode))
        found[f"PIL {mode}"] = f"{result.mode} {hash_pixels(np.asarray(result))}"
    turned = enhancer.enhance(PIL.Image.open(program.path("in/turned-6.jpg")))
    found["PIL turned"] = f"{turned.getexif().get(0x0112)} {hash_pixels(np.asarray(turned))}"
    found["bytes"] = hash_bytes(enhancer.enhance(program.path("in/p3.jpg").read_bytes(), strength=0.7))
    for name in ("rich.jpg", "float.tif", "camera.dng", "bright.jpg"):
        found[f"proposal {name}"] = enhancer.propose(program.path(f"in/{name}"))
    found |= {f"wrong {name}": name_error(enhancer, value, wrong) for name, value, wrong in (
        ("strength", arrays["uint8"], {"strength": 2}), ("setting", arrays["uint8"], {"loudness": 1}),
        ("shape", np.zeros((2, 2, 7), np.uint8), {}), ("values", arrays["float32"] * 9, {}), ("type", 3, {}),
        ("bytes", b"no image", {}), ("path", "none.jpg", {}),
    )}  # fmt: skip
    found["weights"] = {each.card.name: keep_facts(asdict(each.card)) for each in mirnet.list_weights()}
    return {"python": found, "read": read_all(program, mirnet), "write": write_all(program, mirnet)}


def name_error(enhancer: Any, value: Any, settings: dict[str, Any]) -> str:
    try:
        enhancer.enhance(value, **settings)
    except Exception as error:  # noqa: BLE001  its class is what is recorded
        return type(error).__name__
    return "no error"


def read_all(program: Program, mirnet: Any) -> Found:
    """The pixels that `read_image` returns of each input, or its error."""
    found = {}
    for path in sorted(program.path("in").iterdir()):
        try:
            found[path.name] = hash_pixels(mirnet.read_image(path))
        except mirnet.MirnetError as error:
            found[path.name] = type(error).__name__
    return found


def write_all(program: Program, mirnet: Any) -> Found:
    """The files that `write_image` makes of each kind of array in each format, or its error."""
    found = {}
    for suffix in ("jpg", "png", "webp", "tif", "avif", "gif"):
        for dtype in (np.uint8, np.uint16, np.float32):
            for channels in (1, 3, 4):
                array = inputs.draw_dark(dtype, channels=channels, seed=9)
                name = f"{np.dtype(dtype).name}-{channels}.{suffix}"
                target = program.path(f"out/written-{name}")
                try:
                    mirnet.write_image(target, array[..., 0] if channels == 1 else array)
                    found[name] = hash_bytes(target.read_bytes())
                except mirnet.MirnetError as error:
                    found[name] = type(error).__name__
    return found


# Group: rest ---------------------------------------------------------------------------------------------------------


class Service:
    """A client of a started `mirnet serve`."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[Any, bytes]:
        """The response and its body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response, content

    def record(self, method: str, path: str, body: bytes = b"", **headers: str) -> Found:
        """Status, the headers that carry facts, and the body's hash or facts."""
        return describe(*self.ask(method, path, body, **headers))

    def wait_for(self, path: str) -> Found:
        """A job's state once it is over."""
        for _ in range(PATIENCE_SECONDS * 20):
            _, content = self.ask("GET", path)
            state: Found = json.loads(content)
            if state["state"] not in ("waiting", "working"):
                return state
            time.sleep(0.05)
        sys.exit(f"{path}: the job did not end.")


def describe(response: Any, content: bytes) -> Found:
    kind = response.headers.get_content_type()
    headers = {name.lower(): text for name, text in response.getheaders()}
    kept = {name: text for name, text in headers.items()
            if name in ("content-type", "cache-control", "allow") or
            (name.startswith("mirnet-") and name not in ("mirnet-seconds", "mirnet-remarks"))}  # fmt: skip
    remarks = len(json.loads(headers.get("mirnet-remarks", "[]")))
    found: Found = {"status": response.status, "headers": kept, "names": sorted(headers.keys() - {"date"}),
                    "remarks": remarks}  # fmt: skip
    if kind == "application/problem+json":
        problem = json.loads(content)
        return found | {"type": problem["type"], "keys": sorted(problem)}
    return found | {"body": keep_facts(json.loads(content)) if kind == "application/json" else hash_bytes(content)}


@contextmanager
def serving(program: Program) -> Iterator[Service]:
    options = ["--port", "0", "--max-megabytes", "2", "--max-megapixels", "0.5", *DEVICE]
    process = subprocess.Popen([*program.command, "serve", *options], cwd=program.folder,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        assert process.stdout
        line = process.stdout.readline().decode()
        address = SERVED.search(line)
        if not address:
            sys.exit(f"mirnet serve does not say where it listens: {line}")
        service = Service(int(address[1]))
        while service.ask("GET", "/readyz")[0].status != 200:
            time.sleep(0.1)
        yield service
    finally:
        process.terminate()
        process.wait(30)


def make_form(**parts: bytes) -> tuple[bytes, str]:
    """The body of a form of files and fields, and its media type; names that end in _file become files."""
    body = b""
    for name, content in parts.items():
        field = name.removesuffix("_file")
        file = '; filename="photo"' if name.endswith("_file") else ""
        body += f'--x\r\nContent-Disposition: form-data; name="{field}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    return body + b"--x--\r\n", "multipart/form-data; boundary=x"


def record_rest(program: Program) -> Found:
    names = ("rich.jpg", "alpha.png", "float.tif", "deep-p3.png")
    photo, png, float_tiff, deep = (program.path(f"in/{name}").read_bytes() for name in names)
    with serving(program) as service:
        return (
            {"weights": service.record("GET", "/v1/weights"), "limits": service.record("GET", "/v1/limits"),
             "health": service.record("GET", "/healthz"), "ready": service.record("GET", "/readyz"),
             "openapi": read_openapi(service), "metrics": read_metric_names(service)}
            | record_requests(service, photo, png)
            | record_problems(service, photo, png)
            | {"preview": record_preview(service, photo), "preview of alpha": record_preview(service, png),
               "preview of floats": record_preview(service, float_tiff), "preview of P3": record_preview(service, deep)}
            | {"job": record_job(service, photo), "failed job": record_job(service, photo[:300])}
        )  # fmt: skip


def read_openapi(service: Service) -> Found:
    """The paths, methods, parameters and responses; no sentences."""
    document = json.loads(service.ask("GET", "/openapi.json")[1])
    return {
        f"{method} {path}": {"parameters": sorted(each["name"] for each in said.get("parameters", [])),
                             "responses": sorted(said["responses"])}
        for path, methods in document["paths"].items() for method, said in methods.items()
    }  # fmt: skip


def read_metric_names(service: Service) -> list[str]:
    text = service.ask("GET", "/metrics")[1].decode()
    names = {re.split(r"[{ ]", line)[0] for line in text.splitlines() if line.startswith("mirnet_")}
    return sorted(name for name in names if not name.endswith("_created"))


def record_requests(service: Service, photo: bytes, png: bytes) -> Found:
    form, form_type = make_form(file_file=photo, exposure=b"-0.5", format=b"webp")
    match, match_type = make_form(file_file=photo, match_file=png)
    return {
        "enhance raw": service.record("POST", "/v1/enhance", photo, Content_Type="image/jpeg"),
        "enhance options": service.record("POST", "/v1/enhance?denoise=0.4&mood=night&format=png", photo),
        "enhance free": service.record("POST", "/v1/enhance?weights=free&strip_location=true&tile=64", photo),
        "enhance remarks": service.record("POST", "/v1/enhance?format=jpeg", png),
        "enhance form": service.record("POST", "/v1/enhance", form, Content_Type=form_type),
        "enhance match": service.record("POST", "/v1/enhance", match, Content_Type=match_type),
    }


def record_problems(service: Service, photo: bytes, png: bytes) -> Found:
    twice, twice_type = make_form(file_file=photo, strength=b"1", match=b"x")
    wrong: dict[str, tuple[str, str, bytes, dict[str, str]]] = {
        "nothing": ("POST", "/v1/enhance", b"", {}),
        "no image": ("POST", "/v1/enhance", b"no image at all", {}),
        "half an image": ("POST", "/v1/enhance", png[:200], {}),
        "settings": ("POST", "/v1/enhance?strength=2&mood=dawn", photo, {}),
        "unknown option": ("POST", "/v1/enhance?loudness=1", photo, {}),
        "unknown weights": ("POST", "/v1/enhance?weights=none", photo, {}),
        "too large": ("POST", "/v1/enhance", bytes(2_100_000), {}),
        "too many pixels": ("POST", "/v1/enhance", inputs.to_pillow(np.zeros((800, 700, 3), np.uint8), "png"), {}),
        "media type": ("POST", "/v1/enhance", b"{}", {"Content_Type": "application/json"}),
        "compressed": ("POST", "/v1/enhance", photo, {"Content_Encoding": "gzip"}),
        "malformed": ("POST", "/v1/enhance", b"--y", {"Content_Type": "multipart/form-data; boundary=x"}),
        "match as field": ("POST", "/v1/enhance", twice, {"Content_Type": twice_type}),
        "other host": ("GET", "/v1/limits", b"", {"Host": "example.org"}),
        "no such page": ("GET", "/v2/nothing", b"", {}),
        "method": ("PUT", "/v1/enhance", b"", {}),
        "preview gone": ("GET", "/v1/previews/none", b"", {}),
        "job gone": ("GET", "/v1/jobs/none/result", b"", {}),
    }
    return {f"problem {name}": service.record(method, path, body, **headers)
            for name, (method, path, body, headers) in wrong.items()}  # fmt: skip


def record_preview(service: Service, content: bytes) -> Found:
    """What the page asks for while the user moves sliders."""
    response, body = service.ask("POST", "/v1/previews", content)
    address = response.headers["Location"]
    views = {
        "facts": ("GET", address), "original": ("GET", f"{address}/original"), "default": ("POST", address),
        "exposure": ("POST", f"{address}?exposure=0.5&warmth=0.3"), "small": ("POST", f"{address}?pixels=900"),
        "night": ("POST", f"{address}?mood=night&denoise=0.3&denoise_colour=1"),
        "keep": ("POST", f"{address}?keep_exposure=true&strength=0.6"),
        "region": ("POST", f"{address}?region=8,4,20,10"), "layers": ("POST", f"{address}?layers=true"),
        "small original": ("GET", f"{address}/original?pixels=900"),
        "outside": ("POST", f"{address}?region=60,0,90,90"), "deleted": ("DELETE", address), "gone": ("GET", address),
    }  # fmt: skip
    return {"opened": describe(response, body)} | {name: service.record(*view) for name, view in views.items()}


def record_job(service: Service, content: bytes) -> Found:
    response, body = service.ask("POST", "/v1/jobs?exposure=0.5", content)
    address = response.headers["Location"]
    state = service.wait_for(address)
    if state["problem"]:
        state["problem"] = {"type": state["problem"]["type"], "keys": sorted(state["problem"])}
    events = service.ask("GET", f"{address}/events")[1].decode().splitlines()
    begun = describe(response, body)
    begun["body"] = sorted(begun["body"])  # how far the job is by then depends on the moment
    return {
        "begun": begun,
        "state": keep_facts(state),
        "last event": [line for line in events if line.startswith("event:")][-1],
        "result": service.record("GET", f"{address}/result"),
        "deleted": service.record("DELETE", address),
    }


# Group: data ---------------------------------------------------------------------------------------------------------

DARKEN = {
    "default": ["--seed", "3"],
    "stops": ["--stops", "2", "4", "--seed", "1"],
    "noise-only": ["--noise-only"],
    "sigma": ["--noise-only", "--sigma", "25"],
}


def record_data(program: Program) -> Found:
    found: Found = {}
    for name, options in DARKEN.items():
        program.must_run("data", "darken", "photos", "-o", f"darkened/{name}", *options)
        found[f"darken {name}"] = hash_folder(program.path(f"darkened/{name}"))
    found["check bad"] = check_data(program, "bad", [])
    found["check leak"] = check_data(program, "pairs", ["--val", "pairs"])
    found["check fine"] = check_data(program, "darkened/stops", ["--val", "validation"])
    for data in ("bad", "darkened/default"):
        target = f"split/{Path(data).name}"
        program.path(target).mkdir(parents=True)
        done = program.run("data", "split", data, "-o", target)
        found[f"split {data}"] = {"exit code": done.returncode, "files": hash_folder(program.path(target))}
    return found


def check_data(program: Program, data: str, options: list[str]) -> Found:
    report = f"report-{Path(data).name}"
    done = program.run("data", "check", data, *options, "--report", report)
    lines = [line.split(": ")[:2] for line in done.stdout.decode().splitlines()]
    findings = json.loads(program.path(f"{report}/findings.json").read_text("utf-8"))
    sheets = sorted(path.relative_to(program.path(report)).as_posix() for path in program.path(report).rglob("*.*"))
    return {"exit code": done.returncode, "lines": lines, "findings": keep_facts(findings), "report": sheets}


# Group: evaluate -----------------------------------------------------------------------------------------------------


def record_evaluate(program: Program) -> Found:
    program.path("results").mkdir()
    for path in sorted(program.path("pairs/low").iterdir()):
        pixels = np.asarray(PIL.Image.open(path))
        (program.path("results") / path.name).write_bytes(inputs.to_pillow(np.minimum(pixels * 7, 255), "png"))
    cases = {
        "one": ["pairs"],
        "several": ["pairs", "--also", "validation", "--weights", "lite", "--weights", "free", "--denoise", "0.5"],
        "results": ["pairs", "--weights", "lite", "--results", "results"],
        "keep-exposure": ["validation/low", "validation/high", "--keep-exposure", "--no-colour"],
    }
    return {name: keep_facts(json.loads(program.must_run("evaluate", *arguments, "--json", *DEVICE)))
            for name, arguments in cases.items()}  # fmt: skip


# Group: train --------------------------------------------------------------------------------------------------------

SHORT = ["--crop", "16", "--batch", "2", "--checkpoint-steps", "15", "--log-steps", "5", "--device", "cpu", *DEVICE]
LITE = ["--preset", "lite", "--recipe", "lite", "--steps", "30", "--validate-steps", "30"]
RUNS = {
    "pairs": ["pairs", *LITE, "--head-steps", "0", "--val", "validation", "--seed", "1"],
    "noise-only": ["pairs", *LITE, "--head-steps", "0", "--val", "validation", "--noise-only", "--from", "lite"],
    "synthetic": ["pairs", *LITE, "--head-steps", "3", "--synthetic", "photos", "--synthetic-weight", "0.5"],
    "photos": ["--synthetic", "photos", *LITE, "--head-steps", "0", "--val", "validation", "--dulled", "0.5",
               "--jitter-stops", "0.3"],
    "losses": ["pairs", "--steps", "6", "--validate-steps", "6", "--head-steps", "0", "--val", "validation",
               "--recipe", "plain", "--loss", "l1", "--ssim-weight", "0.2", "--gt-mean-weight", "0.5", "--ema", "0.9",
               "--optimiser", "adam", "--schedule", "cosine", "--warmup-steps", "2", "--clip-norm", "0.3",
               "--precision", "bf16"],
    "v2-paper": ["pairs", "--preset", "v2-paper", "--recipe", "paper", "--steps", "2", "--validate-steps", "2",
                 "--head-steps", "0", "--val", "validation"],
}  # fmt: skip


def record_train(program: Program) -> Found:
    found = {name: train_run(program, name, options) for name, options in RUNS.items()}
    longer = ["40" if each == "30" else each for each in RUNS["pairs"]]
    found["resumed"] = train_run(program, "pairs", [*longer, "--resume", "--override"])
    listed = json.loads(program.must_run("runs", "runs", "--json"))
    for run in listed["runs"]:
        drop_removed_settings(run["settings"])
    found["listed"] = keep_facts(listed)
    return found


def drop_removed_settings(settings: Found) -> None:
    """Takes out what runs stored before 2026-12-01 and no longer do, all of it at its default here."""
    for values, name in ((settings["recipe"], "accumulate"), (settings["recipe"]["feed"], "gamma"),
                         (settings["recipe"]["feed"], "mixup")):  # fmt: skip
        values.pop(name, None)


def train_run(program: Program, name: str, options: list[str]) -> Found:
    """The weights and numbers of a run in the folder runs/NAME; of a command that fails its last words."""
    run = program.path(f"runs/{name}")
    done = program.run("train", *options, *SHORT, "--run-dir", f"runs/{name}")
    if done.returncode:
        return {"exit code": done.returncode, "error": done.stderr.decode().strip().splitlines()[-1:]}
    about = json.loads((run / "run.json").read_text("utf-8"))
    drop_removed_settings(about["settings"])
    with (run / "log.csv").open(newline="") as file:
        rows = [{column: row[column] for column in row if column not in CLOCKS} for row in csv.DictReader(file)]
    return {
        "best": hash_tensors(run / "best.safetensors"),
        "last": hash_tensors(max((run / "checkpoints").glob("[!.]*.safetensors"))),
        "log": rows,
        "run.json": keep_facts(about),
        "card.json": hash_file(run / "card.json"),
        "names": {name: hash_file(run / name) for name in ("train.txt", "val.txt") if (run / name).exists()},
        "files": sorted(path.relative_to(run).as_posix() for path in run.rglob("*.*")),
    }


# Group: export -------------------------------------------------------------------------------------------------------


def record_export(program: Program) -> Found:
    """The export of a run; trains the run where there is none."""
    if not program.path("runs/noise-only").exists():
        train_run(program, "noise-only", RUNS["noise-only"])
    found: Found = {}
    program.must_run("export", "runs/noise-only", "-o", "run.onnx")
    found["onnx"] = hash_file(program.path("run.onnx"))
    found["card"] = hash_file(program.path("run.json"))
    found["enhanced"] = enhance_batch(program, "exported", ["in/png.png"], ["--weights", "run.onnx"])
    return found


# Recording and comparing ---------------------------------------------------------------------------------------------

GROUPS: dict[str, Callable[[Program], Found]] = {
    "enhance": record_enhance,
    "rest": record_rest,
    "data": record_data,
    "evaluate": record_evaluate,
    "train": record_train,
    "export": record_export,
}


def record_groups(names: list[str]) -> Found:
    """Records groups in a temporary folder, which goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="mirnet-same-") as name:
        folder = Path(name).resolve()
        set_environment(folder)
        inputs.make_inputs(folder)
        program, found = Program(folder), {}
        for group in names:
            began = time.monotonic()
            found[group] = GROUPS[group](program)
            values = flatten(found[group])
            hashes = sum(HASH.search(f"{each}") is not None for name, each in values.items() if "sha256" not in name)
            print(f"{group}: {hashes} hashes, {len(values)} values, {time.monotonic() - began:.0f} s", file=sys.stderr)
        return json.loads(json.dumps(found).replace(str(folder), "FOLDER"))  # as it is read back


def set_environment(folder: Path) -> None:
    """One thread, an empty cache, nothing of the user's, and the code of this checkout."""
    for name in [name for name in os.environ if name.startswith("MIRNET_")]:
        del os.environ[name]
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(REPOSITORY / "src"), *([before] if before else [])])
    os.environ |= ONE_THREAD | {"MIRNET_CACHE": str(folder / "cache"), "PYTHONPATH": path, "COLUMNS": "120"}


def flatten(value: Any, name: str = "") -> dict[str, Any]:
    """Each number or text by the names that lead to it."""
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for part, inner in parts for key, leaf in flatten(inner, f"{name} > {part}").items()}
    return {name.removeprefix(" > "): value}


def compare(before: Found, now: Found) -> list[str]:
    """A line for each value that differs, came or went."""
    old, new = flatten(before), flatten(now)
    lines = []
    for name in [*old, *(new.keys() - old.keys())]:
        if name not in new or name not in old or old[name] != new[name]:
            lines.append(f"{name}: {old.get(name, '(not there)')} -> {new.get(name, '(not there)')}")
    return lines


def describe_checkout() -> dict[str, str]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    when = time.strftime("%Y-%m-%d %H:%M")
    return {"commit": commit.stdout.strip(), "python": sys.version.split()[0], "recorded": when}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("action", choices=["record", "compare"])
    parser.add_argument("file", type=Path, help="JSON, which record writes and compare reads")
    parser.add_argument("--only", choices=GROUPS, action="append", help="one of the groups; may be repeated")
    arguments = parser.parse_args()
    names = [name for name in GROUPS if name in (arguments.only or GROUPS)]
    if arguments.action == "record":
        found = {"about": describe_checkout(), "groups": record_groups(names)}
        arguments.file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        return
    recorded = json.loads(arguments.file.read_text())
    before = {name: recorded["groups"][name] for name in names if name in recorded["groups"]}
    lines = compare(before, record_groups(list(before)))
    print("\n".join(lines) or f"All is as at {recorded['about']['commit'][:9]}: {', '.join(before)}.")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
