"""How other tools turn the exported files into a mask, re-stated here from their documented behaviour: none of their code runs.

duo_attn needs flash-attn when it is imported, and the engines need their GPUs, so that their loaders are told again in NumPy.
Every function returns flags `[layers, kv heads]`, `True` = retrieval. `rng` stands for the unseeded global generator that the
real ones draw their noise from.
"""

import json

import numpy as np
from safetensors.numpy import load_file

TABLE = "full_attention_heads.tsv"


def scores(folder):
    """A Duo directory's scores, as all of the family read them."""
    return np.clip(np.loadtxt(folder / TABLE, dtype=float, delimiter="\t"), 0, 1)


def noise_and_quantile(values, sparsity, rng):
    """Keeps what lies at or above a quantile of values that noise has made distinct; nothing at 1, everything at 0."""
    noisy = values + rng.uniform(0, 1e-6, values.shape)
    if sparsity >= 1:
        return np.zeros(values.shape, bool)
    if sparsity <= 0:
        return np.ones(values.shape, bool)
    return noisy >= np.quantile(noisy, sparsity)


def duo_attn(folder, sparsity, rng):
    """duo_attn and PruLong's evaluation with a sparsity; OmniServe's `--static-sparsity`."""
    return noise_and_quantile(scores(folder), sparsity, rng)


def duo_attn_as_it_is(folder):
    """duo_attn's evaluation patch without sparsifying: strictly above one half."""
    return scores(folder) > 0.5


def rlkv(folder, sparsity, rng, num_ranks, num_kv_heads):
    """RLKV's SGLang fork: the same cut over the whole table, then each tensor-parallel rank takes its kv heads' columns."""
    path = folder / "adapter_weights.tsv"
    values = np.loadtxt(path if path.is_file() else folder / TABLE, dtype=float, delimiter="\t")
    kept = noise_and_quantile(np.clip(values, 0, 1), sparsity, rng)
    per_rank = num_kv_heads // num_ranks
    return np.hstack([kept[:, rank * per_rank : (rank + 1) * per_rank] for rank in range(num_ranks)])


def headkv_sglang(folder):
    """HeadKV-SGLang's policy `duo`: at or above the threshold of config.json."""
    return scores(folder) >= json.loads((folder / "config.json").read_text())["threshold"]


def headkv_sglang_ratio(folder, ratio):
    """Its `--headkv-full-head-ratio`: as many heads in every layer, the best of each."""
    values = scores(folder)
    kept = np.zeros(values.shape, bool)
    best = np.argsort(-values, axis=1, kind="stable")[:, : round(ratio * values.shape[1])]
    np.put_along_axis(kept, best, True, axis=1)
    return kept


def kvpress_scores(folder, ratio):
    """kvpress's DuoAttentionPress: the `round(n * ratio)` lowest of an unstable sort stream."""
    values = scores(folder)
    kept = np.ones(values.shape, bool)
    lowest = np.argsort(values, axis=None)[: round(values.size * ratio)]
    kept[np.unravel_index(lowest, values.shape)] = False
    return kept


def rtp_llm(config, num_layers, num_ranks):
    """RTP-LLM's head-wise prefill: each rank takes its query heads' flags; returns flags per query head and the sizes."""
    headwise = config["headwise_config"]
    rows = []
    for layer in range(num_layers):
        flags = np.array(headwise[str(layer)])
        per_rank = len(flags) // num_ranks
        ranks = [flags[rank * per_rank : (rank + 1) * per_rank] for rank in range(num_ranks)]
        # A value that is neither 0 nor 1 is in neither class: counted as an error here.
        if not np.isin(flags, [0, 1]).all():
            raise ValueError(f"layer {layer} holds other values than 0 and 1")
        rows.append(np.hstack(ranks) == 1)
    sizes = [headwise[key] for key in ("sink_token_num", "swa_token_num", "seqlen_threshold")]
    return np.array(rows), sizes


def kvzip(path, ratio, num_tokens):
    """KVzip with head scores: every token has its head's score; what lies strictly above the score at the ratio is kept."""
    score = load_file(path)["head_score"]
    spread = np.repeat(score[..., None], num_tokens, axis=-1)
    if ratio >= 1:
        return np.ones(score.shape, bool)
    descending = np.sort(spread, axis=None)[::-1]
    threshold = descending[max(int(descending.size * ratio) - 1, 0)]
    return (spread > threshold).any(axis=-1)
