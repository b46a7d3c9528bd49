"""Completions of tiny models, for the tests of losses."""

from dataclasses import fields, replace

import torch
from random_models import END, PAD

PAIRS = [
    ([1, 2, 3], [4, 5, END]),
    ([6], [0, 1, 2, 3, END]),
    ([2, 2], [4]),
    ([5, 4, 3, 2, 1], [END]),
    ([1], [PAD, 3, END]),
    ([3, 1], [6, 6, 6, 6, 6, 6]),
    ([1], [1, 0]),  # answers to one prompt
    ([1, 2, 3], [5, 0, END]),
]


CLIP = {"clip_range": 0.2, "value_clip_range": 0.3, "vf_coef": 0.1}


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def widened(batch, columns):
    """The same rows with more padding."""
    wider = {}
    for each in fields(batch):
        value = getattr(batch, each.name)
        filler = torch.full((len(value), columns), PAD if each.name == "ids" else 0, dtype=value.dtype)
        wider[each.name] = torch.cat([value, filler], dim=1)
    return replace(batch, **wider)


def one_by_one(model, ids):
    """What a model says after each prefix of a row, read alone and without anything behind it."""
    return [model(torch.tensor([ids[:n]]))[0, -1] for n in range(1, len(ids))]
