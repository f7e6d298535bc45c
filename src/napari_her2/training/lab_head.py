"""Fitting the last layer of the head to scores of whole cores, through the model's own pooling and cut points.

Cores say only their score, so the loss is that of the core: places are graded by the layer, ranked and pooled as in
`pooling.weighed`, and the value is held against the score by cumulative logits. Where a place stands in the
ranking is taken as given within a step. The layer starts from the model's and is pulled toward it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file
from torch.nn import functional

from napari_her2.models import Calibration, ScoringModel
from napari_her2.pooling import FADE, HAZE_AT, HAZE_FADES
from napari_her2.recalibrate import own_cuts
from napari_her2.training.calibrate import JudgedCore, cut_numbers
from napari_her2.training.lab_cuts import calibrated, likeliest_slope, log_likelihood, slope_and_cuts
from napari_her2.training.lab_features import CoreFeatures
from napari_her2.training.lab_folds import folds_by_patient

__all__ = ["Head", "LabParams", "LearningPoint", "base_head", "core_values", "fit_head", "judge_features"]

CLASSES = 5
#: Steps between two looks at the cores held out, and how many looks without gain end the fit.
_LOOK, _PATIENCE = 10, 4
#: Cores a step.
_BATCH = 48
#: Pull on the logs of slope and steps between cut points, and on the first cut point, as if these had been seen before.
_CUT_PULL = 4.0


@dataclass(frozen=True)
class LabParams:
    """How a laboratory's head is fitted and tried.

    Attributes
    ----------
    folds : int
        Parts of the patients, each scored by a head fitted on the others.
    coverage : float
        Share of the cores that is to be called determinate.
    pull : float
        How strongly the layer is held to the model's: precision of the change of each weight, in units of the root
        mean square of what it multiplies. Of 1, 10, 100 and 1000, 10 did best on 80 generated cores of one laboratory.
    rate : float
        Learning rate.
    steps : int
        At most.
    held_out : float
        Share of the patients on which it is seen when to stop.
    seed : int
    draws : int
        Of the bootstrap over patients.
    """

    folds: int = 5
    coverage: float = 0.85
    pull: float = 10.0
    rate: float = 0.01
    steps: int = 200
    held_out: float = 0.2
    seed: int = 0
    draws: int = 1000


class Head(NamedTuple):
    """The last layer: weight float32 (levels * 5, channels), bias float32 (levels * 5,)."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


class LearningPoint(NamedTuple):
    """Mean loss, nats a core, of the cores learned from and of those held out, after a number of steps."""

    step: int
    learned: float
    held_out: float


class _Packed(NamedTuple):
    """Cores side by side, one entry for each magnification; short ones are filled up."""

    hidden: list[torch.Tensor]  # float16 (cores, versions, places, channels)
    there: list[torch.Tensor]  # bool (cores, places)
    score: torch.Tensor
    weight: torch.Tensor  # of each core, mean 1


class _Numbers(NamedTuple):
    """What is fitted: change of the layer in units of the spread of its inputs, and change of the cut numbers."""

    weight: torch.Tensor
    bias: torch.Tensor
    cuts: torch.Tensor


def base_head(model: ScoringModel) -> Head:
    """The last layer of a model."""
    tensors = load_file(model.weights_path)
    weight = tensors["head.2.weight"]
    return Head(weight.reshape(weight.shape[0], -1).astype(np.float32), tensors["head.2.bias"].astype(np.float32))


def judge_features(cores: Sequence[CoreFeatures], head: Head) -> list[JudgedCore]:
    """What a head says of the places of cores, as they are."""
    out = []
    for core in cores:
        hidden = core.hidden[0].astype(np.float32)
        logits = (hidden @ head.weight.T + head.bias).reshape(len(hidden), -1, CLASSES)
        own = logits[np.arange(len(hidden)), core.level]
        shares = torch.softmax(torch.from_numpy(own), 1)
        grade, tumour = _graded(shares)
        out.append(JudgedCore(core.name, core.score, grade.numpy(), tumour.numpy(), core.level))
    return out


def core_values(cores: Sequence[CoreFeatures], head: Head, calibration: Calibration) -> npt.NDArray[np.float64]:
    """Value S of each core, as the fit sees it; shape (len(cores),)."""
    packed = _pack(cores, len(head.bias) // CLASSES, weighted=False)
    versions = torch.zeros(len(cores), dtype=torch.long)
    every = torch.arange(len(cores))
    with torch.inference_mode():
        values = _values(
            packed, every, versions, torch.from_numpy(head.weight), torch.from_numpy(head.bias), calibration
        )
    return np.asarray(values.numpy(), np.float64)


def fit_head(
    cores: Sequence[CoreFeatures],
    base: ScoringModel,
    params: LabParams | None = None,
    *,
    apart: npt.ArrayLike | None = None,
) -> tuple[Head, Calibration, list[LearningPoint]]:
    """Refit the last layer of a model to cores of known score; the same seed gives the same answer.

    It is fitted to most of the patients until the others are judged no better, then to all for as many steps.

    Parameters
    ----------
    cores : sequence of CoreFeatures
    base : ScoringModel
        On disk; refitted cut points are put back first.
    params : LabParams, optional
    apart : array-like of float, shape (len(cores),), optional
        Values of the cores from heads that had not seen them, from `Comparison.values`: slope and cut points are then
        fitted to these, and the least confidence to the coverage asked for. Without them the slope is corrected on the
        patients held out.

    Returns
    -------
    head : Head
    calibration : Calibration
    history : list of LearningPoint
        Of the first of the two fits.

    Raises
    ------
    CoresError
        If the cores are of one patient only.
    """
    params = params or LabParams()
    base = own_cuts(base)
    start, levels = base_head(base), len(base.spec.levels)
    parts = folds_by_patient(cores, {"learned": 1 - params.held_out, "held_out": params.held_out}, params.seed)
    learned = [c for c, part in zip(cores, parts, strict=True) if part == "learned"]
    held = [c for c, part in zip(cores, parts, strict=True) if part == "held_out"]
    first, history = _optimise(learned, held, start, base.calibration, levels, params)
    best = min(history, key=lambda point: point.held_out).step
    numbers, _ = _optimise(cores, [], start, base.calibration, levels, replace(params, steps=best))
    head, calibration = _applied(numbers, start, cores, base.calibration)
    if apart is None:
        early, cuts = _applied(first, start, learned, base.calibration)
        slope = likeliest_slope(core_values(held, early, cuts), [c.score for c in held], cuts)
        return head, replace(calibration, slope=calibration.slope * slope / cuts.slope), history
    return head, calibrated(np.asarray(apart, float), cores, calibration, params.coverage), history


def _optimise(
    cores: Sequence[CoreFeatures],
    held: Sequence[CoreFeatures],
    start: Head,
    calibration: Calibration,
    levels: int,
    params: LabParams,
) -> tuple[_Numbers, list[LearningPoint]]:
    """The numbers that are best on the cores held out, or those of the last step when there are none."""
    packed = _pack(cores, levels)
    apart = _pack(held, levels) if held else None
    spread = torch.from_numpy(_spread(cores, levels))
    weight, bias = torch.from_numpy(start.weight), torch.from_numpy(start.bias)
    numbers = _Numbers(torch.zeros_like(weight), torch.zeros_like(bias), torch.zeros(len(cut_numbers(calibration))))
    for tensor in numbers:
        tensor.requires_grad_()
    moments = [(torch.zeros_like(tensor), torch.zeros_like(tensor)) for tensor in numbers]
    best, history, recent = _Numbers(*(t.detach().clone() for t in numbers)), list[LearningPoint](), list[float]()

    def loss(of: _Packed, chosen: torch.Tensor, versions: torch.Tensor) -> torch.Tensor:
        values = _values(of, chosen, versions, weight + numbers.weight / spread, bias + numbers.bias, calibration)
        likely = log_likelihood(values, of.score[chosen], calibration, numbers.cuts)
        return -(of.weight[chosen] * likely).mean()

    def look(step: int) -> None:
        with torch.no_grad():
            told = loss(apart, torch.arange(len(held)), torch.zeros(len(held), dtype=torch.long)) if apart else None
        learned = float(np.mean(recent)) if recent else float("nan")
        history.append(LearningPoint(step, learned, float(told) if told is not None else float("nan")))
        recent.clear()

    look(0)
    for step, (chosen, versions) in enumerate(_batches(cores, params), 1):
        fit = loss(packed, chosen, versions)
        pulls = zip(numbers, (params.pull, params.pull, _CUT_PULL), strict=True)
        moved = torch.stack([pull * (tensor**2).sum() for tensor, pull in pulls]).sum()
        slopes = torch.autograd.grad(fit + moved / (2 * len(cores)), list(numbers))
        _adam_step(list(numbers), slopes, moments, step, params.rate)
        recent.append(float(fit.detach()))
        if step % _LOOK == 0 or step == params.steps:
            look(step)
            if apart is None or history[-1].held_out <= min(point.held_out for point in history):
                best = _Numbers(*(t.detach().clone() for t in numbers))
            elif step - min(history, key=lambda point: point.held_out).step >= _LOOK * _PATIENCE:
                break
    return best, history


def _adam_step(
    numbers: Sequence[torch.Tensor],
    slopes: Sequence[torch.Tensor],
    moments: Sequence[tuple[torch.Tensor, torch.Tensor]],
    step: int,
    rate: float,
) -> None:
    """One step of Adam, in place (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1).

    Not torch's: that brings in triton, whose LLVM crashes in one process with the software OpenGL of a viewer.
    """
    with torch.no_grad():
        for tensor, slope, (mean, square) in zip(numbers, slopes, moments, strict=True):
            mean.lerp_(slope, 0.1)
            square.lerp_(slope**2, 0.001)
            tensor -= rate * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)


def _batches(cores: Sequence[CoreFeatures], params: LabParams) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Indices of the cores of each step, all in turn in random order, and which version of each is seen."""
    rng = np.random.default_rng(params.seed)
    count, versions, waiting = min(_BATCH, len(cores)), len(cores[0].hidden), np.empty(0, np.intp)
    for _ in range(params.steps):
        while len(waiting) < count:
            waiting = np.concatenate([waiting, rng.permutation(len(cores))])
        chosen, waiting = waiting[:count], waiting[count:]
        yield torch.from_numpy(chosen), torch.from_numpy(rng.integers(0, versions, count))


def _pack(cores: Sequence[CoreFeatures], levels: int, *, weighted: bool = True) -> _Packed:
    hidden, there = [], []
    for index in range(levels):
        own = [core.hidden[:, core.level == index] for core in cores]
        most = max(part.shape[1] for part in own)
        full = np.zeros((len(cores), own[0].shape[0], most, own[0].shape[2]), np.float16)
        mask = np.zeros((len(cores), most), bool)
        for k, part in enumerate(own):
            full[k, :, : part.shape[1]], mask[k, : part.shape[1]] = part, True
        hidden.append(torch.from_numpy(full))
        there.append(torch.from_numpy(mask))
    score = torch.tensor([core.score for core in cores])
    count = Counter(core.score for core in cores)
    # rare scores count as much together as common ones
    weight = np.array([len(cores) / (len(count) * count[core.score]) if weighted else 1.0 for core in cores])
    return _Packed(hidden, there, score, torch.from_numpy(weight.astype(np.float32)))


def _spread(cores: Sequence[CoreFeatures], levels: int) -> npt.NDArray[np.float32]:
    """Root mean square of each input of the layer, shape (levels * 5, channels): of each magnification its own."""
    total = np.zeros((levels, cores[0].hidden.shape[2]))
    count = np.zeros((levels, 1))
    for core in cores:
        square = core.hidden[0].astype(np.float32) ** 2
        for index in range(levels):
            total[index] += square[core.level == index].sum(0)
            count[index] += (core.level == index).sum()
    found = np.sqrt(total / np.maximum(count, 1))
    # an input that hardly ever speaks must not be given a loud voice
    found = np.maximum(found, 0.1 * found.mean() + 1e-6)
    return np.repeat(found, CLASSES, axis=0).astype(np.float32)


def _graded(shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Grade and tumour share of places from their class shares (..., 5); as `pooling.place_grades`."""
    tumour = 1 - shares[..., 0]
    steps = torch.arange(CLASSES, dtype=shares.dtype).sub(1).clamp(min=0)
    return (shares @ steps) * (1 + FADE) / (tumour + FADE), tumour


def _values(
    packed: _Packed,
    chosen: torch.Tensor,
    versions: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    calibration: Calibration,
) -> torch.Tensor:
    """Value of each of the chosen cores; as `pooling.pool` of grades that `pooling.weighed` gave."""
    total, shared, share_there = (torch.zeros(len(chosen)) for _ in range(3))
    for index, share in enumerate(calibration.level_weights):
        there = packed.there[index][chosen]
        if not (share and there.shape[1]):
            continue
        hidden = packed.hidden[index][chosen, versions].float()
        own = slice(index * CLASSES, (index + 1) * CLASSES)
        grade, tumour = _graded(torch.softmax(functional.linear(hidden, weight[own], bias[own]), -1))
        mass = tumour.clamp(1e-6, 1) ** calibration.sharpness * there
        part = share * there.any(1)
        share_there = share_there + part
        total = total + part * _read(grade, mass, there, calibration)
        if calibration.haze:
            shared = shared + part * _read(grade, mass, there, replace(calibration, reach=HAZE_AT))
    total, shared = total / share_there, shared / share_there
    weak, strong = HAZE_FADES
    return total - calibration.haze * ((strong - total) / (strong - weak)).clamp(0, 1) * shared


def _read(grade: torch.Tensor, mass: torch.Tensor, there: torch.Tensor, calibration: Calibration) -> torch.Tensor:
    """Grade of cores as read near `Calibration.reach` of their tumour; shapes (cores, places) -> (cores,)."""
    with torch.no_grad():
        near = _near(grade, mass, there, calibration)
    counts = mass * near
    return (counts * grade).sum(1) / counts.sum(1).clamp(min=1e-12)


def _near(grade: torch.Tensor, mass: torch.Tensor, there: torch.Tensor, calibration: Calibration) -> torch.Tensor:
    """How much a place counts for where it stands in the ranking of its core; shapes (cores, places)."""
    order = torch.where(there, grade, -1.0).argsort(dim=1, descending=True, stable=True)
    sorted_mass = mass.gather(1, order).double()
    rank = (sorted_mass.cumsum(1) - sorted_mass / 2) / sorted_mass.sum(1, keepdim=True).clamp(min=1e-12)
    far = torch.log(rank.clamp(min=1e-12) / calibration.reach) ** 2
    far = torch.where(there.gather(1, order), far, torch.inf)
    least = far.min(1, keepdim=True).values.nan_to_num(posinf=0.0)
    near = torch.exp(-0.5 * (far - least) / calibration.width**2)
    return torch.zeros_like(near).scatter(1, order, near).float()


def _applied(
    numbers: _Numbers, start: Head, cores: Sequence[CoreFeatures], calibration: Calibration
) -> tuple[Head, Calibration]:
    """The layer and the calibration that the fitted numbers mean."""
    spread = _spread(cores, len(start.bias) // CLASSES)
    weight = np.asarray(start.weight + numbers.weight.numpy() / spread, np.float32)
    head = Head(weight, np.asarray(start.bias + numbers.bias.numpy(), np.float32))
    slope, cuts = slope_and_cuts(calibration, numbers.cuts)
    a, b, c = (float(cut) for cut in cuts)
    return head, replace(calibration, slope=float(slope), cuts=(a, b, c))
