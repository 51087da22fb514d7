//! `shiftnet data`

use super::progress::eprintln_lossy;
use super::{Outcome, check_output, interrupt, print};
use crate::data::folder;
use crate::data::pack::{self, Event};
use crate::error::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Decode and resize an image folder once, into one file that training reads faster
    Pack(Pack),
}

#[derive(Debug, clap::Args)]
struct Pack {
    /// A folder with train/CLASS/ and val/CLASS/, or val/CLASS/ alone
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// The file to write, for --dataset image-folder --data
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// Height and width of the images that networks will see
    #[arg(long, value_name = "N", default_value_t = folder::SIDE)]
    image_size: usize,

    /// Refuse a folder with an image that cannot be read, in place of leaving it out
    #[arg(long)]
    strict: bool,
}

pub fn run(args: &Args) -> Result<Outcome> {
    match &args.command {
        Command::Pack(args) => pack(args),
    }
}

fn pack(args: &Pack) -> Result<Outcome> {
    if args.out.file_name().is_none() || args.out.is_dir() {
        return Err(Error::setting("OUT", args.out.display(), "the name of a file"));
    }
    check_output(&args.out, &[])?;
    let images = ["train", "val"].map(|split| args.directory.join(split));
    if images.iter().any(|split| args.out.starts_with(split)) {
        return Err(Error::setting("OUT", args.out.display(), "elsewhere than among the images"));
    }
    let stop = Arc::<AtomicBool>::default();
    interrupt::ends(stop.clone(), "removing what is written of the file");
    let mut tenths = 0;
    let mut tell = |event| {
        match event {
            Event::Unreadable(problem) => eprintln_lossy(&format!("warning: {problem}. It is left out")),
            Event::Written(images, all) if 10 * images / all > tenths => {
                tenths = 10 * images / all;
                eprintln_lossy(&format!("{images} of {all} images"));
            }
            Event::Written(..) => {}
        }
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    };
    let packed = pack::write(&args.directory, &args.out, args.image_size, args.strict, &mut tell)?;
    let pack::Contents { classes, short_side, train, val, .. } = &packed.contents;
    let left_out = match packed.unreadable {
        0 => String::new(),
        images => format!("; {images} that cannot be read are left out"),
    };
    print(&format!(
        "wrote {}: {train} training and {val} test images of {} classes, short sides {short_side}, {} bytes{left_out}",
        args.out.display(),
        classes.len(),
        packed.bytes,
    ))?;
    Ok(Outcome::Done)
}
