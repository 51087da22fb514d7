//! `shiftnet bench`

use super::progress::eprintln_lossy;
use super::{Outcome, check_output, print};
use crate::bench::record::{Record, RunTimes, ScalePoint};
use crate::bench::runs::{self, Work};
use crate::bench::scale::{self, Setting, Sweep};
use crate::bench::{Budget, ceilings, compare, data, kernels, table};
use crate::engine::Target;
use crate::error::{Error, Result};
use crate::files;
use crate::gpu::AdapterInfo;
use crate::kernels::choose::Choices;
use crate::method::{Method, MethodName};
use crate::model::Arch;
use crate::report::sheet::{self, Panel};
use crate::train::settings::check_batch;
use std::path::PathBuf;

/// What to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// Each kernel at the shapes of a network's layers
    Kernels,
    /// Training steps, by phase
    Train,
    /// Evaluations
    Infer,
    /// All of these
    #[default]
    All,
    /// Reading the images of --data
    Data,
    /// Training against the batch (8 to 1024), the depth (resnet8 to resnet110) and the bits (2 to 5)
    Scale,
}

impl What {
    fn includes(self, other: What) -> bool {
        self == other || (self == What::All && !matches!(other, What::Scale | What::Data))
    }
}

/// Which methods to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Methods {
    S3,
    Fp32,
    #[default]
    Both,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0, or 1 where --compare found something slower or a kernel is wrong, 2 for a \
mistake in the arguments."
)]
pub struct Args {
    /// What to measure
    #[arg(default_value = "all")]
    what: What,

    /// Architecture, once or more [default: resnet20, resnet18 and resnet50; on CPU cores, for train and infer, and for
    /// scale resnet20]
    #[arg(short = 'a', long, value_name = "NAME")]
    arch: Vec<Arch>,

    /// Images of a batch [default: 128; for ImageNet networks 64, and 2 on CPU cores; for scale 32, and batches up to 1024
    /// else up to this]
    #[arg(short = 'b', long, value_name = "N")]
    batch_size: Option<usize>,

    /// s3, fp32, or both in turn
    #[arg(long, default_value = "both")]
    method: Methods,

    /// Bits of an S³ weight
    #[arg(long, value_name = "N", default_value_t = 3)]
    bits: u32,

    /// A part of an adapter's name, its index, or host
    #[arg(long, value_name = "NAME|INDEX|host")]
    adapter: Option<String>,

    /// Use this variant of a kernel, or family of variants, wherever it can run
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,

    /// Keep the checks of indices, divisors and loops in shaders
    #[arg(long)]
    checked: bool,

    /// Seconds for each kernel, after its first 3 samples; a network's steps get 30 times that
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    seconds: f64,

    /// resnet20 alone, at a fifth of the time
    #[arg(long)]
    quick: bool,

    /// The image folder, or packed file, that `data` reads
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Height and width of its images [default: 224, or what a packed file was made for]
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,

    /// Write what was measured to this file
    #[arg(long, value_name = "OUT.json")]
    json: Option<PathBuf>,

    /// Draw what `scale` measures
    #[arg(long, value_name = "OUT.svg")]
    plot: Option<PathBuf>,

    /// Tell what is slower than in this file of --json by more than the spread; exit code 1 where something is
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<Outcome> {
    let methods = args.methods()?;
    [&args.json, &args.plot].into_iter().flatten().try_for_each(|path| check_output(path, &[]))?;
    if args.what == What::Data {
        return images(args);
    }
    // Before hours of work, not after them.
    let old = args.compare.as_deref().map(Record::read).transpose()?;
    let choices = args.variant.as_deref().map(Choices::forced).transpose()?.unwrap_or_default();
    let target = Target::choose(args.adapter.as_deref())?.checked(args.checked).with_choices(choices);
    let mut record = Record::new(target.info());
    print(&format!("{} on {}, {} cores", record.adapter, record.machine.cpu, record.machine.cores))?;
    if args.what == What::Scale {
        scale(args, &target, &mut record)?;
    } else {
        record.ceilings = ceilings::measure(&target, args.budget(), &mut eprintln_lossy)?;
        print(&format!("\n{}", table::ceilings(&record.ceilings)))?;
        kernels(args, methods[0], &target, &mut record)?;
        runs(args, &methods, &target, &mut record)?;
    }
    if let Some(path) = &args.json {
        files::write(path, &json(&record))?;
        eprintln_lossy(&format!("wrote {}", path.display()));
    }
    let Some(old) = old else { return Ok(Outcome::Done) };
    let changes = compare::changes(&old, &record)?;
    print(&format!("\n{}", compare::report(&changes)))?;
    Ok(if changes.iter().any(compare::Change::is_slower) { Outcome::Slower } else { Outcome::Done })
}

/// Reads images, without an adapter.
fn images(args: &Args) -> Result<Outcome> {
    let Some(path) = &args.data else {
        return Err(Error::Usage(
            "bench data needs --data: an image folder, or a file of `shiftnet data pack`".into(),
        ));
    };
    let mut record = Record::new(AdapterInfo::host(false));
    print(&format!("{} on {}, {} cores", path.display(), record.machine.cpu, record.machine.cores))?;
    record.data = data::measure(path, args.image_size, args.budget().of_data())?;
    print(&table::data(&record.data))?;
    if let Some(path) = &args.json {
        files::write(path, &json(&record))?;
        eprintln_lossy(&format!("wrote {}", path.display()));
    }
    Ok(Outcome::Done)
}

fn kernels(args: &Args, method: Method, target: &Target, record: &mut Record) -> Result<()> {
    if !args.what.includes(What::Kernels) {
        return Ok(());
    }
    for arch in args.archs(What::Kernels, target)? {
        let (batch, adapter) = (args.batch(arch, target), (target, args.budget()));
        let times = kernels::measure(arch, method, batch, &record.ceilings, adapter, &mut eprintln_lossy)?;
        print(&format!("\n{arch}, {method}, batch {batch}\n{}", table::kernels(&times)))?;
        record.kernels.extend(times);
    }
    Ok(())
}

fn runs(args: &Args, methods: &[Method], target: &Target, record: &mut Record) -> Result<()> {
    for (what, work, name) in
        [(What::Train, Work::Train, "training"), (What::Infer, Work::Infer, "inference")]
    {
        if !args.what.includes(what) {
            continue;
        }
        let mut all: Vec<RunTimes> = Vec::new();
        for arch in args.archs(what, target)? {
            let (batch, adapter) = (args.batch(arch, target), (target, args.budget()));
            all.extend(runs::measure(arch, methods, batch, work, adapter, &mut eprintln_lossy)?);
        }
        print(&format!("\n{}", table::runs(name, &all)))?;
        if work == Work::Train { record.train = all } else { record.infer = all }
    }
    Ok(())
}

fn scale(args: &Args, target: &Target, record: &mut Record) -> Result<()> {
    let arch = args.arch.first().copied().map_or_else(|| "resnet20".parse(), Ok)?;
    let base = Setting { arch, bits: args.bits, batch: args.batch_size.unwrap_or(32) };
    for sweep in Sweep::ALL {
        eprintln_lossy(&format!("training against the {}", sweep.name()));
        let most = args.batch_size.map_or(1024, |batch| batch.max(8));
        let settings = scale::settings(sweep, base, most);
        let points = scale::measure(sweep, &settings, (target, args.budget()), &mut eprintln_lossy)?;
        record.scale.extend(points);
    }
    print(&format!("\n{}", table::scale(&record.scale)))?;
    if let Some(path) = &args.plot {
        files::write(path, plot(record, base).as_bytes())?;
        eprintln_lossy(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// Images/s above, memory below, against what varies.
fn plot(record: &Record, base: Setting) -> String {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let panel = |sweep: Sweep, y_unit: &str, value: &dyn Fn(&ScalePoint) -> f64| {
        let Setting { arch, bits, batch } = base;
        let rest = match sweep {
            Sweep::Batch => format!("{arch}, {bits} bits"),
            Sweep::Depth => format!("batch {batch}, {bits} bits"),
            Sweep::Bits => format!("{arch}, batch {batch}"),
        };
        let name = |p: &ScalePoint| match sweep {
            Sweep::Batch => p.batch.to_string(),
            Sweep::Depth => p.arch.trim_start_matches("resnet").to_string(),
            Sweep::Bits => p.bits.to_string(),
        };
        let own = record.scale.iter().filter(|p| p.sweep == sweep.name());
        Panel {
            title: format!("{rest}, against the {}", sweep.name()),
            x_unit: sweep.name().into(),
            y_unit: y_unit.into(),
            points: own.map(|p| (name(p), value(p))).collect(),
        }
    };
    let speed = Sweep::ALL.map(|sweep| panel(sweep, "images/s", &|p| p.images_per_s));
    let memory = Sweep::ALL.map(|sweep| panel(sweep, "plan (MiB)", &|p| mebibytes(p.plan_bytes)));
    let title = format!(
        "Training with S³ on {} ({}), shiftnet {} {}",
        record.adapter.name, record.date, record.version, record.commit
    );
    sheet::svg(&title, &[speed, memory].concat())
}

/// A value as a file of JSON.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain data");
    text.push(b'\n');
    text
}

impl Args {
    fn methods(&self) -> Result<Vec<Method>> {
        self.batch_size.map_or(Ok(()), check_batch)?;
        if !(self.seconds > 0.0 && self.seconds < 1e6) {
            return Err(Error::setting("--seconds", self.seconds, "positive, below a million"));
        }
        if self.plot.is_some() && self.what != What::Scale {
            return Err(Error::Usage("--plot draws what `bench scale` measures".into()));
        }
        if let Some(path) = self.plot.as_ref().filter(|path| path.extension().is_none_or(|e| e != "svg")) {
            return Err(Error::setting("--plot", path.display(), "the name of an .svg file"));
        }
        let data = self.what == What::Data;
        if data
            && (!self.arch.is_empty()
                || self.adapter.is_some()
                || self.variant.is_some()
                || self.method != Methods::Both)
        {
            return Err(Error::Usage("`bench data` reads images, without a network or an adapter".into()));
        }
        if self.what == What::Scale && (self.arch.len() > 1 || self.method == Methods::Fp32) {
            return Err(Error::Usage("`bench scale` measures one --arch, with S³".into()));
        }
        if !data && (self.data.is_some() || self.image_size.is_some()) {
            return Err(Error::Usage("--data and --image-size are for `bench data`".into()));
        }
        if data && self.compare.is_some() {
            return Err(Error::Usage("--compare compares what runs on an adapter, not `bench data`".into()));
        }
        self.image_size.map_or(Ok(()), |side| crate::data::check_side("--image-size", side))?;
        let s3 = Method::new(MethodName::S3, self.bits)?;
        Ok(match self.method {
            Methods::S3 => vec![s3],
            Methods::Fp32 => vec![Method::FP32],
            Methods::Both => vec![s3, Method::FP32],
        })
    }

    fn budget(&self) -> Budget {
        Budget { seconds: self.seconds / if self.quick { 5.0 } else { 1.0 } }
    }

    fn archs(&self, what: What, target: &Target) -> Result<Vec<Arch>> {
        let names: &[&str] = match (what, target.info().kind.on_cores(), self.quick) {
            (_, _, true) | (What::Train | What::Infer, true, _) => &["resnet20"],
            _ => &["resnet20", "resnet18", "resnet50"],
        };
        match self.arch.is_empty() {
            true => names.iter().map(|name| name.parse()).collect(),
            false => Ok(self.arch.clone()),
        }
    }

    fn batch(&self, arch: Arch, target: &Target) -> usize {
        self.batch_size.unwrap_or(match (arch.is_imagenet(), target.info().kind.on_cores()) {
            (false, _) => 128,
            (true, false) => 64,
            (true, true) => 2,
        })
    }
}
