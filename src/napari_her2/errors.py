"""The errors a user meets: one clear sentence that says what, where, and what to do."""


class HER2Error(Exception):
    """Something the user can mend; its message is shown as it is, with no traceback."""


class SlideError(HER2Error):
    """An image that cannot be opened, read, or used as a brightfield RGB slide."""


class PixelSizeError(HER2Error):
    """A pixel size that is needed and unknown, or that cannot be true."""


class CoresError(HER2Error):
    """Cores that cannot be found, named, selected or read from a table."""


class RegionsError(HER2Error):
    """Regions drawn on a slide that cannot be read, or that lie on none of its cores."""


class ModelError(HER2Error):
    """A model that is unknown, foreign, damaged, or cannot run on this machine."""


class OutputError(HER2Error):
    """A result that cannot be written where the user asked for it."""


class StainError(HER2Error):
    """Stain colours that cannot be told, or that cannot be true."""
