"""Evaluations as plain data for JSON: scores, means, intervals, differences and the protocol of every number."""

from typing import Any

from mirnet.evaluation import comparison
from mirnet.evaluation.scores import EvaluationsByFolder, describe_protocol


def to_json(evaluations_by_folder: EvaluationsByFolder, colour_missing: str = "") -> dict[str, Any]:
    """One evaluation as it is; several as a list, with the differences of every two methods on each folder.

    `colour_missing` says why the colour difference was not measured; it is empty where it was.
    """
    not_measured = {"not_measured": {"ciede2000": colour_missing} if colour_missing else {}}
    evaluations = [
        {
            "folder": folder,
            **evaluation.to_json(),
            "over_input": {d.column: d.to_json() for d in comparison.compare_with_input(evaluation)},
            "protocol": f"{evaluation.protocol}; {comparison.PROTOCOL}",
        }
        for folder, several in evaluations_by_folder.items()
        for evaluation in several
    ]
    if len(evaluations) == 1:
        return evaluations[0] | not_measured
    differences = [
        {"folder": folder, "a": two[0].a, "b": two[0].b, "columns": {d.column: d.to_json() for d in two}}
        for folder, several in evaluations_by_folder.items()
        for two in comparison.compare_every_two(several)
    ]
    protocol = describe_protocol([each for several in evaluations_by_folder.values() for each in several])
    report = {"evaluations": evaluations, "differences": differences, "protocol": f"{protocol}; {comparison.PROTOCOL}"}
    return report | not_measured
