"""How far a step of ours may be from the peer's on the same files, and what is said where it is further.

The tests' rule for one kernel is `|ours - oracle| <= 2 N + eps`: N is the error of the plain composition in the same dtype, eps one unit
in the last place. The peer is that composition, so `|ours - peer| <= 3 N + eps`. N cannot be taken from the case itself: a loss is one
number, and one number is sometimes right by accident. So N is the largest error of `peer_step.py` against itself in f64 over rows of
256 to 16,384 tokens of the tiny model, 300 and 1,024 of three layers of the 124M shape and 512 of all twelve (one to three documents,
CPU; LIMITS), and the bound is 3 N + eps with one digit, rounded up. Our own errors against f64 were at most 1.5 N; the rule allows 2.
"""

import math

import numpy as np

# By weights, dtype and quantity: the largest error of the peer against f64, and the unit in the last place; of f32 for what is computed
# in f64, because files hold f32. Losses are near 10 nats. Trained heads attend sharply, so rounding moves them further than random ones.
# Gradients of trained weights have no bound in bf16: rounding alone makes one of them wrong by half.
EXACT = {"loss_abs": (0, 2**-20), "dz_rel": (0, 2**-23), "weight_grads_rel": (0, 2**-23)}
LIMITS = {
    "trained": {
        "f64": EXACT,
        "f32": {"loss_abs": (1.9e-6, 2**-20), "dz_rel": (1.5e-5, 2**-23), "weight_grads_rel": (5.6e-5, 2**-23)},
        "bf16": {"loss_abs": (3.0e-3, 2**-20), "dz_rel": (0.14, 2**-8)},
    },
    "random": {
        "f64": EXACT,
        "f32": {"loss_abs": (1.9e-6, 2**-20), "dz_rel": (8.0e-6, 2**-23), "weight_grads_rel": (1.0e-6, 2**-23)},
        "bf16": {"loss_abs": (1.4e-4, 2**-20), "dz_rel": (0.015, 2**-8), "weight_grads_rel": (0.015, 2**-8)},
    },
}


def bound(weights, dtype, quantity):
    """The most that `quantity` may differ, if there is such."""
    if quantity == "dz_abs":
        # Both branches are the same attention and dz is 0: there is no size to compare with. A gate moves by at most 1, so what
        # dz is wrong by moves the loss by no more than that.
        quantity = "loss_abs"
    limits = LIMITS[weights][dtype]
    if quantity not in limits:
        return None
    error, unit = limits[quantity]
    return rounded_up(3 * error + unit)


def rounded_up(value):
    """The next number of one digit."""
    scale = 10 ** math.floor(math.log10(value))
    return float(f"{math.ceil(round(value / scale, 6)) * scale:.0e}")


def relative(ours, peer):
    """The largest difference, as a share of the peer's largest value."""
    return float(np.abs(ours - peer).max() / max(np.abs(peer).max(), 1e-30))


def errors(ours, peer, inside, is_dense):
    """Largest differences of two result files; dz where a gate lies strictly between 0 and 1, `inside`."""
    found = {"loss_abs": float(np.abs(ours["loss"] - peer["loss"]).max())}
    if is_dense:
        found["dz_abs"] = float(np.abs(ours["dz"] - peer["dz"])[inside].max())
    else:
        found["dz_rel"] = relative(ours["dz"][inside], peer["dz"][inside])
    weights = [name for name in ours if name not in ("loss", "dz")]
    if weights:
        found["weight_grads_rel"] = max(relative(ours[name], peer[name]) for name in weights)
    return found


def judged(found, weights, dtype, given):
    """The bounds of what was found, `given` ones before the defaults, and the quantities above theirs; no number is above any."""
    bounds = {name: bound(weights, dtype, name) if given.get(name) is None else given[name] for name in found}
    is_above = {name: limit is not None and not found[name] <= limit for name, limit in bounds.items()}
    return bounds, [name for name in found if is_above[name]]
