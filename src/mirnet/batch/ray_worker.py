"""What runs on the nodes of a cluster: a network each, and the images whose paths it is given."""

import platform
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mirnet._version import __version__
from mirnet.batch import object_urls
from mirnet.batch.jobs import BatchJob, Outcome, WorkerPool
from mirnet.errors import MirnetError, PictureError, SettingsError
from mirnet.files import clear_drafts
from mirnet.inference import catalog
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.settings import Settings


@dataclass(frozen=True)
class EnhancementRecipe:
    """What makes the same enhancer on every node: weights by their content, a photo to match as its bytes."""

    weights: str
    sha256: str
    runtime: str
    device: str
    fast: bool
    settings: Settings
    version: str = __version__


WeightFiles = dict[str, bytes]  # of weights: the network, its card, and what lies beside them for `fast`


def read_weight_files(weights: catalog.Weights) -> WeightFiles:
    """What a node needs that has not got these weights. Raises WeightsError."""
    stem = weights.path.with_suffix("")
    files = {weights.path.name: weights.read_verified(), f"{stem.name}.json": weights.card.to_json().encode()}
    for suffix in (".int8.onnx", ".int8.json"):
        default_target = stem.with_name(stem.name + suffix)
        if default_target.is_file():
            files[default_target.name] = default_target.read_bytes()
    return files


class Worker:
    """Enhances images on one node, several at once in the threads that ask."""

    def __init__(self, recipe: EnhancementRecipe, send_files: Callable[[], WeightFiles], threads: int) -> None:
        """Loads nothing yet: `open` reports errors of loading, which a constructor of an actor could not."""
        self._recipe, self._send_files, self._threads = recipe, send_files, threads
        self._opening = threading.Lock()
        self._crew: WorkerPool | None = None

    def open(self) -> None:
        """Load the network. Raises SettingsError, WeightsError with the node's name."""
        if __version__ != self._recipe.version:
            raise SettingsError(
                f"The node {platform.node()} has mirnet {__version__}, and the command is of "
                f"{self._recipe.version}; install the same version everywhere."
            )
        with self._opening:
            try:
                self._crew = self._crew or WorkerPool(
                    (), self._enhancer(), self._recipe.settings, lambda job, done: None
                )
            except MirnetError as error:
                raise type(error)(f"The node {platform.node()}: {error}") from None  # its frames stay here

    def enhance(self, job: BatchJob, again: bool) -> Outcome:
        """Do one job, whose paths are absolute; `again`: one at which another worker was killed."""
        self.open()
        assert self._crew is not None
        if again and not isinstance(job.target, object_urls.Url):
            clear_drafts(job.target.parent)
        outcome = self._done(job, self._crew)
        # the settings stay here: they may hold a photo, and the caller knows them
        report = replace(outcome.report, settings=Settings()) if outcome.report else None
        return replace(outcome, report=report, bytes=outcome.bytes or object_urls.bytes_of(job))

    def stop(self) -> None:
        """End what is in work, with nothing half-written."""
        if self._crew:
            self._crew.stop()

    def _done(self, job: BatchJob, pool: WorkerPool) -> Outcome:
        if not job.problem and (isinstance(job.source, object_urls.Url) or isinstance(job.target, object_urls.Url)):
            return object_urls.process_copies(job, self._recipe.settings.overwrite, pool.process)
        if not job.problem and not job.source.exists():
            sentence = (
                f"{job.source}: is not there on the node {platform.node()}; the nodes need one file system, or URLs."
            )
            return Outcome(job, error=PictureError(sentence))
        return pool.process(job)

    def _enhancer(self) -> Enhancer:
        recipe = self._recipe
        installed = catalog.FOLDER / f"{recipe.weights}.onnx"
        if installed.is_file() and catalog.read(installed).card.sha256 == recipe.sha256:
            return self._made(installed)
        with TemporaryDirectory(prefix="mirnet-") as folder:  # gone when the network is in memory
            for name, content in self._send_files().items():
                Path(folder, name).write_bytes(content)
            return self._made(Path(folder, f"{recipe.weights}.onnx"))

    def _made(self, weights: Path) -> Enhancer:
        recipe = self._recipe
        made = Enhancer(weights, runtime=recipe.runtime, device=recipe.device, threads=self._threads, fast=recipe.fast)
        made.check(recipe.settings)
        return made
