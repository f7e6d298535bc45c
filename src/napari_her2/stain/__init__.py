"""Colour: the slide's own glass and stains, unmixing, normalisation, and what of a picture is tissue."""

from napari_her2.stain.density import TISSUE_OD, divide_white, optical_density, tissue_mask, white_point
from napari_her2.stain.estimate import estimate_stains
from napari_her2.stain.unmix import normalise, normaliser, unmix
from napari_her2.stain.vectors import MODEL_REFERENCE, QUPATH_DAB, QUPATH_HEMATOXYLIN, QUPATH_STAINS, Stains, on_white

__all__ = [
    "MODEL_REFERENCE",
    "QUPATH_DAB",
    "QUPATH_HEMATOXYLIN",
    "QUPATH_STAINS",
    "TISSUE_OD",
    "Stains",
    "divide_white",
    "estimate_stains",
    "normalise",
    "normaliser",
    "on_white",
    "optical_density",
    "tissue_mask",
    "unmix",
    "white_point",
]
