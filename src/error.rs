//! The one error type: what happened, to which tensor or file, what was expected, what to do next.

use std::path::{Path, PathBuf};

/// What may end with the one error type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in words for whoever runs the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // Settings and arguments: exit code 2.
    /// A setting outside its legal values.
    #[error("{setting} is {got}, but must be {expected}. {remedy}")]
    Setting { setting: String, got: String, expected: String, remedy: String },
    /// By Ctrl-C, where nothing is kept.
    #[error("interrupted: nothing was written")]
    Interrupted,
    /// Settings that do not go together.
    #[error("{0}")]
    Usage(String),

    // Files and data.
    /// A file that cannot be read or written: what was tried, and what the system says.
    #[error("could not {action} {}: {source}. {remedy}", path.display())]
    Io { action: &'static str, path: PathBuf, remedy: String, source: std::io::Error },
    /// A dataset that is not there, or not what its name says.
    #[error("{}: {problem}. {remedy}", path.display())]
    Data { path: PathBuf, problem: String, remedy: String },
    /// A file that is no image, or a damaged one.
    #[error("{}: {problem}. {remedy}", path.display())]
    Image { path: PathBuf, problem: String, remedy: String },
    /// A checkpoint or weight file that cannot be used.
    #[error("{}: {problem}. {remedy}", path.display())]
    Checkpoint { path: PathBuf, problem: String, remedy: String },

    // Planning and running.
    /// A tensor of the wrong size handed to a kernel.
    #[error(
        "{op}: {tensor} has {got} elements where {expected} are needed; the plan is inconsistent, please report it"
    )]
    Shape { op: &'static str, tensor: &'static str, expected: usize, got: usize },
    /// A buffer larger than what the adapter can bind or allocate.
    #[error(
        "buffer {buffer} needs {needs} bytes, but {adapter} binds at most {limit} bytes at once. \
         Use a smaller --batch-size; `train` can also cut the batch into micro-batches with --accumulate."
    )]
    TooLarge { buffer: String, needs: u64, limit: u64, adapter: String },
    /// A kernel whose result is not its CPU twin's.
    #[error(
        "{kernel} of {layer} on {adapter} differs from its CPU twin: {problem}. Please report it, with the adapter and \
         its driver; another --adapter may be right."
    )]
    Wrong { kernel: &'static str, layer: String, adapter: String, problem: String },
    /// A layer that the arithmetic asked for cannot compute.
    #[error("{layer}: {problem}. Use another arithmetic (--arith float computes every network).")]
    Arithmetic { layer: String, problem: String },
    /// No adapter of the name or number that was asked for, or one that cannot be opened.
    #[error("{problem}. {remedy}")]
    Adapter { problem: String, remedy: String },
    /// Validation, out-of-memory and internal errors that the GPU reported, and device loss.
    #[error(
        "the GPU reported an error: {0}. If its memory ran out, use a smaller --batch-size (or, to train, --accumulate); \
         else update the driver, or choose another adapter with --adapter."
    )]
    Gpu(String),
    /// A loss, or weights, that are not finite: at which step, the loss, the first such tensor in the order of the computation, and
    /// what the run can go on from.
    #[error(
        "{} is {loss} at step {step}; the first tensor that is not finite is {layer}. The last good \
         checkpoint is {checkpoint}. Try a smaller --lr.",
        if loss.is_finite() { "weights are not finite, though the loss" } else { "the loss" }
    )]
    NonFinite { step: u64, loss: f32, layer: String, checkpoint: String },
}

impl Error {
    /// The process's exit code: 2 for a mistake in the arguments, 130 for Ctrl-C, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Setting { .. } | Error::Usage(_) => 2,
            Error::Interrupted => 130,
            _ => 1,
        }
    }

    /// [`Error::Setting`], with `--help` for a remedy.
    pub fn setting(setting: &str, got: impl ToString, expected: impl ToString) -> Self {
        Error::Setting {
            setting: setting.into(),
            got: got.to_string(),
            expected: expected.to_string(),
            remedy: "See --help.".into(),
        }
    }

    /// [`Error::Io`]: `action` is a verb (`read`), and the remedy follows from the system's error.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        use std::io::ErrorKind::*;
        let remedy = match source.kind() {
            NotFound => "Check the path.",
            PermissionDenied | ReadOnlyFilesystem => {
                "Choose a place that you may write to, or change its permissions."
            }
            StorageFull | QuotaExceeded => "Free some space, or choose another place with --out.",
            NotADirectory | AlreadyExists => {
                "A file stands where a directory is expected: choose another path."
            }
            _ => "Check the file and the disk it is on.",
        };
        Error::Io { action, path: path.as_ref().into(), remedy: remedy.into(), source }
    }

    /// [`Error::Data`].
    pub fn data(path: impl AsRef<Path>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::Data { path: path.as_ref().into(), problem: problem.into(), remedy: remedy.into() }
    }

    /// [`Error::Checkpoint`].
    pub fn checkpoint(path: impl AsRef<Path>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::Checkpoint { path: path.as_ref().into(), problem: problem.into(), remedy: remedy.into() }
    }
}
