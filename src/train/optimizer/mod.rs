//! Update rules, one file per optimizer. Each takes gradients and rates as plain arguments: groups, schedules and clipping
//! are decided by its caller.

pub mod adamw;
pub mod host_adamw;
pub mod muon;
