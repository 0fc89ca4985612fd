"""Vectors and rotations of a seed, and a layer of given weights, in double precision."""

import torch
from torch import nn


def vectors(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def rotation(seed, dim):
    return torch.linalg.qr(vectors(seed, dim, dim))[0]


def linear(weight, bias=None):
    """The layer of these weights [D, C], and of this bias [D]."""
    head = nn.Linear(*reversed(weight.shape), bias=bias is not None, dtype=weight.dtype)
    with torch.no_grad():
        head.weight.copy_(weight)
        if bias is not None:
            head.bias.copy_(bias)
    return head
