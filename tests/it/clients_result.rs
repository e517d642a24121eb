//! The stored result of `make test-clients`: nothing failed, and it was measured with the versions that the Makefile installs.

use serde_json::Value;
use std::path::Path;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_stored_check_passed_with_the_pinned_versions() {
    let result: Value = serde_json::from_str(&read("tests/clients/last-result.json")).unwrap();
    let checks = result["checks"].as_array().unwrap();
    for client in [
        "safetensors",
        "kvpress",
        "transformers",
        "duo_attn",
        "omniserve",
        "rlkv",
        "headkv-sgl",
        "rtp-llm",
        "kvzip",
    ] {
        assert!(
            checks.iter().any(|check| check["client"] == client),
            "{client} was not checked"
        );
    }
    for check in checks {
        assert_eq!(check["ok"], true, "{check}");
    }
    let (makefile, readme) = (read("Makefile"), read("README.md"));
    for name in ["torch", "numpy", "safetensors", "transformers", "kvpress"] {
        let version = result["versions"][name].as_str().unwrap();
        let version = version.split('+').next().unwrap();
        assert!(
            makefile.contains(&format!("{name}=={version}")),
            "{name} {version}"
        );
        if !["torch", "numpy"].contains(&name) {
            assert!(
                readme.contains(&format!("{name} {version}")),
                "{name} {version}"
            );
        }
    }
}
