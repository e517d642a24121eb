//! The results as a page: one file that needs no network and no script, for a reader who was not there.
//!
//! [`page`] puts it together of figures, one file each ([`footprint_panel`], [`depth_map`], [`rent_picture`], [`mask_pictures`]),
//! tables and the run card. [`drawing`] and [`axes`] are what figures are drawn with, [`data`] is what each says in numbers,
//! [`looks`] the one colour and mark of every family; [`picture`] is one figure without the page. Names are any text: [`escaped`].
//!
//! **Invariant:** the same results give the same bytes; nothing here reads a clock, a file or the environment.

pub mod axes;
pub mod critical_table;
pub mod data;
pub mod depth_map;
pub mod drawing;
pub mod escaped;
pub mod footprint_panel;
pub mod looks;
pub mod mask_pictures;
pub mod page;
pub mod picture;
pub mod rent_picture;
pub mod results_table;
pub mod run_card;
