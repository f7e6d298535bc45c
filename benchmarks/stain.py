"""Measured membrane staining of whole cores: ours against scikit-image used plainly, in the same run.

Plainly: ``skimage.color.separate_stains`` with ``hdx_from_rgb``, Gaussian, local threshold, distance transform,
``watershed``, ``expand_labels`` and ``regionprops`` for area, place, nuclear haematoxylin and the DAB along the border
of each cell. "The same numbers" means: per core the number of nuclei (of at least 14 µm², in tissue), their median
area, and the mean DAB of the rings. The table shows both; where one of the first two is more than twice the other the
run says so. The unit of DAB differs (scikit-image: natural logarithm, unnormalised vectors), so rings are compared by
their rank over the cores.

Cores: the real ones of NAPARI_HER2_REAL_DATA, else a generated one. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path

import numpy as np
from scipy import ndimage, stats
from skimage.color import hdx_from_rgb, separate_stains
from skimage.feature import peak_local_max
from skimage.filters import threshold_local
from skimage.measure import regionprops
from skimage.morphology import remove_small_objects
from skimage.segmentation import expand_labels, find_boundaries, watershed

from napari_her2.measure import MPP, measure_pixels
from napari_her2.slide import Slide, _block_mean
from napari_her2.stain import estimate_stains, tissue_mask
from napari_her2.training.render import Scanner, render
from napari_her2.training.tissue import make_core


def plain(pixels: np.ndarray, tissue: np.ndarray) -> tuple[int, float, float]:
    """Nuclei, median area (µm²) and mean DAB of the rings with scikit-image as its gallery does it."""
    separated = separate_stains(pixels, hdx_from_rgb)
    h, d = separated[..., 0], separated[..., 1]
    smooth = ndimage.gaussian_filter(h, 1.0 / MPP)
    nuclei = (smooth > threshold_local(smooth, 101, offset=-0.2 * smooth[tissue].std())) & tissue
    nuclei = remove_small_objects(nuclei, max_size=int(14 / MPP**2))
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(nuclei), 1)
    peaks = peak_local_max(distance, min_distance=int(3 / MPP), labels=nuclei.astype(int))
    markers = np.zeros(h.shape, int)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-distance, markers, mask=nuclei)
    cells = expand_labels(labels, 5 / MPP)
    ring = np.where(ndimage.maximum_filter(find_boundaries(cells), 3), cells, 0)
    brown = ndimage.gaussian_filter(d, 0.35 / MPP)
    rows = [(p.area, p.centroid, p.intensity_mean) for p in regionprops(labels, intensity_image=h)]
    rings = [p.intensity_mean for p in regionprops(ring, intensity_image=brown)]
    areas = np.array([row[0] for row in rows]) * MPP**2
    return len(rows), float(np.median(areas)) if rows else 0.0, float(np.mean(rings)) if rings else 0.0


def pictures() -> list[tuple[str, np.ndarray]]:
    """Cores at `MPP`, with their names."""
    folder = Path(os.environ.get("NAPARI_HER2_REAL_DATA", "")) / "her2_cores"
    paths = [p for p in sorted(folder.glob("[0-3]_*.jpg")) if not p.name.startswith("3_99b3")]
    if paths:
        return [(p.name[:6], _block_mean(Slide.open(p).read(0, 0, 0, *Slide.open(p).shape), 2)) for p in paths]
    rng = np.random.default_rng(0)
    return [("made", render(make_core(rng, diameter_um=1200, score=2), Scanner.reference(), rng))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=7)
    options = parser.parse_args()
    cores = pictures()[: options.cores]
    stains = [estimate_stains(pixels) for _, pixels in cores]
    ours = []
    for (_, pixels), colours in zip(cores, stains, strict=True):
        start = time.perf_counter()
        found = measure_pixels(pixels, colours)
        ours.append((time.perf_counter() - start, found))
    # before the plain one runs, whose memory is its own
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{'core':8} {'score':5} {'ours s':>7} {'plain s':>8}   {'nuclei':>13}   {'area µm²':>11}   ring DAB")
    ratios, rings = [], []
    for (name, pixels), colours, (seconds, found) in zip(cores, stains, ours, strict=True):
        tissue = tissue_mask(pixels, colours.white, blur=4)
        start = time.perf_counter()
        count, area, ring = plain(pixels, tissue)
        slow = time.perf_counter() - start
        assert found.nuclei is not None
        n, own = len(found.nuclei), float(np.median(found.nuclei.area))
        level = float(found.rings.peak.mean())
        remark = "" if 0.5 < n / max(count, 1) < 2 and 0.5 < own / max(area, 1) < 2 else "  not the same"
        print(
            f"{name:8} {found.score or '-':5} {seconds:7.2f} {slow:8.2f}   {n:6d} {count:6d}   {own:5.0f} {area:5.0f} "
            f"  {level:.3f} {ring:.3f}{remark}",
            flush=True,
        )
        ratios.append(slow / seconds)
        rings.append((level, ring))
    if len(rings) > 2:
        print(
            f"rank correlation of ring DAB over {len(rings)} cores: {stats.spearmanr(*zip(*rings, strict=True))[0]:.2f}"
        )
    times = [seconds for seconds, _ in ours]
    answer = {
        "speed_ratio": round(float(np.median(ratios)), 2),
        "seconds_per_core": round(float(np.median(times)), 2),
        "peak_gib": round(peak, 2),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
