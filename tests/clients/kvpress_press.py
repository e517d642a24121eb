"""kvpress with a sidecar, with our scores, and our engine under the rule `frozen-prompt`: three ways to one mask."""

import json

import loaders
import models
import numpy as np
from artefacts import mask_of
from kvpress import DuoAttentionPress
from safetensors import safe_open

CLIENT = "kvpress"
NUM_DECODED = 8


class SidecarPress(DuoAttentionPress):
    """Takes mask, sink and window from a sidecar; kvpress neither downloads nor ranks anything then."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def post_init_from_model(self, model):
        with safe_open(self.path, framework="pt") as f:
            mask, info = f.get_tensor("retrieval_mask"), f.metadata()
        expected = (model.config.num_hidden_layers, model.config.num_key_value_heads)
        if tuple(mask.shape) != expected:
            raise ValueError(f"mask {tuple(mask.shape)}, model {expected}")
        self.sink_size = int(info["prulong.sink_len"])
        self.recent_size = int(info["prulong.window_len"])
        self.streaming_mask = (mask == 0).to(model.device)


class ScoresPress(DuoAttentionPress):
    """kvpress's own ranking of a Duo directory on disk instead of one from the network."""

    def __init__(self, folder, head_compression_ratio):
        super().__init__(head_compression_ratio=head_compression_ratio)
        self.folder = folder

    def load_attention_pattern(self, _model):
        config = json.loads((self.folder / "config.json").read_text())
        return config["sink_size"], config["recent_size"], loaders.scores(self.folder)


def check(checks, programs, work, folder, tokens):
    sidecar = folder / "head_mask.safetensors"
    streaming = ~mask_of(sidecar)

    def run(model, press):
        return models.logits(model, tokens, NUM_DECODED, prefilling=press(model))

    ours = SidecarPress(sidecar)
    theirs = ScoresPress(folder / "duo_rank", float(streaming.mean()))
    model, exact_model = models.load(), models.load_exact()
    by_sidecar, by_scores = run(model, ours), run(model, theirs)
    checks.equal(CLIENT, "SidecarPress hides the sidecar's streaming heads", ours.streaming_mask.numpy(), streaming)
    checks.equal(CLIENT, "kvpress's own ranking of duo_rank/ hides the same", theirs.streaming_mask.numpy(), streaming)
    what = f"logits of {len(tokens)} tokens ({NUM_DECODED} decoded)"
    checks.equal(CLIENT, f"{what}: the two presses, elements that differ", by_sidecar, by_scores)

    exact = run(exact_model, ours)
    asked = {"mask": sidecar, "rule": "frozen-prompt", "num_decoded": NUM_DECODED}
    engine = {dtype: programs.logits(work, tokens, dtype=dtype, **asked) for dtype in ("f32", "f64")}
    checks.close_f64(CLIENT, f"{what}, rule frozen-prompt, f64, relative", engine["f64"], exact)
    checks.close_f32(CLIENT, f"{what}, rule frozen-prompt, f32", engine["f32"], by_sidecar, exact)
    # Prefill is dense for every head there: only what was decoded knows the mask.
    full = models.logits(model, tokens, NUM_DECODED)
    effect = float(np.abs(full - by_sidecar)[-NUM_DECODED:].max())
    checks.add(CLIENT, "the mask matters: its logits against full attention's", effect, "above 0.1", effect > 0.1)
