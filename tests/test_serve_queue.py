"""The parts of the service that know nothing of HTTP: its queue, what it keeps, and how options are read."""

import threading

import pytest
from serving import wait_until

from mirnet.errors import Cancelled, SettingsError
from mirnet.inference.settings import Settings
from mirnet.service import options
from mirnet.service.expiring_store import ExpiringStore
from mirnet.service.work_queue import OPEN_LEVEL, RENDER_LEVEL, WHOLE_LEVEL, QueueFull, ShuttingDown, WorkQueue


@pytest.fixture
def engine():
    made = WorkQueue(workers=1, waiting=3)
    yield made
    made.stop(ShuttingDown("over"))


class Gate:
    """Work that lasts until it is let go."""

    def __init__(self) -> None:
        self.began, self.free = threading.Event(), threading.Event()

    def __call__(self, progress):
        self.began.set()
        while not self.free.wait(0.005):
            progress(0.5)
        return "done"


def test_what_a_person_looks_at_goes_before_whole_pictures(engine) -> None:
    gate, order = Gate(), []
    first = engine.submit(gate)
    assert gate.began.wait(5)
    tickets = [
        engine.submit(lambda progress, name=name: order.append(name), level)
        for name, level in (("whole", WHOLE_LEVEL), ("another", WHOLE_LEVEL), ("opened", OPEN_LEVEL))
    ]
    assert [engine.position(ticket) for ticket in tickets] == [1, 2, 0]
    gate.free.set()
    assert first.outcome.result(5) == "done"
    for ticket in tickets:
        ticket.outcome.result(5)
    assert order == ["opened", "whole", "another"]


def test_a_render_does_not_wait_for_whole_pictures_in_work(engine) -> None:
    gate = Gate()
    engine.submit(gate)
    assert gate.began.wait(5)
    assert engine.submit(lambda progress: "seen", RENDER_LEVEL).outcome.result(5) == "seen"
    gate.free.set()


def test_a_full_queue_says_when_to_come_again(engine) -> None:
    gate = Gate()
    engine.submit(gate)
    assert gate.began.wait(5)
    for _ in range(3):
        engine.submit(lambda progress: None)
    with pytest.raises(QueueFull, match="3 requests wait") as refused:
        engine.submit(lambda progress: None)
    assert refused.value.retry_seconds >= 1
    gate.free.set()


def test_who_cancels_frees_a_place_at_once_and_stops_the_work_at_its_next_progress(engine) -> None:
    gate = Gate()
    working = engine.submit(gate)
    assert gate.began.wait(5)
    waiting = [engine.submit(lambda progress: None) for _ in range(3)]
    engine.cancel(waiting[1], Cancelled("no more"))
    assert engine.waiting == 2
    engine.submit(lambda progress: None)
    engine.cancel(working, Cancelled("no more"))
    with pytest.raises(Cancelled, match="no more"):
        working.outcome.result(0)
    wait_until(lambda: engine.idle)  # though nobody let it go


def test_an_end_answers_all_and_takes_nothing_more(engine) -> None:
    gate = Gate()
    tickets = [engine.submit(gate), engine.submit(lambda progress: None)]
    assert engine.stop(ShuttingDown("over"))
    for ticket in tickets:
        with pytest.raises(ShuttingDown, match="over"):
            ticket.outcome.result(0)
    with pytest.raises(ShuttingDown):
        engine.submit(lambda progress: None)


def test_an_error_of_ours_is_kept_without_the_picture_that_it_came_from(engine) -> None:
    def fail(progress):
        picture = bytes(10)
        raise SettingsError(f"{len(picture)}")

    error = engine.submit(fail).outcome.exception(5)
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
