//! Answers that are procedures, step by step: scored as by LongProc's scorers, one file per kind. Start reading at
//! [`verdict`].

pub mod countdown;
pub mod plan;
pub mod route;
pub mod tag;
pub mod trace;
pub mod travel;
pub mod verdict;
