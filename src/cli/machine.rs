//! Facts about this machine, read from the kernel's text files.

use std::fs;
use std::path::Path;

/// Instruction sets that change which kernels libtorch uses.
const CPU_FEATURES: [&str; 6] = [
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512_bf16",
    "amx_bf16",
];

/// What the processor is and can do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Cpu {
    /// The maker's name for it.
    pub model: String,
    /// The instruction sets that matter here, of those it has.
    pub features: Vec<&'static str>,
}

/// Memory of the machine or of the control group that confines this process, whichever is smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Memory {
    /// Free for new allocations, caches given back.
    pub available_bytes: u64,
    /// In all.
    pub total_bytes: u64,
}

/// Reads the processor from `/proc/cpuinfo`.
pub fn cpu() -> Cpu {
    parse_cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

fn parse_cpu(cpuinfo: &str) -> Cpu {
    let value = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim())
    };
    let flags: Vec<&str> = value("flags").unwrap_or_default().split(' ').collect();
    Cpu {
        model: value("model name").unwrap_or("unknown").to_owned(),
        features: CPU_FEATURES
            .into_iter()
            .filter(|feature| flags.contains(feature))
            .collect(),
    }
}

/// Reads free and total memory; `None` where the kernel does not tell.
pub fn memory() -> Option<Memory> {
    let machine = parse_memory(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let group = |name: &str| {
        let text = fs::read_to_string(Path::new("/sys/fs/cgroup").join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    Some(confine(
        machine,
        group("memory.max"),
        group("memory.current"),
    ))
}

fn parse_memory(meminfo: &str) -> Option<Memory> {
    let bytes = |key: &str| {
        let line = meminfo.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace()
            .nth(1)?
            .parse::<u64>()
            .ok()?
            .checked_mul(1024)
    };
    Some(Memory {
        available_bytes: bytes("MemAvailable:")?,
        total_bytes: bytes("MemTotal:")?,
    })
}

/// Applies a control group's limit and use, where it has a limit.
fn confine(machine: Memory, limit: Option<u64>, used: Option<u64>) -> Memory {
    let Some(limit) = limit.filter(|limit| *limit < machine.total_bytes) else {
        return machine;
    };
    let available_bytes = limit
        .saturating_sub(used.unwrap_or(0))
        .min(machine.available_bytes);
    Memory {
        available_bytes,
        total_bytes: limit,
    }
}

/// Writes a number of bytes as people read it: `1.5 GiB`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn show_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{value:.1} {unit}").replacen(".0 ", " ", 1);
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB").replacen(".0 ", " ", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_read_from_the_kernels_text() {
        let text = "processor\t: 0\nmodel name\t: Some CPU 9\nflags\t\t: fpu avx2 avx512f avx512_bf16 avx2x\n\n\
                    processor\t: 1\nmodel name\t: Some CPU 9\n";
        let cpu = parse_cpu(text);
        assert_eq!(cpu.model, "Some CPU 9");
        assert_eq!(cpu.features, ["avx2", "avx512f", "avx512_bf16"]);
        assert!(parse_cpu("").features.is_empty());
    }

    #[test]
    fn memory_is_the_smaller_of_machine_and_control_group() {
        let machine =
            parse_memory("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable: 600 kB\n").unwrap();
        assert_eq!(
            machine,
            Memory {
                available_bytes: 614_400,
                total_bytes: 1_024_000
            }
        );
        assert_eq!(parse_memory("MemTotal: 5 kB\n"), None);
        assert_eq!(confine(machine, None, Some(7)), machine);
        assert_eq!(confine(machine, Some(u64::MAX), Some(7)), machine);
        let confined = confine(machine, Some(100_000), Some(70_000));
        assert_eq!(
            confined,
            Memory {
                available_bytes: 30_000,
                total_bytes: 100_000
            }
        );
    }

    #[test]
    fn bytes_are_shown_with_one_decimal_or_none() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (16 << 30, "16 GiB"),
            (3 << 40, "3 TiB"),
        ] {
            assert_eq!(show_bytes(bytes), text);
        }
    }
}
