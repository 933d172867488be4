//! Compiles the floor, as kubeward-bpf compiles its own. Any clang from 14 on does; `KUBEWARD_CLANG` names another than `clang`.

use std::env;
use std::path::{Path, PathBuf};

use libbpf_cargo::SkeletonBuilder;

const SOURCE: &str = "src/bpf/floor.bpf.c";
/// The kernel's types and the registers of this architecture, as the real programs know them.
const SHARED: &str = "../../crates/kubeward-bpf/src/bpf";

fn main() {
    let object =
        PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts")).join("floor.bpf.o");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH for build scripts");
    for source in [SOURCE, &format!("{SHARED}/kernel.h"), &format!("{SHARED}/arch.bpf.h")] {
        println!("cargo:rerun-if-changed={source}");
    }
    println!("cargo:rerun-if-env-changed=KUBEWARD_CLANG");
    let mut builder = SkeletonBuilder::new();
    builder.source(SOURCE).obj(object).clang_args([
        "-Wall".to_owned(),
        "-Wextra".to_owned(),
        "-Werror".to_owned(),
        "-Wno-unused-parameter".to_owned(),
        "-Wno-sign-compare".to_owned(),
        "-mcpu=v3".to_owned(),
        format!("-I{SHARED}"),
        format!("-I/usr/include/{arch}-linux-gnu"),
    ]);
    if let Some(clang) = env::var_os("KUBEWARD_CLANG") {
        builder.clang(clang);
    }
    if let Err(error) = builder.build() {
        let source = Path::new(SOURCE).display();
        panic!("compiling {source}: {error:#} (is clang 14 or later installed? `make setup` installs it)");
    }
}
