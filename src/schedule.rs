//! Learning-rate and sparsity schedules as pure functions of the step (method.md section 8).
