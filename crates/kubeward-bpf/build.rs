//! Compiles the kernel side. Any clang from 14 on does; `KUBEWARD_CLANG` names another than `clang`.

use std::path::{Path, PathBuf};
use std::{env, fs};

use libbpf_cargo::SkeletonBuilder;

const SOURCES: &str = "src/bpf";

/// The two forms of each object, as `TaskReads` has them.
const FORMS: [(&str, Option<&str>); 2] = [("bpf.o", None), ("by_type.bpf.o", Some("-DKW_READS_BY_TYPE"))];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    println!("cargo:rerun-if-changed={SOURCES}");
    println!("cargo:rerun-if-env-changed=KUBEWARD_CLANG");
    for name in ["monitor", "fentry", "uring"] {
        for (suffix, define) in FORMS {
            let object = out.join(format!("{name}.{suffix}"));
            compile(&Path::new(SOURCES).join(format!("{name}.bpf.c")), &object, define);
            compress(&object);
        }
    }
}

/// Writes what the program carries, beside the object itself that tests look at.
fn compress(object: &Path) {
    let written = fs::read(object)
        .and_then(|bytes| fs::write(object.with_extension("o.z"), miniz_oxide::deflate::compress_to_vec(&bytes, 9)));
    if let Err(error) = written {
        panic!("compressing {}: {error}", object.display());
    }
}

fn compile(source: &Path, object: &Path, define: Option<&str>) {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH for build scripts");
    let mut builder = SkeletonBuilder::new();
    let always = [
        "-Wall".to_owned(),
        "-Wextra".to_owned(),
        "-Werror".to_owned(),
        "-Wno-unused-parameter".to_owned(),
        // 32-bit comparisons as they are, which the verifier follows better; every kernel from 5.1 on has them.
        "-mcpu=v3".to_owned(),
        // The kernel's asm/ headers, where Debian and Ubuntu keep them.
        format!("-I/usr/include/{arch}-linux-gnu"),
    ];
    builder.source(source).obj(object).clang_args(always.into_iter().chain(define.map(str::to_owned)));
    if let Some(clang) = env::var_os("KUBEWARD_CLANG") {
        builder.clang(clang);
    }
    if let Err(error) = builder.build() {
        panic!("compiling {}: {error:#} (is clang 14 or later installed? `make setup` installs it)", source.display());
    }
}
