"""One line per check with what was measured, and the tolerance that the project's tests use for numbers of two programs."""

import numpy as np

# f64 results of the same mathematics in another order: relative to the largest magnitude.
F64_RELATIVE = 1e-10


class Checks:
    """What was checked, in order."""

    def __init__(self):
        self.done = []

    def add(self, client, what, measured, limit, ok=None):
        """Passes if `measured` is at most `limit`, or as `ok` says."""
        ok = bool(measured <= limit if ok is None else ok)
        self.done.append({"client": client, "check": what, "measured": measured, "limit": limit, "ok": ok})
        numbers = f"{show(measured)} (limit {show(limit)})"
        print(f"{'ok  ' if ok else 'FAIL'} {client:<12} {what:<76} {numbers}", flush=True)

    def equal(self, client, what, found, expected):
        """Passes if two arrays are the same: what is measured is the number of elements that differ."""
        found, expected = np.asarray(found), np.asarray(expected)
        same_shape = found.shape == expected.shape
        self.add(client, what, int((found != expected).sum()) if same_shape else expected.size, 0)

    def close_f64(self, client, what, found, oracle):
        """Passes if f64 numbers agree to rounding."""
        self.add(client, what, error(found, oracle) / magnitude(oracle), F64_RELATIVE)

    def close_f32(self, client, what, ours, naive, oracle):
        """Passes if our f32 error is at most twice the plain f32 program's, both against f64, and one unit in the last place.

        No constant is chosen: the plain program says what f32 can do on this text.
        """
        unit = float(np.spacing(np.float32(magnitude(oracle))))
        self.add(client, what, error(ours, oracle), 2 * error(naive, oracle) + unit)

    def failed(self):
        return [check for check in self.done if not check["ok"]]


def error(found, oracle):
    """Largest difference; infinite where shapes differ or numbers are not finite."""
    found, oracle = np.asarray(found, np.float64), np.asarray(oracle, np.float64)
    if found.shape != oracle.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - oracle).max())


def magnitude(oracle):
    return float(np.abs(oracle).max())


def show(number):
    return f"{number:.2e}" if isinstance(number, float) else str(number)
