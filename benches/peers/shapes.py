"""Shapes whose weights are random, as their `config.json` would say them."""


# Gates in the middle of training, by share: closed, open, and between.
GATES = (0.35, 0.35, 0.3)


def llama(layers, heads, kv_heads, head_dim, inner, vocab):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": heads * head_dim,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "vocab_size": vocab,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
    }


# The same sizes as `prulong estimate` knows under these names.
SHAPES = {
    "124m": llama(12, 12, 3, 64, 2048, 32000),
    "llama-3-8b": llama(32, 32, 8, 128, 14336, 128256),
    "llama-3.1-8b": llama(32, 32, 8, 128, 14336, 128256),
    "llama-2-7b": llama(32, 32, 32, 128, 11008, 32000),
}


def config_of(shape):
    """The configuration of a name, `NAME:LAYERS` with fewer layers; nothing if the name is unknown."""
    name, _, layers = shape.partition(":")
    if name not in SHAPES or (layers and not layers.isdigit()):
        return None
    config = dict(SHAPES[name])
    if layers:
        config["num_hidden_layers"] = int(layers)
    return config


def matrices(config):
    """Names and shapes of a layer's matrices, in checkpoint order."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    q, kv = (config[key] * config["head_dim"] for key in ("num_attention_heads", "num_key_value_heads"))
    return {
        "self_attn.q_proj": (q, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, q),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
