"""Whether the exported mask arrives through every loader of `loaders.py`: bit for bit, for many noises."""

import json

import loaders
import numpy as np
from artefacts import mask_of
from safetensors.numpy import load_file

NUM_SEEDS = 200
# The table of retrieval heads kept of 256 at nominal sparsities, and whether a noise-and-quantile loader called with the
# nominal number returns the mask: computed once from the two rules' formulas, and measured here on files.
NOMINAL = {
    "floor-retrieval": {
        0.1: (230, True),
        0.2: (204, False),
        0.3: (179, True),
        0.4: (153, False),
        0.5: (128, True),
        0.6: (102, False),
        0.7: (76, False),
        0.8: (51, False),
        0.9: (25, False),
    },
    "duo-stable": {
        0.1: (230, True),
        0.2: (205, True),
        0.3: (179, True),
        0.4: (154, True),
        0.5: (128, True),
        0.6: (103, True),
        0.7: (77, True),
        0.8: (52, True),
        0.9: (26, True),
    },
}


def most_changed(mask, load):
    """The most heads that came back in the other class, over all noises."""
    return max(int((load(np.random.default_rng(seed)) != mask).sum()) for seed in range(NUM_SEEDS))


def check_mask(checks, base, folder):
    """Every loader of an export of 76 retrieval heads of 256, at the exact fraction."""
    mask, duo = mask_of(folder / "head_mask.safetensors"), folder / "duo"
    exact = json.loads((duo / "config.json").read_text())["sparsity"]
    kv_heads = base.config["num_key_value_heads"]
    checks.equal("loaders", "config.json's sparsity is the share of streaming heads", exact, (~mask).mean())

    def noisy(client, what, load):
        checks.add(client, f"{what}, {NUM_SEEDS} noises: heads changed", most_changed(mask, load), 0)

    noisy("duo_attn", f"re-stated: quantile at {exact}", lambda rng: loaders.duo_attn(duo, exact, rng))
    checks.equal("duo_attn", "re-stated: > 0.5 on the file as it is", loaders.duo_attn_as_it_is(duo), mask)
    noisy("omniserve", f"re-stated: --static-sparsity {exact}", lambda rng: loaders.duo_attn(duo, exact, rng))
    for ranks in (1, 2, kv_heads):
        what = f"re-stated: --rlkv-sparsity {exact} on {ranks} ranks"
        noisy("rlkv", what, lambda rng, ranks=ranks: loaders.rlkv(duo, exact, rng, ranks, kv_heads))
    checks.equal("headkv-sgl", "re-stated: threshold of config.json", loaders.headkv_sglang(duo), mask)
    # The documented trap: the ratio flag keeps as many heads in every layer, whatever the mask says.
    changed = int((loaders.headkv_sglang_ratio(duo, mask.mean()) != mask).sum())
    checks.add("headkv-sgl", "re-stated: the ratio flag is another mask: heads changed", changed, "above 0", changed > 0)
    check_rtp_llm(checks, base, folder, mask)
    check_ranks(checks, folder, mask, exact)
    check_kvzip(checks, folder, mask)


def check_rtp_llm(checks, base, folder, mask):
    config = json.loads((folder / "rtp_llm_headwise_config.json").read_text())
    expected = np.repeat(mask, base.group, axis=1)
    for ranks in (1, 4):
        flags, sizes = loaders.rtp_llm(config, len(mask), ranks)
        checks.equal("rtp-llm", f"re-stated: lists per query head on {ranks} ranks", flags, expected)
    expected = [base.sink, base.window, base.sink + base.window]
    checks.equal("rtp-llm", "sink, window, and where they begin to matter", sizes, expected)


def check_ranks(checks, folder, mask, exact):
    """Graded scores: any sparsity cuts cleanly, along the stored order."""
    ranks = load_file(folder / "head_mask.safetensors")["retrieval_rank"]
    duo_rank, n = folder / "duo_rank", mask.size
    checks.equal("kvpress", f"re-stated: duo_rank/ at {exact}", loaders.kvpress_scores(duo_rank, exact), mask)
    changed = sum(int((loaders.kvpress_scores(duo_rank, k / n) != (ranks < n - k)).sum()) for k in range(n + 1))
    checks.add("kvpress", f"re-stated: duo_rank/ at each of {n + 1} counts: heads changed", changed, 0)
    changed = most_changed(mask, lambda rng: loaders.duo_attn(duo_rank, exact, rng))
    checks.add("duo_attn", f"re-stated: duo_rank/ at {exact}, {NUM_SEEDS} noises: heads changed", changed, 0)
    kept = int(loaders.duo_attn(duo_rank, 0.7, np.random.default_rng(1)).sum())
    own_count = n - int(np.ceil((n - 1) * 0.7))
    checks.equal("duo_attn", "re-stated: duo_rank/ at 0.7 keeps the loader's own count", kept, own_count)


def check_kvzip(checks, folder, mask):
    """KVzip keeps what lies strictly above the score at its ratio: at `k/n` that is one head fewer than k, at `(k+1)/n` it is k."""
    scores, n, kept = folder / "head_scores.safetensors", mask.size, int(mask.sum())
    found = loaders.kvzip(scores, (kept + 1) / n, num_tokens=50)
    checks.equal("kvzip", f"re-stated: head_scores at ratio ({kept} + 1) / {n}", found, mask)
    changed = int((loaders.kvzip(scores, kept / n, num_tokens=50) != mask).sum())
    checks.add("kvzip", f"re-stated: at ratio {kept} / {n} it drops one head: heads changed", changed, "exactly 1", changed == 1)


def check_nominal(checks, export):
    """What happens to masks at the number that the user thinks of: `export(flags)` gives a folder."""
    for rule, rows in NOMINAL.items():
        for sparsity, (kept, survives) in rows.items():
            duo = (folder := export("--sparsity", str(sparsity), "--rounding", rule)) / "duo"
            mask = mask_of(folder / "head_mask.safetensors")
            changed = most_changed(mask, lambda rng: loaders.duo_attn(duo, sparsity, rng))
            expected = 0 if survives else 1
            what = f"re-stated: {rule} at nominal {sparsity}: {kept} kept, {expected} changed"
            checks.equal("duo_attn", what, [mask.sum(), changed], [kept, expected])
