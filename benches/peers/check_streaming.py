#!/usr/bin/env python3
"""Every form of streaming attention that peers use, against the dense mask: outputs and gradients, odd lengths.

    .python/venv/bin/python benches/peers/check_streaming.py [--device cuda]

On the CPU in f64, FlexAttention by its outputs alone (PyTorch has no backward pass for it there); on CUDA in f32 by both. Ends with 1 if
one differs, with 3 if there is no such device.
"""

import argparse
import sys

import torch
from streaming import STREAMING, Pattern

HEADS, KV_HEADS, HEAD_DIM = 8, 2, 32
SPANS = [(16, 128, 1), (32, 64, 32), (0, 16, 1), (128, 256, 128)]
LENGTHS = [1, 7, 200, 513, 1024]


def found(name, inputs, cotangent, pattern):
    """Output, and gradients where there is a backward pass."""
    device = inputs[0].device
    attend = STREAMING[name](pattern, [inputs[0].shape[1]], device)
    if name == "flex" and device.type == "cpu":
        with torch.no_grad():
            return [attend(*inputs)]
    inputs = [x.clone().requires_grad_(True) for x in inputs]
    out = attend(*inputs)
    return [out.detach(), *torch.autograd.grad((out * cotangent).sum(), inputs)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    device = torch.device(parser.parse_args().device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("check_streaming: not run: no CUDA device", file=sys.stderr)
        return 3
    dtype, allowed = (torch.float64, 1e-10) if device.type == "cpu" else (torch.float32, 1e-4)
    generator, num_bad = torch.Generator().manual_seed(1), 0

    def draw(length, heads):
        return torch.randn(1, length, heads, HEAD_DIM, generator=generator, dtype=torch.float64).to(device, dtype)

    for span in SPANS:
        for length in LENGTHS:
            inputs = [draw(length, heads) for heads in (HEADS, KV_HEADS, KV_HEADS)]
            cotangent, pattern = draw(length, HEADS), Pattern(*span)
            dense = found("dense", inputs, cotangent, pattern)
            for name in STREAMING:
                errors = [
                    ((a - b).abs().max() / b.abs().max().clamp(min=1e-30)).item()
                    for a, b in zip(found(name, inputs, cotangent, pattern), dense)
                ]
                is_good = all(error <= allowed for error in errors)
                num_bad += not is_good
                if not is_good:
                    print(f"{name}, span {span}, {length} tokens: differs by {errors}")
    print(f"{len(SPANS) * len(LENGTHS) * len(STREAMING)} comparisons on {device}, {num_bad} differ")
    return 1 if num_bad else 0


if __name__ == "__main__":
    sys.exit(main())
