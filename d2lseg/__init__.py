"""Fully convolutional networks, hands on: the module behind the course's notebooks.

Import each submodule by name, so that a reader sees where a thing lives::

    from d2lseg import voc, fcn, training
"""

__version__ = "1.0.0"
