"""Time and memory as the operating system sees them, and what peers have in common."""

import resource
import time
from pathlib import Path

import torch

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f64": torch.float64}


class BadInput(Exception):
    """A file or flag that cannot be used."""


class Samples:
    """Wall and CPU milliseconds of each call; a CUDA device is waited for at both ends."""

    def __init__(self, device=torch.device("cpu")):
        self.device = device
        self.wall_ms, self.cpu_ms = [], []

    def time(self, work):
        self.wait()
        start, cpu_start = time.perf_counter(), time.process_time()
        result = work()
        self.wait()
        self.wall_ms.append((time.perf_counter() - start) * 1e3)
        self.cpu_ms.append((time.process_time() - cpu_start) * 1e3)
        return result

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def per_s(self, things):
        return things / (sorted(self.wall_ms)[len(self.wall_ms) // 2] / 1e3)


class Memory:
    """The most held from now on: resident memory, and tensors of a CUDA device."""

    def __init__(self, device):
        self.device = device
        self.loaded_rss, self.is_peak_of_steps = rss_bytes(), reset_peak()
        self.peak_rss = None
        self.loaded_device = self.peak_device = None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.loaded_device = torch.cuda.memory_allocated(device)

    def stop(self):
        self.peak_rss = peak_rss_bytes()
        if self.device.type == "cuda":
            self.peak_device = torch.cuda.max_memory_allocated(self.device)

    def report(self):
        return {
            "peak_rss_bytes": self.peak_rss,
            "loaded_rss_bytes": self.loaded_rss,
            "is_peak_of_steps": self.is_peak_of_steps,
            "peak_device_bytes": self.peak_device,
            "loaded_device_bytes": self.loaded_device,
        }


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
