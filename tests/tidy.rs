//! The shape of the source tree, checked as text: layer order, headers, sizes, homes of crates, forbidden calls, registries.
//!
//! Each rule is a function from text to complaints. Every rule is also shown a violation, so that none can pass by
//! looking at nothing.
#![expect(
    clippy::unwrap_used,
    reason = "an unreadable source tree is a failed test"
)]

#[path = "tidy/device.rs"]
mod device;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/places.rs"]
mod places;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/tree.rs"]
mod tree;

use tree::Tree;

#[track_caller]
fn assert_clean(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Applies `rule` to every source file.
fn each_file(rule: impl Fn(&tree::SourceFile) -> Vec<String>) -> Vec<String> {
    let tree = Tree::read();
    assert!(tree.files.len() > 50, "the source tree was not found");
    tree.files.iter().flat_map(rule).collect()
}

#[test]
fn modules_import_only_lower_layers() {
    assert_clean(&layers::unlisted(&Tree::read()));
    assert_clean(&each_file(layers::upward));
}

#[test]
fn files_have_headers_and_stay_short() {
    assert_clean(&each_file(rules::header));
    assert_clean(&each_file(rules::length));
}

#[test]
fn crates_and_system_calls_stay_at_home() {
    assert_clean(&each_file(rules::homes));
    assert_clean(&each_file(rules::purity));
}

#[test]
fn forbidden_calls_are_absent() {
    assert_clean(&each_file(rules::forbidden));
}

#[test]
fn public_tensor_functions_state_their_shapes() {
    assert_clean(&each_file(rules::shapes));
}

#[test]
fn settings_refuse_unknown_fields() {
    assert_clean(&each_file(rules::settings));
}

#[test]
fn nothing_is_re_exported_below_the_root() {
    assert_clean(&each_file(rules::re_exports));
}

#[test]
fn every_file_belongs_to_its_module() {
    assert_clean(&places::orphans(&Tree::read()));
    assert_clean(&places::unlisted_tests());
}

#[test]
fn quoted_paths_exist() {
    assert_clean(&places::stale_paths());
}

#[test]
fn registries_know_every_file() {
    assert_clean(&places::unregistered(&Tree::read()));
}

#[test]
fn kernels_have_a_launcher() {
    assert_clean(&places::unused_kernels(&Tree::read()));
}

#[test]
fn the_gpu_checklist_runs_every_test_on_a_device() {
    assert_clean(&device::unlisted(&Tree::read()));
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    assert_clean(&places::absolute_paths());
}
