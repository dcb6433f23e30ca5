"""`mirnet evaluate`: the command, and what it prints."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mirnet.cli.figures import check_figure, write_figure
from mirnet.cli.options import Denoise, Device, Exposure, KeepExposure, Strength, Threads
from mirnet.cli.progress import progress_bar
from mirnet.cli.table import table
from mirnet.errors import SettingsError
from mirnet.extras import needs

if TYPE_CHECKING:
    from mirnet.evaluation.comparison import Difference
    from mirnet.evaluation.contact_sheet import Sheet
    from mirnet.evaluation.intervals import Mean
    from mirnet.evaluation.scores import Colour, Evaluation
    from mirnet.inference.settings import Settings
    from mirnet.pairs import Pair

Folders = dict[str, list["Evaluation"]]  # by what the folder of pairs is called; the same methods in each


def evaluate(
    dark: Annotated[Path, typer.Argument(help="Dark pictures; or a folder, or a list, of pairs, as for training.")],
    bright: Annotated[Path | None, typer.Argument(help="Their bright partners, of the same stems.")] = None,
    also: Annotated[list[Path] | None, typer.Option(help="Another folder of pairs; may be repeated.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Names of installed weights, or paths NAME.onnx; repeat to compare.  [default: lite]"),
    ] = None,
    results: Annotated[
        list[Path] | None, typer.Option(help="A folder of finished pictures, by any program; may be repeated.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help="A text file that chooses pairs, one name a line.")] = None,
    scenes: Annotated[
        Path | None, typer.Option(help="A CSV of names and their scenes.  [default: folders below the dark ones]")
    ] = None,
    strength: Strength = 1.0,
    exposure: Exposure = 0.0,
    keep_exposure: KeepExposure = False,
    denoise: Denoise = "auto",
    colour: Annotated[
        bool | None, typer.Option("--colour/--no-colour", help="The colour difference.  [default: if installed]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All numbers as JSON on standard output.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="A PNG of pictures, dark | results | truth, worst first.")] = None,
    plot: Annotated[Path | None, typer.Option(help="A PNG with a point for each picture: two methods' PSNR.")] = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Score `enhance` on pairs of pictures; several weights, folders and other programs' results side by side.

    Every number by a stated protocol, which is printed with them.
    """
    from mirnet.evaluation.contact_sheet import Sheet
    from mirnet.inference.settings import Settings, parse_denoise

    settings = Settings(strength, exposure, keep_exposure, parse_denoise(denoise))
    data = _data([(dark, bright), *((folder, None) for folder in also or [])], names, scenes)
    for path, what in ((sheet, "sheet"), (plot, "plot")):
        check_figure(path, what)
    if plot:
        with needs("evaluate"):
            from mirnet.evaluation import plots
    difference, why_not = _colour(colour)
    methods = _methods(weights or ([] if results else ["lite"]), results or [], settings, device, threads, data)
    collector = Sheet() if sheet else None
    scored = _score(data, methods, difference, collector)
    typer.echo(json.dumps(_as_json(scored, why_not), indent=2, allow_nan=False) if as_json else _text(scored, why_not))
    if sheet and collector:
        collector.save(sheet, scored)
    if plot:
        write_figure(plot, plots.draw(scored))


# --- what is scored -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """A folder of pairs, as a person calls it."""

    name: str
    pairs: "list[Pair]"
    scenes: dict[str, str] | None


def _data(folders: Sequence[tuple[Path, Path | None]], names: Path | None, scenes: Path | None) -> list[Data]:
    from mirnet.evaluation.scenes import scenes_of
    from mirnet.pairs import find_pairs

    called = _apart([(folder.resolve().name, str(folder)) for folder, _ in folders])
    found = []
    for name, (folder, bright) in zip(called, folders, strict=True):
        pairs = find_pairs(folder, bright, names)
        found.append(Data(name, pairs, scenes_of(pairs, scenes)))
    return found


@dataclass(frozen=True)
class Method:
    """Weights or a folder of results, as a person calls them, and how they are scored."""

    name: str
    score: Callable[..., "Evaluation"]


def _methods(weights: Sequence[str], results: Sequence[Path], settings: "Settings", device: str, threads: int | None,
             data: Sequence[Data]) -> list[Method]:  # fmt: skip
    """What is refused is refused here, before hours of work. Raises SettingsError, WeightsError, DataError."""
    from mirnet.evaluation import scoring
    from mirnet.inference.enhancer import Enhancer

    if not weights and settings != type(settings)():
        raise SettingsError("Finished results stay as they are: --strength, --exposure and the like need --weights.")
    if results and len(data) > 1:
        raise SettingsError("--results belong to one folder of pairs; leave out --also.")
    for folder in results:
        scoring.find_results(folder, data[0].pairs)
    enhancers = [Enhancer(each, device=device, threads=threads) for each in weights]
    for enhancer in enhancers:
        enhancer.check(settings)
    names = _apart(
        [(enhancer.card.name, said) for enhancer, said in zip(enhancers, weights, strict=True)]
        + [(folder.resolve().name, str(folder)) for folder in results]
    )
    by_network = [partial(_of_network, enhancer, settings) for enhancer in enhancers]
    by_others = [partial(scoring.evaluate_results, folder) for folder in results]
    return [Method(name, score) for name, score in zip(names, [*by_network, *by_others], strict=True)]


def _of_network(enhancer: Any, settings: "Settings", pairs: "list[Pair]", **options: Any) -> "Evaluation":
    from mirnet.evaluation.scoring import evaluate

    return evaluate(enhancer, pairs, settings, **options)


def _apart(names: Sequence[tuple[str, str]]) -> list[str]:
    """The first name of each, the second where firsts are equal. Raises SettingsError where these are equal too."""
    often = Counter(first for first, _ in names)
    chosen = [second if often[first] > 1 else first for first, second in names]
    twice = next((name for name, count in Counter(chosen).items() if count > 1), None)
    if twice is not None:
        raise SettingsError(f"{twice}: is named twice; what is compared must differ.")
    return chosen


def _colour(asked: bool | None) -> "tuple[Colour | None, str]":
    """The colour difference, or why there is none. Raises SettingsError where it is asked for and cannot be had."""
    if asked is False:
        return None, "--no-colour was given"
    try:
        with needs("evaluate"):
            from mirnet.evaluation.colour_difference import ciede2000
    except SettingsError as error:
        if asked:
            raise
        return None, f"{error}"
    return ciede2000, ""


def _score(data: Sequence[Data], methods: Sequence[Method], colour: "Colour | None", sheet: "Sheet | None") -> Folders:
    scored: Folders = {}
    with progress_bar("evaluating", len(data) * len(methods)) as bar:
        for folder in data:
            scored[folder.name] = []
            for method in methods:
                seen = partial(sheet.add, folder.name, method.name) if sheet else None
                scored[folder.name].append(
                    method.score(folder.pairs, method=method.name, scenes=folder.scenes, colour=colour,
                                 progress=bar.within, seen=seen)
                )  # fmt: skip
                bar.advance()
    return scored


# --- what is written ------------------------------------------------------------------------------


def _as_json(scored: Folders, why_not: str) -> dict[str, Any]:
    """One evaluation as it is; several as a list, with the differences of every two methods on a folder."""
    from mirnet.evaluation import comparison
    from mirnet.evaluation.scores import protocol_of

    left_out = {"not_measured": {"ciede2000": why_not} if why_not else {}}
    evaluations = [
        {
            "folder": folder,
            **each.to_json(),
            "over_input": {d.column: d.to_json() for d in comparison.gain(each)},
            "protocol": f"{each.protocol}; {comparison.PROTOCOL}",
        }
        for folder, several in scored.items()
        for each in several
    ]
    if len(evaluations) == 1:
        return evaluations[0] | left_out
    differences = [
        {"folder": folder, "a": two[0].a, "b": two[0].b, "columns": {d.column: d.to_json() for d in two}}
        for folder, several in scored.items()
        for two in comparison.compare_all(several)
    ]
    protocol = protocol_of([each for several in scored.values() for each in several])
    said = {"evaluations": evaluations, "differences": differences, "protocol": f"{protocol}; {comparison.PROTOCOL}"}
    return said | left_out


def _text(scored: Folders, why_not: str) -> str:
    """Tables of every folder, what they say in sentences, and the protocol."""
    from mirnet.evaluation import comparison
    from mirnet.evaluation.scores import protocol_of

    lines = []
    for folder, evaluations in scored.items():
        if len(evaluations) == 1:
            lines += _single(folder if len(scored) > 1 else "", evaluations[0])
        else:
            lines += _several(folder, evaluations)
        lines.append("")
    if len(scored) > 1:
        lines += [*_overview(scored), ""]
    if why_not:
        reason = why_not[:1].lower() + why_not[1:].rstrip(".")
        lines += [f"The colour difference (CIEDE2000) was not measured: {reason}.", ""]
    protocol = protocol_of([each for several in scored.values() for each in several])
    return "\n".join([*lines, f"Protocol: {protocol}; {comparison.PROTOCOL}."])


def _single(folder: str, result: "Evaluation") -> list[str]:
    """Mean and 95 % interval of every column, what was gained, the scenes, then every picture."""
    from mirnet.evaluation import comparison

    means = result.means
    columns = [name for name in means if name != "stops_error_rms"]  # which no single picture has
    longest = max(len("picture"), *(len(score.name) for score in result.scores))
    return [
        f"{result.method} on {_pairs(result)}{f' of {folder}' if folder else ''}", "",
        *(f"{name:20}{m.mean:9.3f}   {_interval(m)}" for name, m in means.items()), "",
        *_sentences(comparison.gain(result)), "",
        *_by_scene([result], columns),
        "  ".join([f"{'picture':{longest}}", *columns]),
        *("  ".join([f"{score.name:{longest}}", *(f"{getattr(score, name):{len(name)}.3f}" for name in columns)])
          for score in result.scores),
    ]  # fmt: skip


def _pairs(result: "Evaluation") -> str:
    scenes = f" in {len(result.by_scene)} scenes" if result.scenes else ""
    return f"{len(result.scores)} pairs{scenes}"


def _interval(mean: "Mean") -> str:
    return f"95 %: {mean.low:.3f} to {mean.high:.3f}" if mean.has_interval else "no interval: one picture or scene"


def _several(folder: str, results: Sequence["Evaluation"]) -> list[str]:
    """Methods side by side: means, differences in sentences, scenes, and the PSNR of every picture."""
    from mirnet.evaluation import comparison

    columns = list(dict.fromkeys(name for result in results for name in result.means))
    cells = [["", *(result.method for result in results)]]
    for name in columns:
        cells.append([name, *(_mean_cell(result.means.get(name)) for result in results)])
    pictures = [["picture", "input", *(result.method for result in results)]]
    for scores in zip(*(result.scores for result in results), strict=True):
        pictures.append([scores[0].name, *(f"{x:.2f}" for x in (scores[0].psnr_input, *(s.psnr for s in scores)))])
    return [
        f"{len(results)} methods on {_pairs(results[0])} of {folder}: means, and their 95 % intervals", "",
        *table(cells), "",
        *(line for two in comparison.compare_all(results) for line in [*_sentences(two), ""]),
        *_by_scene(results, ["psnr"]),
        "PSNR of every picture, dB", *table(pictures),
    ]  # fmt: skip


def _mean_cell(mean: "Mean | None") -> str:
    if mean is None:
        return "-"
    return f"{mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f})" if mean.has_interval else f"{mean.mean:.3f}"


def _sentences(differences: "Sequence[Difference]") -> list[str]:
    return [f"{difference.column:20}{difference.sentence}" for difference in differences]


def _by_scene(results: Sequence["Evaluation"], columns: Sequence[str]) -> list[str]:
    """Means of every scene, nothing where scenes are not known."""
    if not results[0].by_scene:
        return []
    headings = [name if len(results) == 1 else f"{name} {result.method}" for result in results for name in columns]
    cells = [["scene", "pictures", *headings]]
    found = [result.by_scene for result in results]
    for scene, (count, _) in found[0].items():
        cells.append([scene, f"{count}", *(f"{each[scene][1][name]:.3f}" for each in found for name in columns)])
    return [*table(cells), ""]


def _overview(scored: Folders) -> list[str]:
    """The folders of pairs side by side: they hold different pictures, so that nothing is said of a difference."""
    methods = [each.method for each in next(iter(scored.values()))]
    cells = [["PSNR, dB", "pairs", "input", *methods]]
    for folder, evaluations in scored.items():
        before = f"{evaluations[0].means['psnr_input'].mean:.2f}"
        pictures = f"{len(evaluations[0].scores)}"
        cells.append([folder, pictures, before, *(_mean_cell(each.means["psnr"]) for each in evaluations)])
    return table(cells)
