"""A head mask in Hugging Face transformers: retrieval heads attend to everything, streaming heads to sinks and a window.

    python examples/transformers_mask.py MODEL out/head_mask.safetensors "Once upon a time"

Needs torch, transformers and safetensors; nothing of ours. It shows what a mask does to a model's answers, before or after
other changes to it. It saves no memory: the cache keeps every key and value. `apply_mask` is all there is to it; the result is
the rule `sliding` of `prulong`, whatever the prompt is split into. Texts in a batch must be of one length (no padding).
"""

import argparse

import torch
import torch.nn.functional as F
from safetensors import safe_open
from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM, AutoTokenizer
from transformers.masking_utils import sdpa_mask

NAME = "head_mask"


class HeadMask:
    """What a sidecar file says."""

    def __init__(self, path):
        with safe_open(path, framework="pt") as f:
            info = f.metadata()
            self.retrieval = f.get_tensor("retrieval_mask").bool()  # [layers, kv heads]
        if info["prulong.kind"] != "kv_head_mask" or int(info["prulong.format_version"]) != 1:
            raise ValueError(f"{path} is not a head mask of format version 1")
        self.sink, self.window = int(info["prulong.sink_len"]), int(info["prulong.window_len"])
        self.base = info["base_model_name_or_path"]

    def visible(self, layer, num_heads, num_queries, num_keys, device):
        """Which keys each query head sees, `[heads, queries, keys]`; the queries are the last of the keys' tokens."""
        keys = torch.arange(num_keys, device=device)
        queries = keys[num_keys - num_queries :, None]
        causal = keys <= queries
        # The window counts the query's own token.
        streaming = causal & ((keys < self.sink) | (queries - keys < self.window))
        retrieval = self.retrieval[layer].to(device)
        # kv head j serves query heads j * group ... (j + 1) * group - 1.
        per_head = retrieval.repeat_interleave(num_heads // len(retrieval))
        return torch.where(per_head[:, None, None], causal, streaming)


def head_mask_attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, **_):
    """Attention `[batch, heads, tokens, head_dim]` -> `[batch, tokens, heads, head_dim]` under the model's mask."""
    visible = module.head_mask.visible(module.layer_idx, query.shape[1], query.shape[2], key.shape[2], query.device)[None]
    if attention_mask is not None:
        visible = visible & attention_mask
    out = F.scaled_dot_product_attention(
        query, key, value, attn_mask=visible, dropout_p=dropout, scale=scaling, enable_gqa=True
    )
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, head_mask_attention)
# The mask that comes in is the plain causal one.
AttentionMaskInterface.register(NAME, sdpa_mask)


def apply_mask(model, path):
    """Makes `model` attend as the mask file at `path` says, and returns it."""
    mask = HeadMask(path)
    expected = (model.config.num_hidden_layers, model.config.num_key_value_heads)
    if tuple(mask.retrieval.shape) != expected:
        raise ValueError(f"the mask is for {tuple(mask.retrieval.shape)} layers and kv heads, the model has {expected}")
    for layer in model.model.layers:
        layer.self_attn.head_mask = mask
    model.set_attn_implementation(NAME)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("mask")
    parser.add_argument("prompt")
    parser.add_argument("--new-tokens", type=int, default=32)
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = apply_mask(AutoModelForCausalLM.from_pretrained(args.model), args.mask)
    inputs = tokenizer(args.prompt, return_tensors="pt", return_token_type_ids=False)
    answer = model.generate(**inputs, max_new_tokens=args.new_tokens, do_sample=False)
    print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :]))


if __name__ == "__main__":
    main()
