//! Classes of failure: the one contract between every error enum and the process's exit code.
//!
//! Each module that can fail owns a `thiserror` enum and implements [`Coded`] for it. Only `cli` turns errors into text,
//! hints and exit codes.
//!
//! **Invariant:** nothing here prints, exits or knows a concrete error enum.

/// What kind of failure happened, hence which exit code the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The question was answered, and the answer is no.
    Answer,
    /// A flag, configuration or input file is wrong.
    Input,
    /// The machine lacks something: libtorch, driver, device, memory.
    Environment,
    /// A disk or network operation failed.
    Storage,
    /// A loss, gradient or parameter stopped being finite.
    Numerical,
    /// Stopped by a signal after a checkpoint was saved; submitting again continues.
    Interrupted,
}

impl Kind {
    /// The process's exit code for this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Answer => 1,
            Self::Input => 2,
            Self::Environment => 3,
            Self::Storage => 4,
            Self::Numerical => 5,
            Self::Interrupted => 75,
        }
    }
}

/// An error value that names its stable code, its kind, and the way out where it knows one.
pub trait Coded: std::error::Error {
    /// Stable `area.name` code, never renamed once released.
    fn code(&self) -> &'static str;

    /// The failure's class.
    fn kind(&self) -> Kind;

    /// What the user can do about it, as one imperative sentence without a final period.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// A boxed error that keeps its code and kind, for procedures that can fail in several layers.
pub type AnyFault = Box<dyn Coded + Send + Sync + 'static>;

impl<E: Coded + Send + Sync + 'static> From<E> for AnyFault {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}
