"""The parts of the service that know nothing of HTTP: its queue, what it keeps, and how options are read."""

import threading
from concurrent.futures import Future

import pytest
from serving import wait_until

from mirnet.errors import Cancelled, SettingsError
from mirnet.inference.settings import Settings
from mirnet.service import options
from mirnet.service.expiring_store import ExpiringStore
from mirnet.service.work_queue import OPEN_LEVEL, RENDER_LEVEL, WHOLE_LEVEL, QueueFull, ShuttingDown, WorkQueue


@pytest.fixture
def queue():
    made = WorkQueue(workers=1, waiting=3)
    yield made
    made.stop(ShuttingDown("over"))


class Gate:
    """Work that lasts until it is let go."""

    def __init__(self) -> None:
        self.began, self.free = threading.Event(), threading.Event()

    def __call__(self, progress, should_stop):
        self.began.set()
        while not self.free.wait(0.005):
            progress(0.5)
            if should_stop():
                raise Cancelled
        return "done"


def test_what_a_person_looks_at_goes_before_whole_pictures(queue) -> None:
    gate, order = Gate(), []
    first = queue.submit(gate)
    assert gate.began.wait(5)
    tickets = [
        queue.submit(lambda progress, should_stop, name=name: order.append(name), level)
        for name, level in (("whole", WHOLE_LEVEL), ("another", WHOLE_LEVEL), ("opened", OPEN_LEVEL))
    ]
    assert [queue.position(ticket) for ticket in tickets] == [1, 2, 0]
    gate.free.set()
    assert first.outcome.result(5) == "done"
    for ticket in tickets:
        ticket.outcome.result(5)
    assert order == ["opened", "whole", "another"]


def test_a_render_does_not_wait_for_whole_pictures_in_work(queue) -> None:
    gate = Gate()
    queue.submit(gate)
    assert gate.began.wait(5)
    assert queue.submit(lambda progress, should_stop: "seen", RENDER_LEVEL).outcome.result(5) == "seen"
    gate.free.set()


def test_a_full_queue_says_when_to_come_again(queue) -> None:
    gate = Gate()
    queue.submit(gate)
    assert gate.began.wait(5)
    for _ in range(3):
        queue.submit(lambda progress, should_stop: None)
    with pytest.raises(QueueFull, match="3 requests are waiting") as refused:
        queue.submit(lambda progress, should_stop: None)
    assert refused.value.retry_seconds >= 1
    gate.free.set()


def test_a_job_for_an_idle_worker_does_not_count_as_waiting() -> None:
    """Three jobs fit into one idle worker and a queue of two, however late its thread picks up the first."""
    made = WorkQueue(workers=1, waiting=2)
    gate = Gate()
    with made._changed:  # no thread picks anything up meanwhile
        jobs = [made.submit(gate), *(made.submit(lambda progress, should_stop: None) for _ in range(2))]
        with pytest.raises(QueueFull, match="2 requests are waiting"):
            made.submit(lambda progress, should_stop: None)
        jobs.append(made.submit(lambda progress, should_stop: None, RENDER_LEVEL))  # which the render thread takes
        with pytest.raises(QueueFull, match="2 requests are waiting"):
            made.submit(lambda progress, should_stop: None, RENDER_LEVEL)
    gate.free.set()
    for job in jobs:
        job.outcome.result(5)
    assert made.stop(ShuttingDown("over"))


def test_a_client_that_has_its_result_finds_the_worker_idle() -> None:
    """The next job is submitted at the earliest moment that a client can know of its result."""
    made = WorkQueue(workers=1, waiting=1)
    gate, submitted = Gate(), Future()
    first = made.submit(gate)
    assert gate.began.wait(5)
    made.submit(lambda progress, should_stop: None)

    def submit_next(ended: object) -> None:
        try:
            submitted.set_result(made.submit(lambda progress, should_stop: "next"))
        except QueueFull as error:
            submitted.set_exception(error)

    first.outcome.add_done_callback(submit_next)
    gate.free.set()
    assert submitted.result(5).outcome.result(5) == "next"
    assert made.stop(ShuttingDown("over"))


def test_who_cancels_frees_a_place_at_once_and_stops_the_work_at_its_next_progress(queue) -> None:
    gate = Gate()
    working = queue.submit(gate)
    assert gate.began.wait(5)
    waiting = [queue.submit(lambda progress, should_stop: None) for _ in range(3)]
    queue.cancel(waiting[1], Cancelled("no more"))
    assert queue.waiting == 2
    queue.submit(lambda progress, should_stop: None)
    queue.cancel(working, Cancelled("no more"))
    with pytest.raises(Cancelled, match="no more"):
        working.outcome.result(0)
    wait_until(lambda: queue.idle)  # though nobody let it go


def test_an_end_answers_all_and_takes_nothing_more(queue) -> None:
    gate = Gate()
    tickets = [queue.submit(gate), queue.submit(lambda progress, should_stop: None)]
    assert queue.stop(ShuttingDown("over"))
    for ticket in tickets:
        with pytest.raises(ShuttingDown, match="over"):
            ticket.outcome.result(0)
    with pytest.raises(ShuttingDown):
        queue.submit(lambda progress, should_stop: None)


def test_an_error_of_ours_is_kept_without_the_picture_that_it_came_from(queue) -> None:
    def fail(progress, should_stop):
        picture = bytes(10)
        raise SettingsError(f"{len(picture)}")

    error = queue.submit(fail).outcome.exception(5)
    assert isinstance(error, SettingsError)
    assert error.__traceback__ is None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_shelf_forgets_what_was_not_used_for_its_time() -> None:
    clock = Clock()
    store = ExpiringStore(100, 600, len, clock=clock)
    old, used = store.put("old"), store.put("used")
    clock.now = 599
    assert store.get(used) == "used"
    clock.now = 601
    assert (store.get(old), store.get(used)) == (None, "used")
    assert len(store) == 1


def test_a_shelf_drops_the_longest_unused_first_when_room_is_needed() -> None:
    store = ExpiringStore(10, 600, len)
    first, second = store.put("aaaa"), store.put("bbbb")
    store.get(first)
    third = store.put("cccc")
    assert [store.get(name) for name in (first, second, third)] == ["aaaa", None, "cccc"]
    large = store.put("d" * 50)
    assert store.get(large) == "d" * 50  # alone, however large
    assert len(store) == 1


def test_a_shelf_drops_nothing_that_is_needed() -> None:
    clock = Clock()
    store = ExpiringStore(2, 600, len, needed=lambda item: item == "work", clock=clock)
    kept = store.put("work")
    store.put("xx")
    clock.now = 10_000
    assert store.get(kept) == "work"


def test_options_read_as_settings() -> None:
    said = {"strength": "0.5", "keep_exposure": "true", "denoise": "0.25", "format": "jpg", "quality": "80",
            "tile": "128", "provenance": "0", "denoise_colour": "", "max_megapixels": "900"}  # fmt: skip
    found = options.chosen(options.ENHANCE, said.items())
    assert options.settings_of(found, 100.0) == Settings(strength=0.5, keep_exposure=True, denoise=0.25, format="jpeg",
                                                         quality=80, tile=128, provenance=False,
                                                         max_megapixels=100.0)  # fmt: skip


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([("overwrite", "1")], "no option overwrite, but strength"),
        ([("strength", "much")], 'strength: expected a number, not "much"'),
        ([("quality", "1.5"), ("clip", "yes")], "quality: .*; clip: expected true or false"),
        ([("exposure", "1"), ("exposure", "2")], "exposure is said twice"),
        ([("tile", "100000")], "at most 1024"),
        ([("region", "1,2,3")], "no option region"),
    ],
)
def test_options_that_cannot_work_are_all_named(said, told) -> None:
    with pytest.raises(SettingsError, match=told):
        options.chosen(options.ENHANCE, said)


@pytest.mark.parametrize("said", [("max_megapixels", "nan"), ("strength", "nan"), ("exposure", "9"), ("mood", "dawn")])
def test_values_out_of_range_are_refused(said) -> None:
    with pytest.raises(SettingsError):
        options.settings_of(options.chosen(options.ENHANCE, [said]), 100.0)


def test_query_and_form_may_agree_but_not_differ() -> None:
    assert options.chosen(options.ENHANCE, [("mood", "night")], {"mood": "night"}) == {"mood": "night"}
    with pytest.raises(SettingsError, match="twice"):
        options.chosen(options.ENHANCE, [("mood", "night")], {"mood": "day"})
