//! Small C programs whose calls are known, from `tests/witness`, compiled when a test asks for one.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A C library makes calls of its own.
const WITHOUT_C_LIBRARY: [&str; 3] = ["-nostdlib", "-ffreestanding", "-fno-stack-protector"];

/// The path of the compiled `tests/witness/NAME.c`, compiled anew when its source or a header there is younger.
/// `KUBEWARD_WITNESSES` names a folder that has it already, for a machine without a compiler.
pub(crate) fn witness(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("KUBEWARD_WITNESSES") {
        return Path::new(&folder).join(name);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/witness");
    let source = folder.join(format!("{name}.c"));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let changed = |path: &Path| path.metadata().and_then(|meta| meta.modified());
    let files = folder.read_dir().expect("the folder of the witnesses").flatten().map(|entry| entry.path());
    let sources = files.filter(|path| *path == source || path.extension().is_some_and(|extension| extension == "h"));
    let source_changed = sources.filter_map(|path| changed(&path).ok()).max().expect("a witness has a source");
    if changed(&program).is_ok_and(|compiled| compiled > source_changed) {
        return program;
    }
    // Tests run at once, in one process or several: each compiles to a file of its own and moves it in place.
    let unfinished = tempfile::Builder::new().prefix(name).tempfile_in(env!("CARGO_TARGET_TMPDIR"));
    let unfinished = unfinished.expect("a file in the target folder").into_temp_path();
    let compiled = Command::new("cc")
        .args(["-O1", "-static", "-pthread", "-Wall", "-Wextra", "-Werror"])
        .args(if name == "many" { &WITHOUT_C_LIBRARY[..] } else { &[] })
        .arg("-o")
        .arg(&unfinished)
        .arg(&source)
        .status()
        .unwrap_or_else(|e| panic!("cc cannot be run ({e}): the witness programs need a C compiler"));
    assert!(compiled.success(), "{} does not compile", source.display());
    unfinished.persist(&program).expect("a move within one folder");
    program
}
