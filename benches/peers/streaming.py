"""Streaming attention as PyTorch can do it: a dense mask, batches of windows, FlexAttention."""

import math

import torch
import torch.nn.functional as F
from measure import BadInput
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

# Full attention: what PyTorch picks, FlashAttention-2 as the reference has it, or cuDNN.
KERNELS = {"any": None, "flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}


class Pattern:
    """Query q sees key k iff k <= q and (k / block < sink / block or q / block - k / block < window / block)."""

    def __init__(self, sink, window, block):
        if window < 1 or block < 1 or sink < 0 or sink % block or window % block:
            raise BadInput(f"sink {sink} and window {window} must be multiples of block {block}")
        self.sink, self.window, self.block = sink, window, block

    def sees(self, q, k):
        """Boolean mask [len(q), len(k)] of positions counted from the start of a document."""
        return self.sees_each(q[:, None], k[None, :])

    def sees_each(self, q, k):
        """The same of positions that broadcast."""
        blocks_back = torch.div(q, self.block, rounding_mode="floor") - torch.div(k, self.block, rounding_mode="floor")
        return (k <= q) & ((k < self.sink) | (blocks_back < self.window // self.block))


def repeated(k, heads):
    """Keys or values [B, T, K, D] of every query head, as the reference makes them."""
    return k.repeat_interleave(heads // k.shape[2], 2)


def sdpa(q, k, v, **kwargs):
    """Grouped attention over [B, T, heads, D] layouts."""
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), enable_gqa=q.shape[2] != k.shape[2], **kwargs
    )
    return out.transpose(1, 2)


class Full:
    """Causal SDPA, by one kernel if one is named: no other is used in its place."""

    def __init__(self, kernel):
        self.kernel = KERNELS[kernel]

    def __call__(self, q, k, v):
        if self.kernel is None:
            return sdpa(q, k, v, is_causal=True)
        with sdpa_kernel(self.kernel):
            return sdpa(q, k, v, is_causal=True)


class DenseStreaming:
    """SDPA with a dense boolean mask, made once per document length."""

    name = "dense mask"

    def __init__(self, pattern, lens, device):
        positions = {length: torch.arange(length, device=device) for length in lens}
        self.masks = {length: pattern.sees(at, at) for length, at in positions.items()}

    def __call__(self, q, k, v):
        return sdpa(q, k, v, attn_mask=self.masks[q.shape[1]])


class WindowStreaming:
    """A dense prefix, then tiles of queries, each with the sinks and its own window of keys."""

    name = "window batches"

    def __init__(self, pattern, lens, device):
        self.pattern = pattern
        self.prefix = pattern.sink + pattern.window
        wanted = min(max(pattern.window // 2, 32), 128)
        self.tile = math.ceil(wanted / pattern.block) * pattern.block
        first_block_seen = self.prefix // pattern.block - pattern.window // pattern.block + 1
        self.back = self.prefix - first_block_seen * pattern.block
        rows = torch.arange(self.prefix, self.prefix + self.tile)
        keys = torch.cat([torch.arange(pattern.sink), torch.arange(self.prefix - self.back, self.prefix + self.tile)])
        self.mask = pattern.sees(rows, keys).to(device)

    def __call__(self, q, k, v):
        length = q.shape[1]
        if length <= self.prefix:
            return sdpa(q, k, v, is_causal=True)
        head = [x[:, : self.prefix] for x in (q, k, v)]
        dense = sdpa(*head, is_causal=True)
        count = math.ceil((length - self.prefix) / self.tile)
        padding = self.prefix + count * self.tile - length
        queries = F.pad(q[0, self.prefix :], (0, 0, 0, 0, 0, padding)).unflatten(0, (count, self.tile))
        tiled = sdpa(queries, self.keys(k, count, padding), self.keys(v, count, padding), attn_mask=self.mask)
        tiled = tiled.reshape(1, count * self.tile, *q.shape[2:])[:, : length - self.prefix]
        return torch.cat([dense, tiled], 1)

    def keys(self, x, count, padding):
        recent = F.pad(x[0, self.prefix - self.back :], (0, 0, 0, 0, 0, padding))
        windows = recent.unfold(0, self.back + self.tile, self.tile).permute(0, 3, 1, 2)
        sinks = x[:, : self.pattern.sink].expand(count, -1, -1, -1)
        return torch.cat([sinks, windows], 1)


class FlexStreaming:
    """FlexAttention with a block mask made once per document length.

    Compiled on CUDA, the way it is meant to be used. On the CPU it has no backward pass in PyTorch 2.11, so that there only its outputs
    can be checked, by its plain form.
    """

    name = "flex attention"

    def __init__(self, pattern, lens, device):
        def rule(_batch, _head, q, k):
            return pattern.sees_each(q, k)

        self.masks = {
            length: create_block_mask(rule, None, None, length, length, device=device) for length in lens
        }
        self.attend = torch.compile(flex_attention) if device.type == "cuda" else flex_attention

    def __call__(self, q, k, v):
        out = self.attend(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            block_mask=self.masks[q.shape[1]],
            enable_gqa=q.shape[2] != k.shape[2],
        )
        return out.transpose(1, 2)


STREAMING = {"dense": DenseStreaming, "windows": WindowStreaming, "flex": FlexStreaming}
