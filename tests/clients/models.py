"""The tiny model in transformers: as a user loads it, and in f64."""

import torch
from artefacts import TINY
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding


def load():
    """f32, as a user has it."""
    model = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True)
    return model.eval()


class Rotary(torch.nn.Module):
    """Angles in f64, their cosines and sines rounded to f32 once, as our engine has them.

    The library's angles are f32 whatever the model's dtype; no f64 comparison survives that.
    """

    def __init__(self, config):
        super().__init__()
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
        self.frequencies = config.rope_parameters["rope_theta"] ** -exponents

    def forward(self, x, position_ids):
        angles = position_ids[..., None].double() * self.frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().float().to(x.dtype), angles.sin().float().to(x.dtype)


class Norm(torch.nn.Module):
    """The norm in the dtype of its input: the library's is f32 inside."""

    def __init__(self, norm):
        super().__init__()
        self.weight, self.eps = norm.weight, norm.variance_epsilon

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def load_exact():
    """f64 in every step but the rounding of `Rotary`; attention and everything else as the library has it."""
    model = load().double()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LlamaRMSNorm):
                setattr(parent, name, Norm(child))
            elif isinstance(child, LlamaRotaryEmbedding):
                if model.config.rope_parameters["rope_type"] != "default":
                    raise ValueError("only plain rotary positions are told again here")
                setattr(parent, name, Rotary(model.config))
    return model


@torch.no_grad()
def logits(model, tokens, num_decoded, chunk=None, prefilling=None):
    """Logits `[T, V]` of known tokens: a prompt in chunks (one, if none is named) inside `prefilling`, then one by one."""
    ids, cache, rows = torch.tensor(tokens)[None], DynamicCache(), []
    prompt_len = ids.shape[1] - num_decoded

    def read(start, end):
        positions = torch.arange(start, end)[None]
        rows.append(model(input_ids=ids[:, start:end], past_key_values=cache, position_ids=positions).logits[0])

    with prefilling if prefilling is not None else torch.no_grad():
        chunk = chunk or prompt_len
        for start in range(0, prompt_len, chunk):
            read(start, min(start + chunk, prompt_len))
    for at in range(prompt_len, ids.shape[1]):
        read(at, at + 1)
    return torch.cat(rows).double().numpy()
