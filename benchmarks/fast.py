"""Measures the loss of bf16 and int8: `python benchmarks/fast.py DARK BRIGHT`; --write stores it in the weights' card.

Run it after `mirnet export lite.onnx --int8 PICTURES -o lite.int8.onnx`, on a processor with bf16 or with AVX-512, with
which OpenVINO emulates bf16 slowly; on other processors bf16 is computed in float32, loses nothing, and is left out.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from mirnet import Enhancer, SettingsError
from mirnet.evaluation.scoring import evaluate_enhancer
from mirnet.files import write_whole
from mirnet.inference import catalog
from mirnet.inference.runtimes import OpenVINORuntime, Runtime, open_runtime
from mirnet.inference.settings import Settings
from mirnet.pairs import find_pairs

DB = ("psnr", "psnr_gt_mean", "psnr_true_exposure")
SSIM = ("ssim", "ssim_gt_mean", "ssim_true_exposure")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dark", type=Path)
    parser.add_argument("bright", type=Path)
    parser.add_argument("--weights", default="lite")
    parser.add_argument("--write", action="store_true", help="into the weights' card")
    asked = parser.parse_args()
    weights = catalog.find(asked.weights)
    pairs = find_pairs(asked.dark, asked.bright)
    means = {name: evaluate_enhancer(Enhancer(weights.path, runtime=way), pairs, Settings(), method=name).means
             for name, way in ways(weights).items()}  # fmt: skip
    lost = {}
    for name in list(means)[1:]:
        difference = {column: means["f32"][column].mean - means[name][column].mean for column in (*DB, *SSIM)}
        if not any(difference.values()):
            print(f"{name} is float32 on this processor: not scored.", file=sys.stderr)
            continue
        lost[name] = {f"{column}_loss": round(value, 4) + 0.0 for column, value in difference.items()}
        lost[name]["loss_db"] = round(max(difference[column] for column in DB), 3) + 0.0
        print(f"{name}: " + ", ".join(f"{column} {value:+.4f}" for column, value in lost[name].items()))
    if asked.write:
        card = replace(weights.card, fast=lost)
        write_whole(weights.path.with_suffix(".json"), card.to_json().encode())


def ways(weights: catalog.Weights) -> dict[str, Runtime]:
    found: dict[str, Runtime] = {
        "f32": open_runtime("openvino", weights),
        "bf16": OpenVINORuntime(weights.read_verified(), weights.card.scene_size, precision="bf16"),
    }
    try:
        rounded = catalog.find_int8(weights)
        found["int8"] = OpenVINORuntime(rounded.read_verified(), rounded.card.scene_size, precision="int8")
    except SettingsError as error:
        print(error, file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
