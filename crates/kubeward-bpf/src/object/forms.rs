//! The two forms of each object that the binary carries: how their programs read tasks. The first is verified in a quarter of the
//! time by kernels from 6.3 to 6.19; the second loads where a kernel refuses the first.

use libbpf_rs::{ObjectBuilder, OpenObject};

use super::{refused, LoadError, LOADING};

/// How the programs of an object read the fields of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskReads {
    /// Through `bpf_rdonly_cast` where the kernel has it (6.2). It takes that only with its JIT on, and only where its type
    /// information has the task's type once.
    ByCast,
    /// Through the typed pointer, on every kernel.
    ByType,
}

/// An object as build.rs has compiled and compressed it: they are a tenth of the program otherwise.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) by_cast: &'static [u8],
    pub(crate) by_type: &'static [u8],
}

/// The [`Packed`] object of a source file.
macro_rules! packed {
    ($name:literal) => {
        $crate::object::Packed {
            by_cast: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".bpf.o.z")),
            by_type: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".by_type.bpf.o.z")),
        }
    };
}
pub(crate) use packed;

impl Packed {
    pub(crate) fn open(&self, reads: TaskReads) -> Result<OpenObject, LoadError> {
        let bytes = self.bytes(reads)?;
        ObjectBuilder::default().open_memory(&bytes).map_err(refused("opening"))
    }

    fn bytes(&self, reads: TaskReads) -> Result<Vec<u8>, LoadError> {
        let compressed = match reads {
            TaskReads::ByCast => self.by_cast,
            TaskReads::ByType => self.by_type,
        };
        miniz_oxide::inflate::decompress_to_vec(compressed).map_err(|_| LoadError::Packed)
    }
}

/// What was loaded, in which form, and what the kernel said of the first form where it took the second.
#[derive(Debug)]
pub(crate) struct Loaded<T> {
    pub(crate) object: T,
    pub(crate) reads: TaskReads,
    pub(crate) refusal: Option<LoadError>,
}

/// Loads the form that is asked for, or where the kernel refuses the first one the second. Where it refuses both, the cast is not
/// why, and the error is the first one's.
pub(crate) fn load_either<T>(
    reads: TaskReads,
    load: impl Fn(TaskReads) -> Result<T, LoadError>,
) -> Result<Loaded<T>, LoadError> {
    match load(reads) {
        Ok(object) => Ok(Loaded { object, reads, refusal: None }),
        Err(refusal) if reads == TaskReads::ByCast && refusal.is_of(LOADING) => match load(TaskReads::ByType) {
            Ok(object) => Ok(Loaded { object, reads: TaskReads::ByType, refusal: Some(refusal) }),
            Err(_) => Err(refusal),
        },
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::MONITOR;
    use super::*;
    use crate::process;

    fn refusal(step: &'static str) -> LoadError {
        let source = libbpf_rs::Error::from_raw_os_error(libc::EOPNOTSUPP);
        LoadError::Refused { step, log: "JIT is required for calling kernel function".to_owned(), source }
    }

    fn only_by_type(reads: TaskReads) -> Result<TaskReads, LoadError> {
        if reads == TaskReads::ByType {
            Ok(reads)
        } else {
            Err(refusal(LOADING))
        }
    }

    #[test]
    fn form_that_the_kernel_refuses_gives_way_to_the_other() {
        let loaded = load_either(TaskReads::ByCast, only_by_type).expect("the second is taken");
        assert_eq!((loaded.object, loaded.reads), (TaskReads::ByType, TaskReads::ByType));
        assert!(loaded.refusal.expect("the first was refused").to_string().contains("JIT is required"));
        let loaded = load_either(TaskReads::ByCast, Ok).expect("the first is taken");
        assert_eq!((loaded.object, loaded.reads), (TaskReads::ByCast, TaskReads::ByCast));
        assert!(loaded.refusal.is_none());
    }

    #[test]
    fn refusal_that_is_not_the_casts_is_told_as_it_is() {
        let error = load_either(TaskReads::ByCast, |reads| {
            let step = if reads == TaskReads::ByCast { LOADING } else { "opening" };
            Err::<(), _>(refusal(step))
        });
        assert!(error.expect_err("both are refused").is_of(LOADING));
        let error = load_either(TaskReads::ByCast, |reads| match reads {
            TaskReads::ByCast => Err(refusal("sizing a map")),
            TaskReads::ByType => Ok(()),
        });
        assert!(error.expect_err("a size is the same in both forms").is_of("sizing a map"));
        let error = load_either(TaskReads::ByType, |_| Err::<(), _>(refusal(LOADING)));
        assert!(error.is_err(), "there is no third form");
    }

    /// The kernel refuses it by its name, be it called or not.
    #[test]
    fn second_form_does_not_name_the_cast() {
        let names = |reads| process::contains(&MONITOR.bytes(reads).expect("it is whole"), b"bpf_rdonly_cast");
        assert!(names(TaskReads::ByCast));
        assert!(!names(TaskReads::ByType));
    }
}
