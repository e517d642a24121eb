//! Settings: what a run file says, checked once, and what may be overridden.
