//! Tasks, metrics and results.
