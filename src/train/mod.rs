//! The training procedure: steps, optimizers, run directory.
