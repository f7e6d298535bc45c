"""A page of generated tissue, one row a score, and with real cores at hand the same page of real tissue beside it.

python docs/tissue_page.py docs/images/generated_tissue.jpg
python docs/tissue_page.py page.jpg --real ../shared/data/her2_cores
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from napari_her2.training.render import Scanner, render
from napari_her2.training.tissue import make_tile

SIZE, MPP, SOURCE_MPP = 384, 0.5, 0.25


def generated(score: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng((seed, score))
    return render(make_tile(rng, size=SIZE, mpp=MPP, score=score), Scanner.reference(), rng)


def real(paths: list[Path], score: int, seed: int) -> np.ndarray:
    """A tile of a core with that label, on tissue where twenty tries find some."""
    rng = np.random.default_rng((seed, score))
    chosen = [p for p in paths if p.name.startswith(f"{score}_")]
    side = round(SIZE * MPP / SOURCE_MPP)
    tile = np.full((SIZE, SIZE, 3), 255, np.uint8)
    with Image.open(chosen[int(rng.integers(len(chosen)))]) as image:
        for _ in range(20):
            x, y = (int(rng.integers(0, n - side)) for n in image.size)
            tile = np.asarray(image.crop((x, y, x + side, y + side)).convert("RGB").resize((SIZE, SIZE), 4))
            if (tile.mean(axis=2) < 222).mean() > 0.3:
                break
    return tile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--real", type=Path, help="folder of SCORE_NAME.jpg cores at 0.25 µm per pixel")
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    # an emptied punch is no tissue to compare with
    paths = (
        [p for p in sorted(args.real.glob("[0-3]_*.jpg")) if p.stat().st_size > 2.6e6 or p.name[0] != "3"]
        if args.real
        else []
    )
    rows = []
    for score in range(4):
        tiles = [generated(score, args.seed + i) for i in range(args.columns)]
        tiles += [real(paths, score, args.seed + i) for i in range(args.columns)] if paths else []
        rows.append(np.concatenate([np.pad(t, ((2, 2), (2, 2), (0, 0))) for t in tiles], axis=1))
    Image.fromarray(np.concatenate(rows)).save(args.out, quality=82)


if __name__ == "__main__":
    main()
