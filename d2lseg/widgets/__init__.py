"""Interactive pictures for the notebooks; each has a static picture beside it."""

from .browser import DatasetBrowser
from .explorer import TransposedConvExplorer

__all__ = ["DatasetBrowser", "TransposedConvExplorer"]
