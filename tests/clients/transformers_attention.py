"""`examples/transformers_mask.py` on the tiny model against our engine under the rule `sliding`."""

import importlib.util

import models
from artefacts import ROOT

CLIENT = "transformers"
NUM_DECODED = 8


def example():
    """The example, as a module."""
    spec = importlib.util.spec_from_file_location("transformers_mask", ROOT / "examples/transformers_mask.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(checks, programs, work, folder, tokens):
    sidecar, apply_mask = folder / "head_mask.safetensors", example().apply_mask
    asked = {"mask": sidecar, "rule": "sliding", "num_decoded": NUM_DECODED}
    ours = {dtype: programs.logits(work, tokens, dtype=dtype, **asked) for dtype in ("f32", "f64")}
    in_chunks = programs.logits(work, tokens, dtype="f64", chunk=70, **asked)

    plain = models.load()
    full = models.logits(plain, tokens, NUM_DECODED)
    masked = models.logits(apply_mask(plain, sidecar), tokens, NUM_DECODED)
    model = apply_mask(models.load_exact(), sidecar)
    exact = models.logits(model, tokens, NUM_DECODED)
    exact_in_chunks = models.logits(model, tokens, NUM_DECODED, chunk=100)

    what = f"logits of {len(tokens)} tokens ({NUM_DECODED} decoded), rule sliding"
    checks.close_f64(CLIENT, f"{what}, f64, relative", ours["f64"], exact)
    checks.close_f64(CLIENT, "the same, ours in chunks of 70, theirs of 100", in_chunks, exact_in_chunks)
    checks.close_f32(CLIENT, f"{what}, f32", ours["f32"], masked, exact)
    # Were the mask ignored, all of the above could still pass if it changed nothing.
    effect = float(abs(full - masked).max())
    checks.add(CLIENT, "the mask matters: its logits against full attention's", effect, "above 0.1", effect > 0.1)
