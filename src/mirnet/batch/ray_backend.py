"""Many machines at one list of files, by Ray: paths go out, outcomes come back, pixels stay where they are made.

    this process                              each node
    jobs -> a few for each worker  --paths--> workers, each a network on some cores, with two images at once:
    report, summary <- outcomes <--outcomes-- one is read or written while the other is in the network

Ray starts the workers and tells which have died. What was in their hands is handed out again by this process, so that
each file has one outcome whatever was killed: a result appears whole or not at all, and what is there is left alone.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mirnet.batch.backend import EnhancerOptions
from mirnet.batch.jobs import BatchJob, Outcome, Progress, clear_output
from mirnet.batch.object_urls import Url, renamed
from mirnet.batch.ray_cluster import connect_to_ray
from mirnet.batch.ray_worker import EnhancementRecipe, Worker, read_weight_files
from mirnet.errors import MirnetError, PictureError, SettingsError
from mirnet.inference.catalog import Weights, find
from mirnet.inference.settings import Settings

CORES_EACH = 4  # of a worker: more workers with fewer threads do more a second, fewer workers hold less memory
ATTEMPTS = 4  # at an image, before it is what kills its workers
OPENINGS = 3  # of a worker that dies before it is ready
POLL_SECONDS = 2.0  # how often new and lost nodes are looked for
WAITING_SECONDS = 30.0  # without any worker, before the user is warned
STOP_SECONDS = 10.0  # for images in work, which notice between two tiles


@contextmanager
def open_ray_backend(address: str | None, options: EnhancerOptions, settings: Settings, *, at_once: int = 2,
                     warn: Callable[[str], None] = lambda sentence: None) -> Iterator["RayBackend"]:  # fmt: skip
    """A backend on the cluster at `address` (see `connect_to_ray`). Raises WeightsError, SettingsError."""
    weights = find(options.weights)
    if isinstance(settings.match, Path):
        settings = replace(settings, match=_read(settings.match))
    recipe = EnhancementRecipe(
        weights.path.stem, weights.card.sha256, options.runtime, options.device, options.fast, settings
    )
    with connect_to_ray(address) as ray:
        backend = RayBackend(ray, weights, recipe, threads=options.threads, at_once=at_once, warn=warn)
        with closing(backend):
            yield backend


def _read(photo: Path) -> bytes:
    try:
        return photo.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{photo}: the photo to match cannot be read ({error.strerror}); check the path."
        ) from error


@dataclass(eq=False)
class _Member:
    """One worker, and what is in its hands."""

    actor: Any
    opening: Any  # ref, None once it is open
    jobs: set[Any] = field(default_factory=set)  # refs


@dataclass(frozen=True)
class _Task:
    job: BatchJob
    attempt: int = 0


class RayBackend:
    """Workers on all cores of a cluster, or all GPUs, for one recipe; nodes that come later get theirs."""

    def __init__(
        self,
        ray: Any,
        weights: Weights,
        recipe: EnhancementRecipe,
        *,
        threads: int | None = None,
        at_once: int = 2,
        warn: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """`ray` as `joined` gives it; `threads` of each worker, None for up to 4; `at_once` images of each."""
        self.weights = weights
        self._ray, self._recipe, self._threads, self._at_once, self._warn = ray, recipe, threads, at_once, warn
        files = ray.put(read_weight_files(weights))
        self._shared = ray.put(recipe), lambda: ray.get(files)
        self._members: dict[tuple[str, int], _Member] = {}
        self._failed_openings: dict[tuple[str, int], int] = {}
        self._last_error = ""
        self._running: dict[Any, tuple[_Member, _Task]] = {}
        self._retries: deque[_Task] = deque()
        self._looked = self._served = float("-inf")
        self._waiting_unreported = True

    def run(
        self, jobs: Sequence[BatchJob], progress: Progress = lambda job, done: None
    ) -> Generator[Outcome, None, None]:
        """Enhance files wherever there is a core; outcomes come as they end, each once, failures among them.

        Closing the iterator ends all running jobs with nothing half-written. Raises MirnetError where the
        nodes cannot do what is asked for.
        """
        waiting, lost = iter(jobs), list[BatchJob]()
        self._served = time.monotonic()
        try:
            while True:
                self._update_members()
                more = self._submit_tasks(waiting)
                if not more and not self._running:
                    return
                for ref in self._finished_refs():
                    member, task = self._running.pop(ref)
                    member.jobs.discard(ref)
                    outcome = self._outcome(ref, member, task)
                    if outcome is None:
                        lost.append(task.job)
                    else:
                        yield outcome
        finally:
            self._stop()
            clear_output(lost)  # drafts of the killed, where we can see them

    def close(self) -> None:
        """End all workers."""
        for member in self._members.values():
            self._ray.kill(member.actor)
        self._members.clear()

    # Workers ---------------------------------------------------------------------------------------------------------

    def _update_members(self) -> None:
        """One worker for each share of each node that is alive."""
        if time.monotonic() - self._looked < POLL_SECONDS:
            return
        self._looked = time.monotonic()
        wanted = dict(self._shares())
        for place in [place for place in self._members if place not in wanted]:
            self._dismiss(self._members[place])
        for place, (cpus, gpus) in wanted.items():
            if place not in self._members and self._failed_openings.get(place, 0) < OPENINGS:
                self._members[place] = self._start_member(place[0], cpus, gpus)
        if wanted and all(self._failed_openings.get(place, 0) >= OPENINGS for place in wanted):
            raise MirnetError(f"No worker could be started, each died while it loaded: {self._last_error}")
        self._report_waiting(bool(wanted))

    def _shares(self) -> Iterator[tuple[tuple[str, int], tuple[int, int]]]:
        """(node, number) and the (cores, GPUs) of each worker."""
        for node in self._ray.nodes():
            if not node["Alive"]:
                continue
            cpus, gpus = (int(node["Resources"].get(what, 0)) for what in ("CPU", "GPU"))
            if self._on_gpus:
                shares = [(max(cpus // gpus, 1), 1)] * gpus if gpus else []
            else:
                each = min(self._threads or CORES_EACH, cpus)
                count = (cpus // each if self._threads else -(-cpus // each)) if cpus else 0
                shares = [((cpus * (n + 1)) // count - (cpus * n) // count, 0) for n in range(count)]
            yield from (((node["NodeID"], number), share) for number, share in enumerate(shares))

    @property
    def _on_gpus(self) -> bool:
        return self._recipe.device.lower().startswith("cuda")

    def _start_member(self, node: str, cpus: int, gpus: int) -> _Member:
        here = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        threads = min(self._threads or cpus, cpus)
        # BLAS as in the plain command, before numpy is loaded: its sums depend on its threads, and so would a result
        variables = {"OPENBLAS_NUM_THREADS": "1", "VIPS_CONCURRENCY": str(threads)}
        # no restarts and no retries of Ray's: it would wait for a node that never comes back
        remote = self._ray.remote(Worker).options(num_cpus=cpus, num_gpus=gpus, scheduling_strategy=here,
                                                  max_concurrency=self._at_once + 2,
                                                  runtime_env={"env_vars": variables})  # fmt: skip
        recipe, send_files = self._shared
        actor = remote.remote(recipe, send_files, threads)
        return _Member(actor, actor.open.remote())

    def _dismiss(self, member: _Member) -> None:
        self._members = {place: each for place, each in self._members.items() if each is not member}
        self._ray.kill(member.actor)  # dead it is, or out of reach: then it shall not go on

    def _report_waiting(self, any_cores: bool) -> None:
        if any(member.opening is None for member in self._members.values()):
            self._served, self._waiting_unreported = time.monotonic(), True
        elif self._waiting_unreported and time.monotonic() - self._served > WAITING_SECONDS:
            what = "a GPU" if self._on_gpus else "a core"
            self._warn(f"Waiting for the cluster: {'none of its nodes has' if not any_cores else 'others use'} {what}.")
            self._waiting_unreported = False

    # Jobs ------------------------------------------------------------------------------------------------------------

    def _submit_tasks(self, waiting: Iterator[BatchJob]) -> bool:
        """Give each worker what it can have in work at once, the idlest first; whether there is more to do."""
        ready = [member for member in self._members.values() if member.opening is None]
        for busy in range(self._at_once):
            for member in ready:
                if len(member.jobs) > busy:
                    continue
                task = self._next(waiting)
                if task is None:
                    return False
                ref = member.actor.enhance.remote(_absolute(task.job), task.attempt > 0)
                member.jobs.add(ref)
                self._running[ref] = member, task
        return True

    def _next(self, waiting: Iterator[BatchJob]) -> _Task | None:
        if self._retries:
            return self._retries.popleft()
        job = next(waiting, None)
        return None if job is None else _Task(job)

    def _finished_refs(self) -> list[Any]:
        """Refs of jobs that have ended; workers that have opened are noted on the way."""
        opening = {m.opening: m for m in self._members.values() if m.opening is not None}
        refs = [*self._running, *opening]
        if not refs:
            time.sleep(POLL_SECONDS)
            return []
        done, _ = self._ray.wait(refs, timeout=POLL_SECONDS)
        done, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0) if done else (done, None)
        for ref in done:
            if ref in opening:
                self._mark_open(opening[ref])
        return [ref for ref in done if ref in self._running]

    def _mark_open(self, member: _Member) -> None:
        """Raises MirnetError where the worker says why it cannot work."""
        try:
            self._ray.get(member.opening)
            member.opening = None
        except self._ray.exceptions.RayTaskError as error:
            raise _worker_error(error) from None
        except self._ray.exceptions.RayError as error:
            if "No module named 'mirnet'" in str(error):
                raise SettingsError("A node of the cluster has no mirnet; install the same version on each.") from error
            place = next(place for place, each in self._members.items() if each is member)
            self._failed_openings[place] = self._failed_openings.get(place, 0) + 1
            self._last_error = str(error).strip().splitlines()[-1]
            self._dismiss(member)

    def _outcome(self, ref: Any, member: _Member, task: _Task) -> Outcome | None:
        """Of a job that has ended; None where its worker was lost, and the job waits to be done again."""
        try:
            outcome: Outcome = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            return Outcome(task.job, error=PictureError(f"{task.job.source}: {_worker_error(error)}"))
        except self._ray.exceptions.RayError:
            self._dismiss(member)
            self._looked = float("-inf")
            if task.attempt + 1 < ATTEMPTS:
                self._retries.append(_Task(task.job, task.attempt + 1))
                return None
            sentence = (
                f"{task.job.source}: {ATTEMPTS} workers were killed while they had it; perhaps it needs more memory."
            )
            return Outcome(task.job, error=PictureError(sentence))
        outcome = renamed(outcome, _absolute(task.job), task.job)
        if outcome.report:
            outcome = replace(outcome, report=replace(outcome.report, settings=self._recipe.settings))
        return outcome

    def _stop(self) -> None:
        """End what is in work; a worker that does not answer is killed, by which no result is half-written either."""
        if not self._running:
            return
        busy = {id(member): member for member, _ in self._running.values()}.values()
        stopping = [member.actor.stop.remote() for member in busy]
        with suppress(self._ray.exceptions.RayError):
            self._ray.wait([*stopping, *self._running], num_returns=len(stopping) + len(self._running),
                           timeout=STOP_SECONDS)  # fmt: skip
        for member in busy:
            self._dismiss(member)
        self._running.clear()
        self._retries.clear()


def _absolute(job: BatchJob) -> BatchJob:
    """The job for a process that works in another folder."""
    source, target = (path if isinstance(path, Url) else path.absolute() for path in (job.source, job.target))
    return replace(job, source=source, target=target)


def _worker_error(error: Any) -> MirnetError:
    """What a worker raised, without Ray's frames around it."""
    cause = error.cause
    if isinstance(cause, MirnetError):
        return type(cause)(str(cause))
    return MirnetError(f"a worker failed ({type(cause).__name__}: {cause}); please report this")
