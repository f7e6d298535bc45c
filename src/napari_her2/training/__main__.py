"""Train the default model: ``python -m napari_her2.training RUN -o MODEL_FOLDER``; killed and called again, it goes on.

Tiles are drawn into RUN, the network is fitted to generated ones (with --real-steps then also to real ones), calibrated
on generated cores, and measured on blind ones. With --design stacked it is the published design, on whole cores. Real
cores are judged where NAPARI_HER2_REAL_DATA names their folder.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from napari_her2.encoders import EncoderSource, encoder_source
from napari_her2.familiar import fit_familiar
from napari_her2.models import Calibration, ScoringModel, load_model
from napari_her2.networks import PlaceNetwork, StackedNetwork
from napari_her2.pyramid import PyramidSpec
from napari_her2.stain_range import fit_range
from napari_her2.training.bank import TileBank, read_tile
from napari_her2.training.calibrate import JudgedCore, calibrate, expected_values, probabilities
from napari_her2.training.evaluate import agreement, generated_slides, judged, real_cores, restained_looks, seen
from napari_her2.training.fit import FitParams, fit
from napari_her2.training.save import save_model
from napari_her2.training.stack_calibrate import calibrate_stacked, familiar_stacks
from napari_her2.training.stacked import METHOD, StackParams, fit_stacked, stack_probabilities
from napari_her2.training.stacks import generated_bank
from napari_her2.training.tissue import CLASSES

INTENDED = "Research use only. Not a medical device; not for diagnosis or treatment decisions."
#: Real cores whose label is evidently not what they show: no brown at all, and an emptied punch.
NOT_LABELLED = ("2_aeb277c9", "3_99b35026")


def main() -> None:
    """Run all the steps that are not done yet."""
    options = _options()
    if options.design == "stacked":
        train_stacked(options)
        return
    real = Path(os.environ["NAPARI_HER2_REAL_DATA"]) / "her2_cores" if "NAPARI_HER2_REAL_DATA" in os.environ else None
    source = encoder_source(options.encoder, options.encoder_weights)
    licence = source.licence or "none given, they start anew"
    print(f"encoder {source.name}; licence of its weights: {licence}", flush=True)
    network, history = train(options.run, real, options, source)
    model = ScoringModel(name=options.output.name, version="3", spec=PyramidSpec(), network=source.network)
    model = save_model(model, network, options.output)
    cache = options.run / f"judged-{model.weights_sha256[:12]}"
    learned = judged(model, generated_slides(options.cores, 1), cache)
    apart = judged(model, generated_slides(options.cores // 2, 523, blind=True), cache)
    tried = (
        [] if real is None else judged(model, ((n, s, lambda slide=s_: slide) for n, s, s_ in real_cores(real)), cache)
    )
    calibration = calibrate(learned)
    card = model_card(options, history, calibration, apart, tried)
    if source.licence:
        card["encoder"] = {"name": source.name, "licence of its weights": source.licence}
    model = replace(model, calibration=calibration, card=card)
    save_model(with_limits(model, [c.name for c in learned], cache, real, options.seed), network, options.output)
    load_model(options.output).verify()
    print(json.dumps(card, indent=1, ensure_ascii=False))


def with_limits(
    model: ScoringModel, names: Sequence[str], cache: Path, real: Path | None, seed: int = 0
) -> ScoringModel:
    """The model with what it takes for familiar, and the range of stains it is calibrated for.

    Parameters
    ----------
    model : ScoringModel
    names : sequence of str
        Generated cores of the training settings that were `judged`.
    cache : Path
        Where `judged` kept them.
    real : Path or None
        Folder of real cores whose tissue, stained otherwise, is familiar as well.
    seed : int
    """
    found = seen(cache, names)
    other = [] if real is None else restained_looks(real, max(20, len(names) // 4), seed, NOT_LABELLED)
    card = model.card | {
        "familiar": f"what looks like {len(names)} generated cores"
        + (f" and {len(other)} cores of real tissue with changed stain" if other else "")
    }
    return replace(
        model,
        familiar=fit_familiar([look for look, _ in found] + other),
        stain_range=fit_range([staining for _, staining in found]),
        card=card,
    )


def train_stacked(options: argparse.Namespace) -> None:
    """The published design on generated cores: fitted, calibrated, measured, saved."""
    model = ScoringModel(options.output.name, "1", PyramidSpec(), network={"design": "stacked"})
    learned, kept, apart = options.tiles, options.cores, options.cores // 2
    bank = generated_bank(options.run / "stacks", model.spec, learned + kept, seed=1)
    blind = generated_bank(options.run / "blind-stacks", model.spec, apart, seed=523, blind=True)
    rest = bank.of(range(learned, learned + kept))
    torch.manual_seed(options.seed)
    network = StackedNetwork(patches=sum(level.count for level in model.spec.levels))
    params = StackParams(options.steps, seed=options.seed)
    history = fit_stacked(network, bank.of(range(learned)), params, options.run / "stacked.pt", stepped=_tell_step)
    calibration = calibrate_stacked(network, rest)
    card = {
        "intended use": INTENDED,
        "learned from": {
            "cores": f"{learned} generated cores, {options.steps} steps",
            "last loss (nats a core)": round(history[-1].learned, 4),
        },
        "calibrated on": f"{kept} further generated cores",
        "measured on generated cores kept apart": agreement(blind.scores, stack_probabilities(network, blind)),
        "method": f"{METHOD}, on generated cores only.",
    }
    familiar = familiar_stacks(bank, model.spec)
    save_model(replace(model, calibration=calibration, card=card, familiar=familiar), network, options.output)
    load_model(options.output).verify()
    print(json.dumps(card, indent=1, ensure_ascii=False))


def train(
    run: Path, real: Path | None, options: argparse.Namespace, source: EncoderSource
) -> tuple[PlaceNetwork, list[float]]:
    """Fit to generated tissue, then, with real cores at hand, go on with both; the loss history of the last fit."""
    generated = TileBank(run / "generated", None, seed=options.seed)
    generated.fill(options.tiles)
    tiles = generated.paths()[: options.tiles]
    torch.manual_seed(options.seed)
    network = PlaceNetwork.from_source(source)
    params, history = FitParams(steps=options.steps, seed=options.seed), list[float]()
    if options.start:
        network.load_state_dict(load_file(load_model(options.start).weights_path))
    else:
        if source.name == "efficientnet_lite0" and source.weights is None:
            network.start_from_imagenet()
        history = fit(network, tiles, [], params, run / "generated.pt", report=_tell)
    if options.further_steps:
        # 0 against 1+ is the border that is learned last: tiles with nothing stronger come twice as often
        tiles = tiles + [tile for tile in tiles if _strongest(tile) in (1, 2)]
        params = replace(params, steps=options.further_steps, seed=options.seed + 1, tiles=4, rate=params.rate / 2)
        history = fit(network, tiles, [], params, run / "further.pt", report=_tell)
    if real is None or not options.real_steps:
        return network, history
    without = (*NOT_LABELLED, *options.leave_out)
    folder = "-".join(["real", *(f"no_{name}" for name in options.leave_out)])
    bank = TileBank(run / folder, real, exclude=without, seed=options.seed)
    bank.fill(options.real_tiles)
    params = replace(FitParams(), steps=options.real_steps, seed=options.seed + 2, rate=FitParams.rate / 2)
    others = bank.paths()[: options.real_tiles]
    history = fit(network, tiles, others, params, run / f"{folder}.pt", report=_tell)
    return network, history


def _strongest(tile: Path) -> int:
    """The highest class of a tile, 0 where there is no tumour."""
    classes = read_tile(tile).classes
    return int(classes[classes < len(CLASSES)].max(initial=0))


def _tell_step(step: int, loss: float, seconds: float) -> None:
    print(f"step {step}: loss {loss:.4f}, {seconds:.1f} s", flush=True)


def _tell(step: int, loss: float, seconds: float) -> None:
    print(f"step {step}: loss {loss:.4f}, {seconds:.0f} s", flush=True)


def model_card(
    options: argparse.Namespace,
    history: Sequence[float],
    calibration: Calibration,
    apart: Sequence[JudgedCore],
    tried: Sequence[JudgedCore],
) -> dict[str, Any]:
    """What the model learned from, what it was measured on, and what it must not be used for."""
    tiles = f"{options.tiles} generated tiles of 512 x 512 pixels at 0.5 µm/px, "
    tiles += f"going on from {options.start}" if options.start else f"{options.steps} steps"
    if options.further_steps:
        tiles += f"; then {options.further_steps} steps with tiles of 0 and 1+ twice as often"
    learned_from_real = bool(tried and options.real_steps)
    if learned_from_real:
        tiles += f"; then {options.real_steps} steps, four tiles in ten from {options.real_tiles} of real tissue with "
        tiles += "changed stain"
    return {
        "intended use": INTENDED,
        "learned from": {"tiles": tiles, "last loss (nats a place)": round(history[-1], 4) if history else None},
        "calibrated on": f"{options.cores} generated cores",
        "indeterminate": "the least sure 15 % of those",
        "measured on generated cores kept apart": agreement(
            [c.score for c in apart], probabilities(apart, calibration)
        ),
        f"real cores ({'most of them also' if learned_from_real else 'never'} learned from; few: a sanity check)": [
            describe(c, calibration) for c in tried
        ],
        "limits": "Never compared with pathologists' scores of a series. Learned from generated tissue, and tried on "
        "cores of one scanner: other scanners and stains need calibration on control cores. See docs/model_card.md.",
        "method": "After Selcuk et al. 2024, doi 10.34133/bmef.0048 (pyramid sampling); network and pooling differ.",
    }


def describe(core: JudgedCore, calibration: Calibration) -> str:
    """A line about one core."""
    value, likely = expected_values([core], calibration)[0], probabilities([core], calibration)[0]
    return f"{core.name}: labelled {core.score}, value {value:.2f}, P = {likely.round(2).tolist()}"


def _options(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m napari_her2.training", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run: tiles and checkpoint")
    parser.add_argument("-o", "--output", type=Path, required=True, help="model folder; its name is the model's")
    parser.add_argument("--design", choices=("places", "stacked"), default="places", help="stacked: as published")
    parser.add_argument("--encoder", default="efficientnet_lite0", help="name in timm, or a folder with config.json")
    parser.add_argument("--encoder-weights", type=Path, help="safetensors file for an encoder by name")
    parser.add_argument("--start", help="model to go on from, with --further-steps and --real-steps alone")
    parser.add_argument("--tiles", type=int, help="generated tiles (3,000), or cores of the stacked design (400)")
    parser.add_argument("--steps", type=int, default=FitParams.steps, help="steps on generated tiles alone")
    parser.add_argument(
        "--further-steps", type=int, default=4000, help="and then, from half the rate, on more weak tiles"
    )
    parser.add_argument("--real-tiles", type=int, default=400)
    parser.add_argument("--real-steps", type=int, default=0, help="further steps on generated and real tiles")
    parser.add_argument(
        "--leave-out", nargs="*", default=[], help="beginnings of names of real cores not to learn from"
    )
    parser.add_argument(
        "--cores", type=int, default=960, help="generated cores to calibrate on; half as many blind ones to measure on"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(given)
    if options.tiles is None:  # a stack is 40 MB on disk, a tile 0.8
        options.tiles = 400 if options.design == "stacked" else 3000
    return options


if __name__ == "__main__":
    main()
