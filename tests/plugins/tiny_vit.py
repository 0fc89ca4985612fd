"""A ViT of timm so small that every test can build it anew."""

from typing import Any

import timm
import torch
from torch import nn

VIT = "vit_tiny_patch16_224"
ARGS = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2}


def make(seed: int = 1, **changes: Any) -> nn.Module:
    """The model with random weights of a seed, whatever torch's own state is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = timm.create_model(VIT, **{"num_classes": 0, **ARGS, **changes})
    return model
