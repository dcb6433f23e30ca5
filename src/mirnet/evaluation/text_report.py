"""Evaluations as text for a terminal: tables of means and images, differences in sentences, and the protocol."""

from collections.abc import Sequence

from mirnet.evaluation import comparison
from mirnet.evaluation.comparison import Difference
from mirnet.evaluation.intervals import Mean
from mirnet.evaluation.scores import Evaluation, EvaluationsByFolder, describe_protocol
from mirnet.evaluation.text_table import align_columns


def to_text(evaluations_by_folder: EvaluationsByFolder, colour_missing: str = "") -> str:
    """The tables of every folder of pairs, one method in full or several side by side, and the protocol at the end.

    `colour_missing` says why the colour difference was not measured; it is empty where it was.
    """
    lines = []
    for folder, evaluations in evaluations_by_folder.items():
        if len(evaluations) == 1:
            lines += _one_method(folder if len(evaluations_by_folder) > 1 else "", evaluations[0])
        else:
            lines += _several_methods(folder, evaluations)
        lines.append("")
    if len(evaluations_by_folder) > 1:
        lines += [*_all_folders(evaluations_by_folder), ""]
    if colour_missing:
        reason = colour_missing[:1].lower() + colour_missing[1:].rstrip(".")
        lines += [f"The colour difference (CIEDE2000) was not measured: {reason}.", ""]
    protocol = describe_protocol([each for several in evaluations_by_folder.values() for each in several])
    return "\n".join([*lines, f"Protocol: {protocol}; {comparison.PROTOCOL}."])


def _one_method(folder: str, result: Evaluation) -> list[str]:
    """Mean and 95 % interval of every column, the gain over the input, the scenes, then every image."""
    means = result.means
    columns = [name for name in means if name != "stops_error_rms"]  # which no single image has
    longest = max(len("image"), *(len(score.name) for score in result.scores))
    return [
        f"{result.method} on {_count_pairs(result)}{f' of {folder}' if folder else ''}", "",
        *(f"{name:20}{m.mean:9.3f}   {_format_interval(m)}" for name, m in means.items()), "",
        *_sentences(comparison.compare_with_input(result)), "",
        *_scenes([result], columns),
        "  ".join([f"{'image':{longest}}", *columns]),
        *("  ".join([f"{score.name:{longest}}", *(f"{getattr(score, name):{len(name)}.3f}" for name in columns)])
          for score in result.scores),
    ]  # fmt: skip


def _several_methods(folder: str, results: Sequence[Evaluation]) -> list[str]:
    """Methods side by side: means, differences in sentences, scenes, and the PSNR of every image."""
    columns = list(dict.fromkeys(name for result in results for name in result.means))
    means = [["", *(result.method for result in results)]]
    for name in columns:
        means.append([name, *(_format_mean(result.means.get(name)) for result in results)])
    images = [["image", "input", *(result.method for result in results)]]
    for scores in zip(*(result.scores for result in results), strict=True):
        images.append([scores[0].name, *(f"{x:.2f}" for x in (scores[0].psnr_input, *(s.psnr for s in scores)))])
    return [
        f"{len(results)} methods on {_count_pairs(results[0])} of {folder}: means, and their 95 % intervals", "",
        *align_columns(means), "",
        *(line for two in comparison.compare_every_two(results) for line in [*_sentences(two), ""]),
        *_scenes(results, ["psnr"]),
        "PSNR of every image, dB", *align_columns(images),
    ]  # fmt: skip


def _all_folders(evaluations_by_folder: EvaluationsByFolder) -> list[str]:
    """The folders of pairs side by side: they hold different images, so their differences mean nothing."""
    methods = [each.method for each in next(iter(evaluations_by_folder.values()))]
    cells = [["PSNR, dB", "pairs", "input", *methods]]
    for folder, evaluations in evaluations_by_folder.items():
        before = f"{evaluations[0].means['psnr_input'].mean:.2f}"
        count = f"{len(evaluations[0].scores)}"
        cells.append([folder, count, before, *(_format_mean(each.means["psnr"]) for each in evaluations)])
    return align_columns(cells)


def _scenes(results: Sequence[Evaluation], columns: Sequence[str]) -> list[str]:
    """The means of every scene; no line where scenes are not known."""
    if not results[0].means_by_scene:
        return []
    headings = [name if len(results) == 1 else f"{name} {result.method}" for result in results for name in columns]
    cells = [["scene", "images", *headings]]
    found = [result.means_by_scene for result in results]
    for scene, (count, _) in found[0].items():
        cells.append([scene, f"{count}", *(f"{each[scene][1][name]:.3f}" for each in found for name in columns)])
    return [*align_columns(cells), ""]


def _sentences(differences: Sequence[Difference]) -> list[str]:
    return [f"{difference.column:20}{difference.sentence}" for difference in differences]


def _count_pairs(result: Evaluation) -> str:
    scenes = f" in {len(result.means_by_scene)} scenes" if result.scenes else ""
    return f"{len(result.scores)} pairs{scenes}"


def _format_interval(mean: Mean) -> str:
    return f"95 %: {mean.low:.3f} to {mean.high:.3f}" if mean.has_interval else "no interval: one image or scene"


def _format_mean(mean: Mean | None) -> str:
    if mean is None:
        return "-"
    return f"{mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f})" if mean.has_interval else f"{mean.mean:.3f}"
