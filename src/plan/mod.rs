//! The plan: plain data that lists every buffer and every dispatch of a network's training step and
//! evaluation. Planning needs no GPU; an engine executes the plan.

pub mod lifetimes;
pub mod print;

use crate::error::{Error, Result};

/// Views start at multiples of this many elements: 256 bytes, the default
/// `min_storage_buffer_offset_alignment`.
pub const ALIGN: usize = 64;

/// `len` rounded up to a legal view offset.
pub fn align(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

/// A buffer's place in [`Plan::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub usize);

/// Element type of a buffer. All are 4 bytes; u8 images are packed four to a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elem {
    F32,
    U32,
}

/// What a buffer is for; it decides its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Learned values, kept in checkpoints.
    Parameter,
    /// Momenta, running statistics, counters: lives as long as the plan.
    State,
    /// Gradients of the parameters: lives from backward to update.
    Gradient,
    /// Written by the host before a step.
    Input,
    /// Lives from its first to its last dispatch; its memory is shared.
    Scratch,
}

/// A typed, named buffer. `shape` is the logical shape, outermost first.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub name: String,
    pub shape: Vec<usize>,
    pub elem: Elem,
    pub role: Role,
}

impl Buffer {
    /// Elements (4 bytes each).
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.len() as u64 * 4
    }
}

/// What kind of device an adapter is, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    Discrete,
    Integrated,
    Virtual,
    Other,
    /// Vulkan on CPU cores, such as llvmpipe.
    Software,
    /// The host engine.
    Host,
}

impl AdapterKind {
    /// Whether kernels run on CPU cores, and buffers lie in the host's memory.
    pub fn on_cores(self) -> bool {
        matches!(self, AdapterKind::Software | AdapterKind::Host)
    }
}

/// What a plan has to know of the adapter that it is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    pub kind: AdapterKind,
    /// The largest binding, in bytes.
    pub max_binding: u64,
    /// Whether subgroups have at least 8 lanes, aligned, with shuffles.
    pub subgroups: bool,
}

impl Capabilities {
    /// About how many invocations fill the adapter: what a kernel that can be cut is cut for.
    pub fn invocations(&self) -> usize {
        match self.kind {
            AdapterKind::Software | AdapterKind::Host => 512,
            AdapterKind::Integrated | AdapterKind::Other => 4096,
            AdapterKind::Discrete | AdapterKind::Virtual => 16_384,
        }
    }
}

/// A contiguous part of a buffer: offset and length in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    pub buffer: BufferId,
    pub offset: usize,
    pub len: usize,
}

impl View {
    /// The part of this view that starts at `offset`, `len` elements long.
    pub fn slice(self, offset: usize, len: usize) -> View {
        debug_assert!(offset + len <= self.len);
        View { buffer: self.buffer, offset: self.offset + offset, len }
    }
}

/// What a dispatch costs: floating-point operations (1 multiply-add = 2) and bytes moved at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub flops: u64,
    pub bytes: u64,
}

/// One run of one kernel.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The layer it works for, as in the checkpoint: `layer1.0.conv1`.
    pub label: String,
    /// The kernel's name: `shaders/<stem>.wgsl`, or `shaders/<stem>/<variant>.wgsl`.
    pub stem: &'static str,
    /// Which of the kernel's shaders runs; the empty name is its only one.
    pub variant: &'static str,
    /// The kernel's parameters, as its uniform buffer holds them.
    pub params: Vec<u8>,
    /// One view per storage binding, in binding order.
    pub views: Vec<View>,
    /// Workgroups in x and y.
    pub groups: [u32; 2],
    pub cost: Cost,
}

/// The dispatch lists of a plan, in the order in which a step replays them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum List {
    /// Images to loss, with batch statistics.
    Forward,
    /// Loss to weight gradients, which are overwritten.
    Backward,
    /// The same, adding to the gradients: for every micro-batch but the first.
    BackwardAdd,
    /// Gradients to new parameters.
    Update,
    /// Latents that the host wrote to weights, where these depend on their layer.
    Weights,
    /// Images to per-image loss and hits, with running statistics.
    Evaluate,
}

impl List {
    /// In the order of their numbers.
    pub const ALL: [List; 6] =
        [List::Forward, List::Backward, List::BackwardAdd, List::Update, List::Weights, List::Evaluate];
}

/// Buffers and dispatches of a network at one batch size.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub buffers: Vec<Buffer>,
    lists: [Vec<Dispatch>; List::ALL.len()],
}

impl Plan {
    /// Adds a buffer and returns a view of the whole of it.
    pub fn buffer(&mut self, name: impl Into<String>, shape: &[usize], elem: Elem, role: Role) -> View {
        let buffer = Buffer { name: name.into(), shape: shape.to_vec(), elem, role };
        let view = View { buffer: BufferId(self.buffers.len()), offset: 0, len: buffer.len() };
        self.buffers.push(buffer);
        view
    }

    /// Adds an f32 scratch buffer.
    pub fn scratch(&mut self, name: impl Into<String>, shape: &[usize]) -> View {
        self.buffer(name, shape, Elem::F32, Role::Scratch)
    }

    /// Adds a dispatch at the end of `list`.
    pub fn push(&mut self, list: List, dispatch: Dispatch) {
        self.lists[list as usize].push(dispatch);
    }

    /// The dispatches of `list`, in the order in which they run.
    pub fn list(&self, list: List) -> &[Dispatch] {
        &self.lists[list as usize]
    }

    /// The name of the buffer that `view` is of.
    pub fn name(&self, view: View) -> &str {
        &self.buffers[view.buffer.0].name
    }

    /// Bytes of the largest buffer.
    pub fn largest_buffer(&self) -> u64 {
        self.buffers.iter().map(Buffer::bytes).max().unwrap_or(0)
    }

    /// Fails where a buffer is larger than `limit` bytes.
    pub fn check_limit(&self, limit: u64, adapter: &str) -> Result<()> {
        let largest = self.buffers.iter().max_by_key(|b| b.bytes());
        match largest {
            Some(b) if b.bytes() > limit => Err(Error::TooLarge {
                buffer: b.name.clone(),
                needs: b.bytes(),
                limit,
                adapter: adapter.into(),
            }),
            _ => Ok(()),
        }
    }
}
