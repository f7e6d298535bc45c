"""Colour: the slide's own glass and stains, unmixing, normalisation, and what of a picture is tissue."""

from napari_her2.stain.density import TISSUE_OD, divide_white, optical_density, tissue_mask, white_point
from napari_her2.stain.estimate import estimate_stains
from napari_her2.stain.unmix import normalise, unmix
from napari_her2.stain.vectors import QUPATH_DAB, QUPATH_HEMATOXYLIN, QUPATH_STAINS, Stains

__all__ = [
    "QUPATH_DAB",
    "QUPATH_HEMATOXYLIN",
    "QUPATH_STAINS",
    "TISSUE_OD",
    "Stains",
    "divide_white",
    "estimate_stains",
    "normalise",
    "optical_density",
    "tissue_mask",
    "unmix",
    "white_point",
]
