//! The Hugging Face Hub: masks pushed to and pulled from repositories of models.
//!
//! [`folder`] checks what is to be pushed, [`repo`] names of repositories, [`names`] names of files; with the cargo feature
//! `hub`, `client` connects, and `pull`, `push` and `find` each do one thing over the network. [`error`] has every way it ends.
//!
//! **Invariant:** nothing here reads the environment, prints, or writes outside the Hub's cache: `cli` resolves the settings
//! and puts what was pulled in its place. A token is never part of a text.
//!
//! # Decisions
//! The crate `hf-hub` brings some 220 others with an asynchronous runtime and a C build of a cryptographic library, so it stands
//! behind a cargo feature, off by default. Its own features offer no lighter TLS: 1.0.0 depends on
//! `reqwest` and `hf-xet` with their defaults. Everything that needs no network is built always.

pub mod answer;
pub mod card;
pub mod content;
pub mod error;
pub mod folder;
pub mod names;
pub mod repo;
pub mod settings;

#[cfg(feature = "hub")]
mod cache;
#[cfg(feature = "hub")]
pub mod client;
#[cfg(feature = "hub")]
mod failed;
#[cfg(feature = "hub")]
pub mod find;
#[cfg(feature = "hub")]
pub mod pull;
#[cfg(feature = "hub")]
pub mod push;
#[cfg(feature = "hub")]
mod redirects;
