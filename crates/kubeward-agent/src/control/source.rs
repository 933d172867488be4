//! Policy files and folders, looked at again and again.
//!
//! A change is noticed by the file's metadata, every [`LOOK_EVERY`]: that works on every file system, and a ConfigMap's folder
//! of links. A policy's `expireAfter` counts from that change too. Folders are read for `*.yaml`, `*.yml` and `*.json`. A file
//! that was good once and is broken or gone now keeps its last good policies, unless it went from a folder.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kubeward_core::policy::{self, CheckedPolicy, Fault};

/// Between two looks: an edit is followed within a second.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What tells one version of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        let ns = |secs: i64, nanos: i64| i128::from(secs) * 1_000_000_000 + i128::from(nanos);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    /// As last read; absent while the file cannot be read.
    version: Option<Version>,
    /// That it cannot be read has been told.
    is_told: bool,
    /// Of the last version without fault.
    good: Vec<CheckedPolicy>,
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Look {
    /// The good policies of all files, if any of them changed.
    pub policies: Option<Vec<CheckedPolicy>>,
    /// What is wrong with versions that were read for the first time now.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a policy file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// The rest of the policy applies.
    #[error("policy {policy}: left out {refusal}")]
    LeftOut { policy: String, refusal: String },
}

impl Problem {
    /// Whether the file's last good version stays in force because of it.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Problem::LeftOut { .. })
    }
}

/// Where the labels come from that `nodeSelector` goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeLabels {
    FromKubernetes,
    /// The agent runs without Kubernetes: a policy with a `nodeSelector` is refused.
    Never,
}

/// The files and folders of `-f`.
#[derive(Debug)]
pub struct PolicyFiles {
    paths: Vec<PathBuf>,
    node_labels: NodeLabels,
    known: BTreeMap<PathBuf, Known>,
    has_looked: bool,
}

impl PolicyFiles {
    pub fn new(paths: Vec<PathBuf>, node_labels: NodeLabels) -> Self {
        Self { paths, node_labels, known: BTreeMap::new(), has_looked: false }
    }

    /// Reads what changed since the last look. Costs one `stat` a file when nothing did.
    pub fn look(&mut self) -> Look {
        let mut look = Look::default();
        let mut has_changed = !std::mem::replace(&mut self.has_looked, true);
        let files = self.files(&mut look.problems);
        self.known.retain(|path, _| {
            let stays = files.contains(path);
            has_changed |= !stays;
            stays
        });
        for path in files {
            has_changed |=
                self.known.entry(path.clone()).or_default().look(&path, self.node_labels, &mut look.problems);
        }
        if has_changed {
            look.policies = Some(self.known.values().flat_map(|known| known.good.iter().cloned()).collect());
        }
        look
    }

    /// Every named file, there or not, and the policy files of every folder.
    fn files(&self, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for path in &self.paths {
            if !path.is_dir() {
                files.push(path.clone());
                continue;
            }
            match fs::read_dir(path) {
                Ok(entries) => {
                    files.extend(entries.flatten().map(|entry| entry.path()).filter(|path| is_policy_file(path)))
                }
                Err(source) => {
                    problems.push(Problem::Unreadable { path: path.clone(), source });
                    files.extend(self.known.keys().filter(|known| known.parent() == Some(path)).cloned());
                }
            }
        }
        files.sort();
        files.dedup();
        files
    }
}

impl Known {
    /// True when the file's good policies are others now.
    fn look(&mut self, path: &Path, node_labels: NodeLabels, problems: &mut Vec<Problem>) -> bool {
        let metadata = fs::metadata(path);
        let version = metadata.as_ref().ok().map(Version::of);
        if version.is_some() && version == self.version {
            return false;
        }
        self.version = version;
        let (bytes, modified) = match metadata.and_then(|metadata| Ok((read(path)?, metadata.modified()?))) {
            Ok(read) => read,
            Err(source) => {
                if !std::mem::replace(&mut self.is_told, true) {
                    problems.push(Problem::Unreadable { path: path.to_owned(), source });
                }
                return false;
            }
        };
        self.is_told = false;
        let (mut policies, mut faults) = policy::load(&path.display().to_string(), &bytes);
        policies.iter_mut().for_each(|policy| policy.created = Some(modified));
        if node_labels == NodeLabels::Never {
            faults.extend(policies.iter().filter_map(CheckedPolicy::fault_without_node_labels));
        }
        let left_out = policies.iter().flat_map(|policy| {
            let name = policy.name.to_string();
            policy
                .refusals
                .iter()
                .map(move |refusal| Problem::LeftOut { policy: name.clone(), refusal: refusal.to_string() })
        });
        problems.extend(left_out);
        let is_good = faults.is_empty();
        problems.extend(faults.into_iter().map(Problem::from));
        if is_good {
            self.good = policies;
        }
        is_good
    }
}

fn is_policy_file(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let is_named_so =
        path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|one| extension == *one));
    is_named_so && !is_hidden && path.is_file()
}

/// No more than one byte past what a policy file may have: the size is then the parser's to refuse.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(policy::MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tempfile::TempDir;

    use super::*;

    fn document(name: &str, spec: &str) -> String {
        format!("apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: {name}}}\nspec: {spec}\n")
    }

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        files.iter().for_each(|(name, text)| write(&folder, name, text));
        folder
    }

    /// As editors do: a new file takes the old one's place.
    fn write(folder: &TempDir, name: &str, text: &str) {
        let new = folder.path().join(".new");
        fs::write(&new, text).expect("the folder is writable");
        fs::rename(new, folder.path().join(name)).expect("the folder is writable");
    }

    fn names(look: &Look) -> Option<Vec<&str>> {
        Some(look.policies.as_ref()?.iter().map(|policy| &*policy.name).collect())
    }

    #[test]
    fn folder_is_followed() {
        let folder = folder(&[("a.yaml", &document("a", "{}")), ("notes.txt", "no policy"), (".b.yaml", "hidden")]);
        let mut files = PolicyFiles::new(vec![folder.path().to_owned()], NodeLabels::Never);
        assert_eq!(names(&files.look()), Some(vec!["a"]));
        assert_eq!(names(&files.look()), None);
        write(&folder, "b.yml", &document("b", "{}"));
        assert_eq!(names(&files.look()), Some(vec!["a", "b"]));
        fs::remove_file(folder.path().join("a.yaml")).expect("it is there");
        assert_eq!(names(&files.look()), Some(vec!["b"]));
    }

    #[test]
    fn broken_edit_keeps_the_last_good_version_and_is_told_once() {
        let folder = folder(&[("a.yaml", &document("a", "{}"))]);
        let mut files = PolicyFiles::new(vec![folder.path().join("a.yaml")], NodeLabels::Never);
        assert_eq!(names(&files.look()), Some(vec!["a"]));
        write(&folder, "a.yaml", "kind: [");
        let look = files.look();
        assert_eq!((names(&look), look.problems.len()), (None, 1));
        assert!(
            look.problems[0].is_refusal() && look.problems[0].to_string().contains("a.yaml"),
            "{:?}",
            look.problems
        );
        assert_eq!(files.look().problems.len(), 0);
        write(&folder, "a.yaml", &document("c", "{}"));
        assert_eq!(names(&files.look()), Some(vec!["c"]));
    }

    #[test]
    fn named_file_that_goes_keeps_its_policies_and_is_told_once() {
        let folder = folder(&[("a.yaml", &document("a", "{}"))]);
        let mut files = PolicyFiles::new(vec![folder.path().join("a.yaml")], NodeLabels::Never);
        files.look();
        fs::remove_file(folder.path().join("a.yaml")).expect("it is there");
        let look = files.look();
        assert_eq!((names(&look), look.problems.len()), (None, 1));
        assert_eq!(files.look().problems.len(), 0);
        write(&folder, "a.yaml", &document("b", "{}"));
        assert_eq!(names(&files.look()), Some(vec!["b"]));
    }

    #[test]
    fn node_selector_is_refused_where_no_labels_will_come() {
        let folder = folder(&[("a.yaml", &document("a", "{nodeSelector: {matchLabels: {canary: 'true'}}}"))]);
        let path = vec![folder.path().join("a.yaml")];
        let look = PolicyFiles::new(path.clone(), NodeLabels::Never).look();
        assert_eq!(names(&look), Some(vec![]));
        assert!(look.problems[0].is_refusal(), "{:?}", look.problems);
        assert!(look.problems[0]
            .to_string()
            .contains("spec.nodeSelector: nodeSelector goes by labels that Kubernetes"));
        let look = PolicyFiles::new(path, NodeLabels::FromKubernetes).look();
        assert_eq!((names(&look), look.problems.len()), (Some(vec!["a"]), 0));
    }

    #[test]
    fn policy_is_as_old_as_its_files_last_change() {
        let folder = folder(&[("a.yaml", &document("a", "{expireAfter: 1h}"))]);
        let path = folder.path().join("a.yaml");
        let mut files = PolicyFiles::new(vec![path.clone()], NodeLabels::Never);
        for changed in [SystemTime::UNIX_EPOCH + Duration::from_secs(7), SystemTime::UNIX_EPOCH] {
            File::options().write(true).open(&path).and_then(|file| file.set_modified(changed)).expect("it is ours");
            let policies = files.look().policies.expect("the file changed");
            assert_eq!(policies[0].created, Some(changed));
            assert_eq!(policies[0].expires_at(), Some(changed + Duration::from_secs(3600)));
        }
    }

    #[test]
    fn unknown_name_is_left_out_and_the_rest_applies() {
        let folder = folder(&[("a.yaml", &document("a", "{syscalls: [{name: opnat}, {name: mkdir}]}"))]);
        let mut files = PolicyFiles::new(vec![folder.path().join("a.yaml")], NodeLabels::Never);
        let look = files.look();
        assert_eq!(names(&look), Some(vec!["a"]));
        assert!(
            !look.problems[0].is_refusal() && look.problems[0].to_string().contains("opnat"),
            "{:?}",
            look.problems
        );
    }
}
