"""The card of exported weights: what the network and its file show, and what a run folder states of their origin."""

import hashlib
import math
from pathlib import Path
from typing import Any

from mirnet import metrics
from mirnet.export.measurement import count_kflop_per_px, measure_overlap, measure_parity
from mirnet.inference.catalog import Card
from mirnet.network import Lite, SceneNetwork, checkpoints
from mirnet.training.runs import card as cards
from mirnet.training.runs.folder import RunFolder

NOT_MEASURED = "scores not measured"


def make_card(network: SceneNetwork, content: bytes, name: str) -> Card:
    """The card of a network and its ONNX file `content`, without origin, data and scores.

    Raises TrainingError where torch and OpenVINO disagree, or where no tile overlap is enough.
    """
    description = checkpoints.describe(network.config)  # type: ignore[arg-type]
    overlap_px = measure_overlap(network)
    return Card(
        name=name,
        architecture=str(description["architecture"]),
        config=dict(description["config"]),  # type: ignore[call-overload]
        sha256=hashlib.sha256(content).hexdigest(),
        takes_exposure=isinstance(network, Lite),
        size_multiple=network.size_multiple,
        overlap_px=overlap_px,
        scene_size=network.scene_size(),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        kflop_per_px=round(count_kflop_per_px(network), 2),
        # the file holds the checkpoint's own float32: rounding costs nothing
        export={"parity": measure_parity(network, content), "rounding_db": 0.0},
    )


def describe_origin(source: Path, checkpoint: Path) -> dict[str, Any]:
    """The card fields that state where weights come from, by name.

    A run folder `source` gives its data, the scores of `checkpoint` and what `card.json` states. A file gives nothing
    but placeholders. Raises SettingsError where `card.json` cannot be read.
    """
    if source.is_file():
        return {"protocol": NOT_MEASURED, "licence": "licence of its source", "source": "converted"}
    run = RunFolder(source)
    about, scores = run.about(), checkpoints.read_own(checkpoint)[0].get("scores")
    protocol = metrics.PROTOCOL if scores else NOT_MEASURED
    if about.get("test_set_used"):
        protocol += (
            "; the published test set (eval15) was used in this run, so its scores say nothing about new pictures"
        )
    return {
        "protocol": protocol,
        "scores": {name: score for name, score in dict(scores or {}).items() if math.isfinite(score)},  # type: ignore[call-overload]
        **cards.filled_in(run, checkpoint),
        **cards.changed(run),
    }
