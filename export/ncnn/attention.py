"""Attention as pnnx can convert it: query, key and value from a linear layer each."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SeparateAttention(nn.Module):
    """timm's attention, with the same weights and answers.

    timm takes query, key and value from one linear layer through a tensor with five sides, with
    the images second. pnnx leaves that as operators that ncnn does not have.
    """

    def __init__(self, joined: Any) -> None:
        """Split the layer of query, key and value.

        Args:
            joined: a `timm.models.vision_transformer.Attention`.
        """
        super().__init__()
        self.heads, self.head_width = joined.num_heads, joined.head_dim
        self.query, self.key, self.value = _parts(joined.qkv)
        self.query_norm, self.key_norm = joined.q_norm, joined.k_norm
        self.norm = getattr(joined, "norm", nn.Identity())
        self.project = joined.proj

    def forward(
        self, tokens: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Map tokens [B, N, D] to tokens [B, N, D']."""
        if attn_mask is not None or is_causal:
            raise ValueError("attention with a mask cannot be split")
        query, key, value = (
            layer(tokens).reshape(*tokens.shape[:2], self.heads, self.head_width).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(self.query_norm(query), self.key_norm(key), value)
        joined = mixed.transpose(1, 2).reshape(*tokens.shape[:2], self.heads * self.head_width)
        answer: Tensor = self.project(self.norm(joined))
        return answer


def separate(module: nn.Module) -> None:
    """Split every attention of a network, in place."""
    from timm.models.vision_transformer import Attention  # type: ignore[attr-defined]

    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is Attention and getattr(child, "gate", None) is None:
                setattr(parent, name, SeparateAttention(child))


def _parts(joined: nn.Linear) -> list[nn.Linear]:
    width = joined.out_features // 3
    found = []
    for start in (0, width, 2 * width):
        part = nn.Linear(joined.in_features, width, bias=joined.bias is not None)
        with torch.no_grad():
            part.weight.copy_(joined.weight[start : start + width])
            if joined.bias is not None:
                part.bias.copy_(joined.bias[start : start + width])
        found.append(part)
    return found
