//! Moving a network's tensors between the host and an engine.

use super::Network;
use super::latents::LAST_FLIP;
use super::params::{Store, Tensor};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::method;
use crate::plan::{BufferId, List, View};
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

/// Buffers of a network, each read once.
struct Fetched<'a> {
    engine: &'a mut dyn Engine,
    network: &'a Network,
    buffers: HashMap<BufferId, Vec<f32>>,
}

impl Fetched<'_> {
    /// What lies at `place`, which is that of a tensor like `tensor`, with its shape.
    fn gather(&mut self, tensor: &Tensor, place: &[View]) -> Result<(Vec<usize>, Vec<f32>)> {
        let mut values = Vec::new();
        for &view in place {
            let buffer = match self.buffers.entry(view.buffer) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let len = self.network.plan.buffers[view.buffer.0].len();
                    entry.insert(self.engine.fetch_f32(View { buffer: view.buffer, offset: 0, len })?)
                }
            };
            values.extend_from_slice(&buffer[view.offset..view.offset + view.len]);
        }
        Ok((tensor.shape.clone(), tensor.unpack(&values)))
    }
}

/// Reads every tensor of the network, with its momentum.
///
/// # Errors
/// As [`Engine::read`].
pub fn download(engine: &mut dyn Engine, network: &Network) -> Result<Tensors> {
    let mut fetched = Fetched { engine, network, buffers: HashMap::new() };
    let mut tensors = Tensors::new();
    for tensor in &network.store.tensors {
        tensors.insert(tensor.name.clone(), fetched.gather(tensor, &tensor.place)?);
        if let Some(momentum) = &tensor.momentum {
            tensors.insert(format!("{MOMENTUM}{}", tensor.name), fetched.gather(tensor, momentum)?);
        }
    }
    Ok(tensors)
}

/// Reads the gradients of the mean loss that the last [`List::Backward`], and what [`List::BackwardAdd`] added to it, have left: of
/// each learned tensor by its name, and of the family's layers dL/dw of the discrete weights as `NAME.weight`. Weight decay and the
/// regularizer are not in them: the update adds those.
///
/// # Errors
/// [`Error::Usage`] for a network that was compiled without training; as [`Engine::read`].
pub fn gradients(engine: &mut dyn Engine, network: &Network) -> Result<Tensors> {
    if !network.options.train {
        let problem = "a network that was compiled without training has no gradients: set Options::train";
        return Err(Error::Usage(problem.into()));
    }
    let store = &network.store;
    let mut fetched = Fetched { engine, network, buffers: HashMap::new() };
    let mut gradients = Tensors::new();
    for tensor in &store.tensors {
        if let Some(&[_, gradient]) = store.learned.get(&tensor.name) {
            gradients.insert(tensor.name.clone(), fetched.gather(tensor, &[gradient])?);
        }
    }
    for layer in &store.family_layers {
        // Latents have the shape of the weight.
        let gradient = fetched.gather(&store.tensors[layer.first_latent], &[layer.gradient])?;
        gradients.insert(format!("{}.weight", layer.name), gradient);
    }
    Ok(gradients)
}

/// Calls `each` with the latents of each of the family's layers, and with dL/dw of the last backward pass.
///
/// # Errors
/// As [`Engine::read`].
pub fn for_gradients(
    engine: &mut dyn Engine,
    network: &Network,
    mut each: impl FnMut(&[Vec<f32>], &[f32]),
) -> Result<()> {
    let store = &network.store;
    let count = network.options.method.family().latents().len();
    let mut fetched = Fetched { engine, network, buffers: HashMap::new() };
    for layer in &store.family_layers {
        let latents = &store.tensors[layer.first_latent..][..count];
        let planes: Result<Vec<_>> =
            latents.iter().map(|latent| Ok(fetched.gather(latent, &latent.place)?.1)).collect();
        each(&planes?, &fetched.gather(&latents[0], &[layer.gradient])?.1);
    }
    Ok(())
}

/// That `tensors` have those of the network, with their shapes, and with as many values as these say. Momenta may be absent.
fn check(network: &Network, tensors: &Tensors) -> Result<()> {
    let mut wanted = manifest(&network.store);
    wanted.retain(|name, _| !name.starts_with(MOMENTUM) || tensors.contains_key(name));
    match super::weights::lack(tensors, &wanted) {
        None => Ok(()),
        Some(problem) => Err(Error::Usage(format!("the tensors are not the network's: {problem}"))),
    }
}

/// Writes tensors, and what follows from them: discrete weights and the tables that kernels read. Momenta
/// that are absent are left alone. Every tensor of the network must be there, with its shape.
///
/// # Errors
/// [`Error::Usage`] for one that is not, or is of another shape; as [`Engine::write`].
pub fn upload(engine: &mut dyn Engine, network: &Network, tensors: &Tensors) -> Result<()> {
    check(network, tensors)?;
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
    let family = network.options.method.family();
    let planes = family.latents().len();
    for layer in &network.store.family_layers {
        let latents = &network.store.tensors[layer.first_latent..layer.first_latent + planes];
        let values: Vec<&[f32]> = latents.iter().map(|t| tensors[&t.name].1.as_slice()).collect();
        let weights = method::weights(family.as_ref(), &values);
        engine.write(layer.weight, bytemuck::cast_slice(&latents[0].pack(&weights)))?;
    }
    if let (Some(changes), [_, ..]) = (network.store.changes, network.plan.list(List::Weights)) {
        // So that a resume has the weights of the run, which an adapter may round otherwise.
        engine.run(List::Weights)?;
        engine.write(changes, &vec![0; changes.len * 4])?;
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

/// The initial tensors of a network for a seed. Momenta are absent: they begin at 0.
pub fn initial(network: &Network, init: method::InitName, seed: u64) -> Tensors {
    initial_scaled(network, (init, 1.0), seed)
}

/// [`initial`], with the standard deviation of latents multiplied.
pub fn initial_scaled(network: &Network, init: (method::InitName, f32), seed: u64) -> Tensors {
    let mut tensors = drawn(network, init, seed, |_| true).collect();
    complete(network, &mut tensors);
    confine(network, &mut tensors);
    tensors
}

/// The initial values of the tensors that are `wanted` by name; what they are does not depend on which.
fn drawn(
    network: &Network,
    init: (method::InitName, f32),
    seed: u64,
    wanted: impl Fn(&str) -> bool,
) -> impl Iterator<Item = (String, (Vec<usize>, Vec<f32>))> {
    let family = network.options.method.family();
    // Steps of flips are no draws: they would change the numbers of what comes behind them.
    let draws = network.store.tensors.iter().filter(|tensor| !tensor.name.starts_with(LAST_FLIP));
    draws.enumerate().filter(move |(_, tensor)| wanted(&tensor.name)).map(move |(number, tensor)| {
        let values = tensor.initial_values(family.as_ref(), init, seed, number as u32);
        (tensor.name.clone(), (tensor.shape.clone(), values))
    })
}

/// Gives `tensors` the classifier that a network of `seed` begins with, where theirs is of another number of classes: of how many,
/// is returned.
pub fn replace_classifier(network: &Network, tensors: &mut Tensors, seed: u64) -> Option<usize> {
    let fresh: Tensors = drawn(network, Default::default(), seed, |name| name.starts_with("fc.")).collect();
    let classes = |tensors: &Tensors| match [tensors.get("fc.weight")?, tensors.get("fc.bias")?] {
        [(weight, _), (bias, _)] if weight.len() == 2 && bias.len() == 1 && weight[0] == bias[0] => {
            Some((weight[0], weight[1]))
        }
        _ => None,
    };
    let ((old, width), (new, own_width)) = classes(tensors).zip(classes(&fresh))?;
    if old == new || width != own_width {
        return None;
    }
    tensors.extend(fresh);
    Some(old)
}

/// The initial tensors of a network that begins from `plain` weights (see [`super::weights::discretize`]), as far as its family
/// can: where they are not enough, or do not fit, that is left to be found.
pub fn adopted(network: &Network, mut plain: Tensors) -> Tensors {
    let family = network.options.method.family();
    let suffixes = family.latents();
    for layer in &network.store.family_layers {
        let name = format!("{}.weight", layer.name);
        let Some((shape, weights)) = plain.get(&name).cloned() else { continue };
        let Some(latents) = weights.iter().map(|&w| family.adopt(w)).collect::<Option<Vec<_>>>() else {
            continue;
        };
        plain.remove(&name);
        for (plane, suffix) in suffixes.iter().enumerate() {
            let values = latents.iter().map(|latents| latents[plane]).collect();
            plain.insert(format!("{}.{suffix}", layer.name), (shape.clone(), values));
        }
    }
    plain
}

/// Adds what a file of weights need not have: the steps of the last flips.
pub fn complete(network: &Network, tensors: &mut Tensors) {
    for tensor in network.store.tensors.iter().filter(|tensor| tensor.name.starts_with(LAST_FLIP)) {
        let zeros = || (tensor.shape.clone(), vec![0.0; tensor.len()]);
        tensors.entry(tensor.name.clone()).or_insert_with(zeros);
    }
}

/// Brings the latents of `tensors`, all of which are there, to where they may be.
pub fn confine(network: &Network, tensors: &mut Tensors) {
    let family = network.options.method.family();
    for_layers(network, tensors, |planes| {
        let mut latents = vec![0.0; planes.len()];
        for i in 0..planes[0].len() {
            latents.iter_mut().zip(&*planes).for_each(|(latent, plane)| *latent = plane[i]);
            family.confine(&mut latents);
            latents.iter().zip(&mut *planes).for_each(|(latent, plane)| plane[i] = *latent);
        }
    });
}

/// Whether all weights of `tensors`, all of which are there, are as they will stay: INQ's once they are fixed, others at once.
pub fn is_final(network: &Network, tensors: &Tensors) -> bool {
    let family = network.options.method.family();
    let suffixes = family.latents();
    !family.has_schedule()
        || network.store.family_layers.iter().all(|layer| {
            let latent = |suffix: &String| tensors[&format!("{}.{suffix}", layer.name)].1.as_slice();
            let planes: Vec<&[f32]> = suffixes.iter().map(latent).collect();
            method::are_final(family.as_ref(), &planes).into_iter().all(|is_final| is_final)
        })
}

/// Changes the latents of `tensors`, all of which are there, layer by layer: their planes in the order on disk.
pub fn for_layers(network: &Network, tensors: &mut Tensors, change: impl Fn(&mut [Vec<f32>])) {
    let suffixes = network.options.method.family().latents();
    for layer in &network.store.family_layers {
        let names: Vec<String> = suffixes.iter().map(|suffix| format!("{}.{suffix}", layer.name)).collect();
        let mut planes: Vec<Vec<f32>> = names.iter().map(|name| tensors[name].1.clone()).collect();
        change(&mut planes);
        for (name, plane) in names.into_iter().zip(planes) {
            tensors.entry(name).and_modify(|tensor| tensor.1 = plane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Target;
    use crate::kernels::Hyper;
    use crate::method::{InitName, Method, MethodName};
    use crate::model::{Arch, Options, Shortcut};

    #[test]
    fn tensors_that_are_not_the_networks_are_refused() {
        let arch: Arch = "resnet8".parse().expect("known");
        let graph = arch.build(Shortcut::B, [8, 12], 3).expect("legal");
        let options = Options {
            method: Method::new(MethodName::S3, 3).expect("legal"),
            micro_batch: 1,
            batch: 1,
            hyper: Hyper { momentum: 0.9, weight_decay: 0.0, alpha: 0.0 },
            label_smoothing: 0.0,
            mean: [0.5; 3],
            std: [0.25; 3],
            capabilities: Target::host().capabilities(),
            train: true,
        };
        let network = Network::compile(graph.clone(), options).expect("legal");
        let mut engine = Target::host().load(network.plan.clone()).expect("a small network");
        let whole = initial(&network, InitName::Normal, 1);
        upload(engine.as_mut(), &network, &whole).expect("whole");
        let (latent, momentum) = ("layer1.0.conv1.weight_t1", "momentum.fc.bias");
        let of = |name: &str| whole[name].clone();
        let (mut short, mut turned) = (of(latent), of("fc.weight"));
        short.1.truncate(7);
        turned.0.reverse();
        let changes = [
            (latent, None),
            (latent, Some(short)),
            ("fc.weight", Some(turned)),
            (momentum, Some((vec![3], vec![0.0; 2]))),
        ];
        for (name, change) in changes {
            let mut broken = whole.clone();
            match change {
                Some(tensor) => broken.insert(name.into(), tensor),
                None => broken.remove(name),
            };
            let refused = upload(engine.as_mut(), &network, &broken).expect_err(name).to_string();
            assert!(refused.contains(name), "{refused}");
        }
        let evaluation = Network::compile(graph, Options { train: false, ..options }).expect("legal");
        let refused = gradients(engine.as_mut(), &evaluation).expect_err("no gradients");
        assert!(refused.to_string().contains("without training"), "{refused}");
    }
}
