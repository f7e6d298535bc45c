"""SlideStains: the colours of the slide that is looked at: estimated, shown alone, corrected, kept and reused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image

from napari_her2.errors import HER2Error, StainError
from napari_her2.files import writing
from napari_her2.slide import Slide
from napari_her2.stain import Stains, estimate_stains
from napari_her2.stain.shades import STAIN_NAMES
from napari_her2.stain.vectors import Role, angle
from napari_her2.viewer.background import Background, sentence
from napari_her2.viewer.session import Session
from napari_her2.viewer.slide_layer import KEY
from napari_her2.viewer.stain_layers import (
    forget_stains,
    keep_stains,
    show_stain,
    stain_shown,
    stains_of_layer,
)
from napari_her2.viewer.stain_region import Box, StainRegion

__all__ = ["SlideStains"]

#: Grey level under which most of a slide lies when light shines on dark, as in fluorescence.
_DARK = 90
#: Largest side of a region in pixels: more is surely not one stain alone, and slow to read.
_LARGEST = 4000


class SlideStains:
    """What is known of the stains of the slide that a session looks at; it stands in the metadata of the image.

    They are estimated as soon as the cores are there. It speaks through the session's signals.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.region: StainRegion | None = None
        #: What the region that is being drawn will show; None when none is.
        self.correcting: Role | None = None
        self._background = Background()
        self._tried: dict[str, str] = {}
        session.changed.connect(self._follow)

    @property
    def stains(self) -> Stains | None:
        """The stains of the slide, when they are known."""
        return None if self.session.image is None else stains_of_layer(self.session.image)

    @property
    def estimating(self) -> bool:
        """Whether the stains are being looked for."""
        return bool(self._background.name)

    @property
    def why_not(self) -> str:
        """Why the stains are not known, in one sentence; "" when they are, or may soon be."""
        image = self.session.image
        if image is not None and self.session.slide is not None:
            return self._tried.get(str(image.unique_id), "") if self.stains is None else ""
        grey = next((la for la in reversed(self.session.viewer.layers) if _is_grey_picture(la)), None)
        if grey is not None:
            return f"{grey.name} is not an RGB image: stains can be told on an RGB scan of a DAB-stained slide only."
        return "Open a slide first."

    def estimate(self) -> None:
        """Look for the stains of the slide in the background, anew if they are known."""
        image, slide = self.session.image, self.session.slide
        if image is None or slide is None or self.estimating:
            return
        self._tried[str(image.unique_id)] = ""

        def receive(found: Stains | Exception) -> None:
            if isinstance(found, Exception):
                why = sentence(found, "Looking for the stains")
                self._tried[str(image.unique_id)] = why
                self._say(why, True)
            elif image in self.session.viewer.layers:
                self._take(image, found)
            self._tell()

        self._background.start("Looking for the stains", lambda: _estimate(slide), receive)
        self._tell()

    def reset(self) -> None:
        """Forget corrections: the stains are estimated again."""
        if self.session.image is not None:
            forget_stains(self.session.image)
            self.estimate()

    def correct(self, role: Role) -> None:
        """Let the user draw a rectangle that shows one stain, or glass; it is taken up as soon as it is drawn."""
        self.stop_correcting()
        image, stains = self.session.image, self.stains
        if image is None or stains is None:
            self._say(self.why_not or "The stains of this slide are not known yet.", False)
            return
        shown, self.correcting = self.shown, role
        self.show(None)  # one stain is pure or not only beside the other

        def drawn(box: Box | None) -> None:
            self.region = self.correcting = None
            if image in self.session.viewer.layers:
                show_stain(self.session.viewer.layers, image, stains_of_layer(image) or stains, shown)
            self._corrected(image, role, box)

        self.region = StainRegion(self.session.viewer.layers, image, drawn)
        where = {"white": "is empty glass", "hematoxylin": "is pure blue, as in a nucleus without brown"}
        self._say(f"Drag a small rectangle where there {where.get(role, 'is pure brown')} and nothing else.", False)
        self._tell()

    def stop_correcting(self) -> None:
        """Give up drawing."""
        if self.region is not None:
            self.region.close()

    def _corrected(self, image: Image, role: Role, box: Box | None) -> None:
        slide, stains = self.session.slide, stains_of_layer(image)
        if box is not None and slide is not None and stains is not None and image is self.session.image:
            try:
                y, x, height, width = box
                if max(height, width) > _LARGEST:
                    raise StainError("That is too large to be one stain alone: zoom in and draw a small rectangle.")
                self._take(image, stains.with_region(slide.read(0, y, x, height, width), role))
                self._say(_told(self.stains, role, stains), False)
            except HER2Error as error:
                self._say(str(error), True)
        self._tell()

    def show(self, role: str | None) -> None:
        """Show "hematoxylin" or "dab" alone, or with None the slide as it is."""
        image, stains = self.session.image, self.stains
        if image is not None and stains is not None:
            show_stain(self.session.viewer.layers, image, stains, role if role in STAIN_NAMES else None)
            self._tell()

    @property
    def shown(self) -> str | None:
        """Which stain is shown alone."""
        image = self.session.image
        return None if image is None else stain_shown(self.session.viewer.layers, image)

    def save_stains(self, path: Path) -> None:
        """Write the stains as JSON, for the other slides of a batch."""
        stains = self.stains
        if stains is None:
            self._say(self.why_not, True)
            return
        try:
            with writing(path, overwrite=True) as temporary:
                temporary.write_text(json.dumps(stains.to_dict(), indent=2) + "\n", encoding="utf-8")
            self._say(f"Stains written to {path}.", False)
        except HER2Error as error:
            self._say(str(error), True)

    def load_stains(self, path: Path) -> None:
        """Take the stains of another slide from a file."""
        image = self.session.image
        if image is None:
            self._say(self.why_not, True)
            return
        try:
            self._take(image, _read_stains(path))
            self._say(f"Stains taken from {path.name}.", False)
        except HER2Error as error:
            self._say(str(error), True)
        self._tell()

    def _take(self, image: Image, stains: Stains) -> None:
        """Keep stains, and show them where stains are shown."""
        shown = stain_shown(self.session.viewer.layers, image)
        keep_stains(image, stains)
        show_stain(self.session.viewer.layers, image, stains, shown)

    def _follow(self) -> None:
        """Estimate the stains of a slide whose cores are there."""
        image = self.session.image
        if image is None or self.session.cores_layer is None:
            return
        if self.stains is None and str(image.unique_id) not in self._tried:
            self.estimate()

    def _say(self, message: str, is_error: bool) -> None:
        if self.session.is_open:
            self.session.said.emit(message, is_error)

    def _tell(self) -> None:
        if self.session.is_open:
            self.session.changed.emit()


def _estimate(slide: Slide) -> Stains:
    picture, _ = slide.overview(512)
    if np.median(picture) < _DARK:
        raise StainError(
            f"{slide.name} is dark, as fluorescence is: stains can be told on a brightfield scan of a DAB-stained "
            "slide only."
        )
    return estimate_stains(slide)


def _read_stains(path: Path) -> Stains:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StainError(f"{path.name} cannot be read as stored stains ({error}): choose a file saved here.") from error
    if not isinstance(known, dict):
        raise StainError(f"{path.name} holds no stored stains: choose a file saved here.")
    # a record of a run holds them, too
    return Stains.from_dict(known.get("measurement", known).get("stains", known))


def _told(stains: Stains | None, role: Role, before: Stains) -> str:
    """What a correction has changed, in one sentence."""
    if stains is None:
        return ""
    if role == "white":
        return f"Glass is now {', '.join(f'{v:.0f}' for v in stains.white)}."
    name = STAIN_NAMES[role][0].upper() + STAIN_NAMES[role][1:]
    vector, old = getattr(stains, role), getattr(before, role)
    numbers = " ".join(f"{v:.3f}" for v in vector)
    return f"{name} is now {numbers}, {angle(vector, old):.1f}° from what it was."


def _is_grey_picture(layer: Any) -> bool:
    return isinstance(layer, Image) and not layer.rgb and KEY not in layer.metadata
