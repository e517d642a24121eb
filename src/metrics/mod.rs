//! Where numbers of a run go, one file per sink.
