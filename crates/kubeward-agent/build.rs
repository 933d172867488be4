//! The local API's messages and service, from their description in `proto/`.

fn main() -> std::io::Result<()> {
    let folder = "../../proto";
    // Cargo looks at a folder's files one by one.
    println!("cargo::rerun-if-changed={folder}");
    tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        // Lists of maps in a fixed order: answers can be compared.
        .btree_map(".")
        .compile_protos(&[format!("{folder}/kubeward/v1/kubeward.proto")], &[folder.to_owned()])
}
