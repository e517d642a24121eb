"""Time and memory as the operating system sees them, and what peers have in common."""

import resource
import time
from pathlib import Path

import torch

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f64": torch.float64}


class BadInput(Exception):
    """A file or flag that cannot be used."""


class Samples:
    """Wall and CPU milliseconds of each call."""

    def __init__(self):
        self.wall_ms, self.cpu_ms = [], []

    def time(self, work):
        start, cpu_start = time.perf_counter(), time.process_time()
        result = work()
        self.wall_ms.append((time.perf_counter() - start) * 1e3)
        self.cpu_ms.append((time.process_time() - cpu_start) * 1e3)
        return result

    def per_s(self, things):
        return things / (sorted(self.wall_ms)[len(self.wall_ms) // 2] / 1e3)


def rss_bytes():
    return status_bytes("VmRSS:")


def peak_rss_bytes():
    return status_bytes("VmHWM:")


def status_bytes(key):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def reset_peak():
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return True
    except OSError:
        return False
