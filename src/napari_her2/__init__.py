"""napari-her2: find, score and review HER2 tissue microarray cores. Research use only.

The data flow one way: ``Slide`` -> ``find_cores`` -> ``CoreGrid`` -> ``pyramid.sample`` ->
``score_cores`` -> ``CoreScore`` -> napari layers, CSV, GeoJSON, OME-TIFF and the report.
"""

__version__ = "0.1.0"
RESEARCH_USE = "Research use only: not a medical device, not for diagnosis or treatment decisions."
