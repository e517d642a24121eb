//! Finds libtorch for the linker's run path.
fn main() {
    let d = std::env::var("DEP_TCH_LIBTORCH_LIB")
        .or_else(|_| std::env::var("DEP_TORCH_SYS_LIBTORCH_LIB"));
    for (k, v) in std::env::vars() {
        if k.starts_with("DEP_") {
            println!("cargo:warning={k}={v}");
        }
    }
    if let Ok(d) = d {
        let p = std::fs::canonicalize(std::path::Path::new(&d).join("libtorch_cpu.so")).unwrap();
        println!(
            "cargo:rustc-link-arg=-Wl,-rpath,{}",
            p.parent().unwrap().display()
        );
    }
}
