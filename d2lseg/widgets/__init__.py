"""Interactive figures for the notebooks; each has a static figure beside it."""

from .browser import DatasetBrowser
from .explorer import TransposedConvExplorer

__all__ = ["DatasetBrowser", "TransposedConvExplorer"]
