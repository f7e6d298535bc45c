"""``report.html``: one page with pictures that needs nothing else, to read, print and send."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_her2.colours import SCORE_COLOURS, core_colour
from napari_her2.cores import Core, CoreState
from napari_her2.errors import SlideError
from napari_her2.export.run import Run, counts, record
from napari_her2.heatmap import Heatmap
from napari_her2.scores import SCORES, CoreScore
from napari_her2.slide import Slide

__all__ = ["data_url", "thumbnail", "write_report"]

_THUMBNAIL = 168
_OVERVIEW = 1600
_JPEG_QUALITY = 82


def write_report(path: Path, run: Run) -> None:
    """Write the report of one slide.

    Pictures are JPEG within the page; nothing is loaded from elsewhere. It shows neither the label image of the
    slide nor any folder, nor patients.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("napari_her2.export", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    picture, downsample = run.slide.overview(_OVERVIEW)
    text = environment.get_template("report.html.jinja").render(
        name=run.slide.name,
        record=record(run),
        counts=counts(run),
        scores=SCORES,
        colours=SCORE_COLOURS,
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        overview=data_url(picture),
        size=(picture.shape[1], picture.shape[0]),
        rows=[_row(run, core, downsample) for core in run.grid],
        card=_card(run.model.card if run.model is not None else {}),
    )
    path.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class _Row:
    """One core as the template shows it; `cx`, `cy` and `r` are pixels of the overview."""

    core: Core
    score: CoreScore | None
    colour: str
    cx: float
    cy: float
    r: float
    remark: str
    picture: str
    heat: str


def _row(run: Run, core: Core, downsample: float) -> _Row:
    score = run.scores.get(core.name) if core.state is CoreState.TISSUE else None
    remarks = [score.reason if score is not None else "", core.reason, core.note]
    picture = heat = ""
    try:
        square = thumbnail(run.slide, core)
        picture = data_url(square)
        if run.heatmap is not None and score is not None and score.places is not None:
            heat = data_url(_heat(run.heatmap, core, square))
    except SlideError as error:
        remarks.append(str(error))
    return _Row(
        core=core,
        score=score,
        colour=core_colour(core.state, score.score if score is not None else ""),
        cx=core.x / downsample,
        cy=core.y / downsample,
        r=core.diameter / 2 / downsample,
        remark=" ".join(dict.fromkeys(r for r in remarks if r)),
        picture=picture,
        heat=heat,
    )


def thumbnail(slide: Slide, core: Core) -> npt.NDArray[np.uint8]:
    """The square around a core, uint8, shape (`_THUMBNAIL`, `_THUMBNAIL`, 3)."""
    from PIL import Image

    y0, x0, y1, x1 = core.box
    level = slide.level_for(max(1.0, core.diameter / _THUMBNAIL))
    down = slide.downsamples[level]
    block = slide.read(
        level, round(y0 / down), round(x0 / down), max(1, round((y1 - y0) / down)), max(1, round((x1 - x0) / down))
    )
    image = Image.fromarray(block).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(image)


def _heat(heatmap: Heatmap, core: Core, thumbnail: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The heatmap over the grey core: between the colours of the scores, as high as the expected score."""
    y0, x0, y1, x1 = core.box
    steps = (np.arange(_THUMBNAIL) + 0.5) / _THUMBNAIL
    i = ((y0 + steps * (y1 - y0)) // heatmap.stride).astype(np.intp)
    j = ((x0 + steps * (x1 - x0)) // heatmap.stride).astype(np.intp)
    h, w = heatmap.image.shape
    values = heatmap.image[np.clip(i, 0, h - 1)[:, None], np.clip(j, 0, w - 1)]
    inside = ((i >= 0) & (i < h))[:, None] & ((j >= 0) & (j < w))
    grey = thumbnail.mean(axis=2)
    out = np.repeat(0.6 * grey[..., None] + 0.4 * 240, 3, axis=2)
    drawn = inside & np.isfinite(values)
    stops = np.array([[int(SCORE_COLOURS[s][k : k + 2], 16) for k in (1, 3, 5)] for s in SCORES], float)
    colour = np.stack([np.interp(values[drawn], range(4), stops[:, c]) for c in range(3)], axis=-1)
    out[drawn] = 0.6 * colour + 0.4 * grey[drawn, None]
    return np.asarray(np.clip(np.rint(out), 0, 255), np.uint8)


def data_url(picture: npt.NDArray[np.uint8]) -> str:
    """A picture, uint8 (y, x, 3), as JPEG within a page."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _card(card: dict[str, Any]) -> list[tuple[str, str]]:
    """The model card as lines of text: what is nested is written out in one line."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            return "; ".join(f"{k}: {text(v)}" for k, v in value.items())
        if isinstance(value, (list, tuple)):
            return ", ".join(text(v) for v in value)
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return [(str(key).replace("_", " "), text(value)) for key, value in card.items()]
