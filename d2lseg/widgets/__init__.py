"""Interactive pictures for the notebooks; each has a static picture beside it."""

from .explorer import TransposedConvExplorer

__all__ = ["TransposedConvExplorer"]
