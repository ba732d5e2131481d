"""Which parameters of a model are trained."""

from __future__ import annotations

from typing import Any

from torch import nn


def trainable(model: nn.Module, parameters: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Return the groups to train, without what is frozen; by default one group of everything.

    Raises
    ------
    ValueError
        If nothing is left.
    """
    groups = [group | {"params": list(group["params"])} for group in parameters or []]
    groups = groups or [{"params": list(model.parameters())}]
    free = [group | {"params": [p for p in group["params"] if p.requires_grad]} for group in groups]
    if not any(group["params"] for group in free):
        raise ValueError(
            "nothing to train: every parameter is frozen (requires_grad is False). Leave at least the score "
            "layers free, as fcn.freeze(model.backbone) does, or free a part of the model with "
            "part.requires_grad_(True)"
        )
    return [group for group in free if group["params"]]
