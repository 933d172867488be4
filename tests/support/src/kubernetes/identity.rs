//! Who is who: an authority of each server's own, its certificate, its administrator's, and the kubeconfigs that name them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use base64::prelude::{Engine, BASE64_STANDARD};
use serde_json::{json, Value};

/// The certificates in a folder of a test's own.
pub(super) struct Identity {
    dir: PathBuf,
}

/// How somebody proves who it is.
pub(super) enum Credential<'a> {
    /// The member of `system:masters` that may do all.
    Administrator,
    Token(&'a str),
    /// A file that may change, as a service account's does.
    TokenFile(&'a Path),
}

impl Identity {
    pub(super) fn make(dir: &Path) -> Result<Self> {
        let identity = Self { dir: dir.to_owned() };
        identity.openssl("ca", "/CN=kubeward-test-ca", &[])?;
        let signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"];
        let address = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
        identity.openssl("server", "/CN=kubeward-test-server", &[&signed[..], &address].concat())?;
        let client = ["-addext", "extendedKeyUsage=clientAuth"];
        identity.openssl("admin", "/O=system:masters/CN=administrator", &[&signed[..], &client].concat())?;
        Ok(identity)
    }

    fn openssl(&self, name: &str, subject: &str, options: &[&str]) -> Result<()> {
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", subject, "-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")])
            .args(options)
            .current_dir(&self.dir)
            .output()
            .context("running openssl (3.0 or later; Debian: apt-get install openssl)")?;
        ensure!(output.status.success(), "openssl req: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    fn inline(&self, file: &str) -> Result<String> {
        Ok(BASE64_STANDARD.encode(fs::read(self.path(file)).with_context(|| format!("reading {file}"))?))
    }

    /// Writes a kubeconfig that needs no other file, but a token's where that is asked for.
    pub(super) fn write_kubeconfig(&self, file: &Path, url: &str, credential: Credential) -> Result<()> {
        let user = match credential {
            Credential::Administrator => json!({
                "client-certificate-data": self.inline("admin.crt")?,
                "client-key-data": self.inline("admin.key")?,
            }),
            Credential::Token(token) => json!({ "token": token }),
            Credential::TokenFile(path) => json!({ "tokenFile": path }),
        };
        let cluster = json!({ "server": url, "certificate-authority-data": self.inline("ca.crt")? });
        write_config(file, &cluster, &user)
    }
}

/// A kubeconfig of a server that is never there: this server asks it nothing, and will not start without one.
pub(super) fn write_kubeconfig_to_nowhere(file: &Path) -> Result<()> {
    write_config(file, &json!({ "server": "https://127.0.0.1:1" }), &json!({ "token": "none" }))
}

fn write_config(file: &Path, cluster: &Value, user: &Value) -> Result<()> {
    // JSON is YAML too.
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "test", "cluster": cluster }],
        "users": [{ "name": "test", "user": user }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        "current-context": "test",
    });
    fs::write(file, config.to_string()).with_context(|| format!("writing {}", file.display()))
}
