//! The sources of `kernels/`, embedded so that the program stands alone.

/// What every source needs, put before it.
const COMMON: &str = include_str!("../../kernels/common.cuh");

/// A kernel family: one source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Softmax cross-entropy.
    CrossEntropy,
    /// Mix of full and streaming attention.
    GateMix,
    /// RMSNorm.
    RmsNorm,
    /// Rotary embedding.
    Rope,
    /// One new token over a streaming cache.
    StreamingDecode,
    /// The feed-forward's activation.
    Swiglu,
}

/// One device function and the name of its parameter struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name in the compiled module.
    pub name: &'a str,
    /// The struct it takes by value.
    pub parameters: &'a str,
}

impl Family {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 6] = [
        Self::CrossEntropy,
        Self::GateMix,
        Self::RmsNorm,
        Self::Rope,
        Self::StreamingDecode,
        Self::Swiglu,
    ];

    /// Name of its file in `kernels/`.
    pub fn file(self) -> &'static str {
        match self {
            Self::CrossEntropy => "cross_entropy.cu",
            Self::GateMix => "gate_mix.cu",
            Self::RmsNorm => "rms_norm.cu",
            Self::Rope => "rope.cu",
            Self::StreamingDecode => "streaming_decode.cu",
            Self::Swiglu => "swiglu.cu",
        }
    }

    /// The file's text.
    fn own_text(self) -> &'static str {
        match self {
            Self::CrossEntropy => include_str!("../../kernels/cross_entropy.cu"),
            Self::GateMix => include_str!("../../kernels/gate_mix.cu"),
            Self::RmsNorm => include_str!("../../kernels/rms_norm.cu"),
            Self::Rope => include_str!("../../kernels/rope.cu"),
            Self::StreamingDecode => include_str!("../../kernels/streaming_decode.cu"),
            Self::Swiglu => include_str!("../../kernels/swiglu.cu"),
        }
    }

    /// What is compiled: the common text and the file's.
    pub fn text(self) -> String {
        [COMMON, self.own_text()].join("\n")
    }

    /// Its device functions, in the file's order.
    pub fn entries(self) -> Vec<Entry<'static>> {
        let functions = self.own_text().split("__global__ void ").skip(1);
        let entries = functions.filter_map(|rest| {
            let (name, rest) = rest.split_once("(const ")?;
            let (parameters, _) = rest.split_once(' ')?;
            Some(Entry { name, parameters })
        });
        entries.collect()
    }

    /// Its kernels, in the file's order: a device function compiled for several dtypes is one of them.
    pub fn kernels(self) -> Vec<&'static str> {
        let entries = self.entries();
        let mut names: Vec<_> = entries.iter().map(|entry| kernel(entry.name)).collect();
        names.dedup();
        names
    }
}

/// The kernel that a device function is compiled from: its name without the dtype.
pub fn kernel(entry: &str) -> &str {
    let of = |dtype| entry.strip_suffix(dtype);
    of("_f32").or_else(|| of("_bf16")).unwrap_or(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_function_is_found_with_its_parameters() {
        let entries = Family::StreamingDecode.entries();
        let names: Vec<_> = entries.iter().map(|entry| entry.name).collect();
        let expected = ["parts", "combine"].map(|step| {
            ["f32", "bf16"].map(|element| format!("streaming_decode_{step}_{element}"))
        });
        assert_eq!(names, expected.concat());
        assert_eq!(entries[0].parameters, "DecodeParts");
        let kernels = ["parts", "combine"].map(|step| format!("streaming_decode_{step}"));
        assert_eq!(Family::StreamingDecode.kernels(), kernels);
        for family in Family::ALL {
            let count = family.own_text().matches("__global__").count();
            assert_eq!(family.entries().len(), count, "{}", family.file());
            assert!(count > 0);
        }
    }

    #[test]
    fn every_file_of_the_folder_is_embedded_under_its_name() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
        let files = std::fs::read_dir(&folder).unwrap().flatten();
        let mut names: Vec<_> = files
            .filter(|file| file.path().extension().is_some_and(|end| end == "cu"))
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, Family::ALL.map(Family::file));
        for family in Family::ALL {
            let text = std::fs::read_to_string(folder.join(family.file())).unwrap();
            assert_eq!(family.own_text(), text);
        }
    }
}
