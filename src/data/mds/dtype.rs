//! Item types of MDS numbers and arrays: names, codes and sizes.

/// The type of a fixed-size number or of an array's items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "every variant is its own name")]
pub enum Dtype {
    Uint8,
    Int8,
    Uint16,
    Int16,
    Float16,
    Uint32,
    Int32,
    Float32,
    Uint64,
    Int64,
    Float64,
}

/// Every dtype with its name and the byte that stands for it in a self-describing array.
const TABLE: [(Dtype, &str, u8); 11] = [
    (Dtype::Uint8, "uint8", 8),
    (Dtype::Int8, "int8", 9),
    (Dtype::Uint16, "uint16", 16),
    (Dtype::Int16, "int16", 17),
    (Dtype::Float16, "float16", 18),
    (Dtype::Uint32, "uint32", 32),
    (Dtype::Int32, "int32", 33),
    (Dtype::Float32, "float32", 34),
    (Dtype::Uint64, "uint64", 64),
    (Dtype::Int64, "int64", 65),
    (Dtype::Float64, "float64", 66),
];

impl Dtype {
    /// The dtype called `name`, e.g. `uint32`.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|entry| entry.1 == name)
            .map(|entry| entry.0)
    }

    /// The dtype whose byte in a self-describing array is `code`.
    pub fn from_code(code: u8) -> Option<Self> {
        TABLE
            .iter()
            .find(|entry| entry.2 == code)
            .map(|entry| entry.0)
    }

    /// Its name, e.g. `uint32`.
    pub fn name(self) -> &'static str {
        TABLE
            .iter()
            .find(|entry| entry.0 == self)
            .map_or("unknown", |entry| entry.1)
    }

    /// Its byte in a self-describing array.
    pub fn code(self) -> u8 {
        TABLE
            .iter()
            .find(|entry| entry.0 == self)
            .map_or(0, |entry| entry.2)
    }

    /// Bytes of one item: 1, 2, 4 or 8.
    pub fn num_bytes(self) -> usize {
        match self {
            Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 | Self::Float16 => 2,
            Self::Uint32 | Self::Int32 | Self::Float32 => 4,
            Self::Uint64 | Self::Int64 | Self::Float64 => 8,
        }
    }

    /// Whether items are integers.
    pub fn is_integer(self) -> bool {
        !matches!(self, Self::Float16 | Self::Float32 | Self::Float64)
    }
}
