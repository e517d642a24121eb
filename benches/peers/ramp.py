"""The mean over a training run of what was measured at single shares of closed gates."""

import numpy as np

# Of configs/llama-3.1-8b-128k.toml: `[sparsity]` end and warmup_ratio, from 0 on a straight line.
TARGET, RAMP = 0.7, 0.8
# Points of a run at which the share is looked up.
POINTS = 1000

FORMULA = """\
ratio over a run = T_peer / mean over u in (0, 1) of T_ours(s(u)), with s(u) = target * min(1, u / ramp)

T_ours is the median time at each measured share, joined by straight lines and constant beyond the first and last; T_peer the median of
the peer, which computes both branches whatever the gates. u is the share of the run's steps that are done. The ramp is that of the
target: gates follow it late, and those between 0 and 1 cost both branches; `--between` of `prulong bench train` measures such."""


def shares(target, ramp):
    """The target's share of closed gates at equal steps of a run."""
    done = (np.arange(POINTS) + 0.5) / POINTS
    return target * np.minimum(1.0, done / ramp) if ramp > 0 else np.full(POINTS, target)


def covers(asked, target):
    """Whether the shares asked for reach from one end of the ramp to the other."""
    return min(asked) <= 0 and max(asked) >= target


def mean_over_run(measured, values, target, ramp):
    """The mean of `values` at `measured` shares over a run."""
    order = np.argsort(measured)
    joined = np.interp(shares(target, ramp), np.array(measured)[order], np.array(values)[order])
    return float(joined.mean())
