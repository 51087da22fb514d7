//! `shiftnet devices`

use super::{Outcome, print, print_json};
use crate::error::Result;
use crate::gpu::AdapterInfo;
use crate::gpu::adapter::{self, Choice};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// One JSON array
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Outcome> {
    let adapters = adapter::all()?;
    let default = match adapter::choose_among(adapters.clone(), None) {
        Ok(Choice::Gpu(adapter)) => Some(adapter.info),
        Ok(Choice::Host) => Some(AdapterInfo::host(false)),
        Err(_) => None,
    };
    let infos = adapters.iter().map(|a| (a.info.clone(), Some(a.max_binding())));
    let infos: Vec<(AdapterInfo, Option<u64>)> = infos.chain([(AdapterInfo::host(false), None)]).collect();
    if args.json {
        let value = |(i, (info, binding)): (usize, &(AdapterInfo, Option<u64>))| {
            serde_json::json!({
                "index": binding.map(|_| i), "name": info.name, "kind": info.kind, "backend": info.backend,
                "driver": info.driver, "max_binding_bytes": binding, "default": default.as_ref() == Some(info),
            })
        };
        print_json(&infos.iter().enumerate().map(value).collect::<Vec<_>>())?;
        return Ok(Outcome::Done);
    }
    for (i, (info, binding)) in infos.iter().enumerate() {
        let mark = if default.as_ref() == Some(info) { '*' } else { ' ' };
        let index = if binding.is_some() { i.to_string() } else { "-".into() };
        let limit = binding.map_or(String::new(), |bytes| format!(", binds up to {} MiB", bytes >> 20));
        print(&format!("{mark} {index}  {info}{limit}"))?;
    }
    print("* is what runs without --adapter; choose with --adapter INDEX, a part of a NAME, or host")?;
    Ok(Outcome::Done)
}
