//! Moving a network's tensors between the host and an engine.

use super::Network;
use super::params::{Store, Tensor};
use crate::engine::Engine;
use crate::error::Result;
use crate::plan::{BufferId, View};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// Tensors by name, in PyTorch's shapes and order.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The prefix of a momentum's name.
pub const MOMENTUM: &str = "momentum.";

/// The names and shapes of a checkpoint's tensors, momenta too.
pub fn manifest(store: &Store) -> BTreeMap<String, Vec<usize>> {
    let momenta = store.tensors.iter().filter(|t| t.momentum.is_some());
    let momenta = momenta.map(|t| (format!("{MOMENTUM}{}", t.name), t.shape.clone()));
    store.tensors.iter().map(|t| (t.name.clone(), t.shape.clone())).chain(momenta).collect()
}

/// Reads every tensor of the network, with its momentum.
pub fn download(engine: &mut dyn Engine, network: &Network) -> Result<Tensors> {
    let mut buffers: HashMap<BufferId, Vec<f32>> = HashMap::new();
    let mut gather = |place: &[View]| -> Result<Vec<f32>> {
        let mut values = Vec::new();
        for &view in place {
            let buffer = match buffers.entry(view.buffer) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let len = network.plan.buffers[view.buffer.0].len();
                    entry.insert(engine.fetch_f32(View { buffer: view.buffer, offset: 0, len })?)
                }
            };
            values.extend_from_slice(&buffer[view.offset..view.offset + view.len]);
        }
        Ok(values)
    };
    let mut tensors = Tensors::new();
    for tensor in &network.store.tensors {
        let values = tensor.unpack(&gather(&tensor.place)?);
        tensors.insert(tensor.name.clone(), (tensor.shape.clone(), values));
        if let Some(momentum) = &tensor.momentum {
            let values = tensor.unpack(&gather(momentum)?);
            tensors.insert(format!("{MOMENTUM}{}", tensor.name), (tensor.shape.clone(), values));
        }
    }
    Ok(tensors)
}

/// Writes tensors, and what follows from them: discrete weights and the tables that kernels read. Momenta
/// that are absent are left alone. Every tensor of the network must be there, with its shape.
pub fn upload(engine: &mut dyn Engine, network: &Network, tensors: &Tensors) -> Result<()> {
    for tensor in &network.store.tensors {
        scatter(engine, tensor, &tensor.place, &tensors[&tensor.name].1)?;
        if let (Some(place), Some((_, momentum))) =
            (&tensor.momentum, tensors.get(&format!("{MOMENTUM}{}", tensor.name)))
        {
            scatter(engine, tensor, place, momentum)?;
        }
    }
    for (view, table) in &network.tables {
        engine.write(*view, bytemuck::cast_slice(table))?;
    }
    for (i, range) in network.store.ranges.iter().enumerate() {
        engine.write(range.layers, bytemuck::cast_slice(&network.store.layer_numbers(i)))?;
    }
    let Some(family) = network.options.method.family() else { return Ok(()) };
    let planes = family.latents().len();
    for layer in &network.store.family_layers {
        let latents = &network.store.tensors[layer.first_latent..layer.first_latent + planes];
        let values: Vec<&[f32]> = latents.iter().map(|t| tensors[&t.name].1.as_slice()).collect();
        let weights = discrete(family.as_ref(), &values);
        engine.write(layer.weight, bytemuck::cast_slice(&latents[0].pack(&weights)))?;
    }
    Ok(())
}

fn scatter(engine: &mut dyn Engine, tensor: &Tensor, place: &[View], values: &[f32]) -> Result<()> {
    let packed = tensor.pack(values);
    let mut rest = packed.as_slice();
    for &view in place {
        let (piece, tail) = rest.split_at(view.len);
        engine.write(view, bytemuck::cast_slice(piece))?;
        rest = tail;
    }
    Ok(())
}

/// The discrete weights of latents, one slice a plane.
pub fn discrete(family: &dyn crate::method::WeightFamily, planes: &[&[f32]]) -> Vec<f32> {
    let mut latents = vec![0.0; planes.len()];
    (0..planes[0].len())
        .map(|i| {
            for (latent, plane) in latents.iter_mut().zip(planes) {
                *latent = plane[i];
            }
            family.weight(&latents)
        })
        .collect()
}

/// The initial tensors of a network for a seed. Momenta are absent: they begin at 0.
pub fn initial(network: &Network, init: crate::method::InitName, seed: u64) -> Tensors {
    initial_scaled(network, (init, 1.0), seed)
}

/// [`initial`], with the standard deviation of latents multiplied.
pub fn initial_scaled(network: &Network, init: (crate::method::InitName, f32), seed: u64) -> Tensors {
    let family = network.options.method.family();
    let value = |(number, tensor): (usize, &Tensor)| {
        let values = tensor.initial_values(family.as_deref(), init, seed, number as u32);
        (tensor.name.clone(), (tensor.shape.clone(), values))
    };
    network.store.tensors.iter().enumerate().map(value).collect()
}
