//! Where the latents of a weight family lie, and the discrete weights that follow from them.

use super::params::{Initial, Spec, Store, Tensor, cut};
use crate::kernels::{BLOCK, latent_update};
use crate::method::Family;
use crate::plan::{Elem, Plan, Role, View, align};
use std::collections::HashMap;

/// The prefix of the tensor (K, C, R, S) that has, for each weight of a layer, the step at which its sign last flipped, 0 where
/// it never did.
pub const LAST_FLIP: &str = "last_flip.";

/// A layer whose weight belongs to the weight family.
#[derive(Clone, Debug)]
pub struct FamilyLayer {
    /// The convolution's name: `layer1.0.conv1`.
    pub name: String,
    /// The discrete weights, in the buffer's order.
    pub weight: View,
    /// dL/dw, likewise.
    pub gradient: View,
    /// Index in [`Store::tensors`] of the first latent; the others follow, and then the steps of the last flips.
    pub first_latent: usize,
}

/// The pieces of each plane of a layer's latents and of their momenta, of which the last plane has the steps of the last flips.
pub(super) struct Places {
    latents: Vec<Vec<View>>,
    momenta: Vec<Vec<View>>,
}

impl Store {
    /// Planes for the family's weights. Returns where each layer's latents lie.
    pub(super) fn place_family(
        &mut self,
        plan: &mut Plan,
        specs: &[&Spec],
        family: &dyn Family,
        limit: u64,
    ) -> HashMap<String, Places> {
        let planes = family.latents().len();
        let shape = [specs.len(), latent_update::COUNTERS];
        let changes = plan.buffer("changes", &shape, Elem::U32, Role::State);
        self.changes = Some(changes);
        let mut places = HashMap::new();
        for (number, group) in cut(specs, limit / 4, Spec::packed_len).into_iter().enumerate() {
            let len = group.iter().map(|spec| align(spec.packed_len())).sum::<usize>();
            let mut buffer = |name: &str, shape: &[usize], elem, role| {
                plan.buffer(format!("{name}.{number}"), shape, elem, role)
            };
            let weight = buffer("family_weights", &[len], Elem::F32, Role::Parameter);
            let dw = buffer("family_gradients", &[len], Elem::F32, Role::Gradient);
            let layers = buffer("family_layers", &[len / BLOCK], Elem::U32, Role::State);
            // The latents of a range of weights lie together, in ranges that the adapter can bind.
            let most = (limit as usize / 4 / (planes + 1) / 4096).max(1) * 4096;
            let ranges: Vec<_> = (0..len)
                .step_by(most)
                .enumerate()
                .map(|(range, begin)| {
                    let size = most.min(len - begin);
                    let mut buffer = |name: &str, planes: usize, role| {
                        plan.buffer(format!("{name}.{number}.{range}"), &[planes, size], Elem::F32, role)
                    };
                    let tensors = latent_update::Tensors {
                        layers: layers.slice(begin / BLOCK, size / BLOCK),
                        dw: dw.slice(begin, size),
                        latents: buffer("latents", planes, Role::Parameter),
                        momenta: buffer("latent_momenta", planes + 1, Role::State),
                        w: weight.slice(begin, size),
                        changes,
                    };
                    (begin, size, tensors)
                })
                .collect();
            let mut offset = 0;
            for spec in group {
                let size = spec.packed_len();
                self.learned.insert(spec.name.clone(), [weight.slice(offset, size), dw.slice(offset, size)]);
                let place = |planes: usize, view: fn(&latent_update::Tensors) -> View| {
                    (0..planes).map(|plane| pieces(&ranges, plane, offset, size, view)).collect()
                };
                let latents = place(planes, |t| t.latents);
                places
                    .insert(spec.name.clone(), Places { latents, momenta: place(planes + 1, |t| t.momenta) });
                offset += align(size);
            }
            self.ranges.extend(ranges.iter().map(|(_, _, tensors)| *tensors));
        }
        places
    }

    /// The number of each block's layer, for the update's `layers` buffer of `range`.
    pub fn layer_numbers(&self, range: usize) -> Vec<u32> {
        let w = self.ranges[range].w;
        let number = |block: usize| {
            let at = w.offset + block * BLOCK;
            let holds = |layer: &FamilyLayer| {
                let v = layer.weight;
                v.buffer == w.buffer && (v.offset..v.offset + align(v.len)).contains(&at)
            };
            self.family_layers.iter().position(holds).expect("every weight belongs to a layer") as u32
        };
        (0..w.len / BLOCK).map(number).collect()
    }

    /// The place of each range's first block of weights among the blocks of all, and their number with the gaps between, so
    /// that a view can begin at each.
    pub(super) fn first_blocks(&self) -> (Vec<usize>, usize) {
        let mut end = 0;
        let mut first = Vec::new();
        for range in &self.ranges {
            first.push(end);
            end += align(range.w.len / BLOCK);
        }
        (first, end)
    }

    /// For each layer its first block of weights (see [`Store::first_blocks`]), its blocks, and its weights.
    pub(super) fn layer_blocks(&self) -> Vec<u32> {
        let mut rows = vec![[u32::MAX, 0, 0]; self.family_layers.len()];
        for (range, first) in self.first_blocks().0.into_iter().enumerate() {
            for (block, layer) in self.layer_numbers(range).into_iter().enumerate() {
                let row = &mut rows[layer as usize];
                row[0] = row[0].min((first + block) as u32);
                row[1] += 1;
            }
        }
        rows.iter_mut().zip(&self.family_layers).for_each(|(row, layer)| row[2] = layer.weight.len as u32);
        rows.concat()
    }

    /// Adds a layer's latents to the list, as the family names them.
    pub(super) fn list_latents(&mut self, layer: &str, spec: &Spec, family: &dyn Family, places: Places) {
        let [weight, gradient] = self.learned(&spec.name);
        self.family_layers.push(FamilyLayer {
            name: layer.to_string(),
            weight,
            gradient,
            first_latent: self.tensors.len(),
        });
        let (shape, layout) = (spec.shape.clone(), spec.layout);
        let tensor = |name: String, initial, place, momentum| Tensor {
            name,
            shape: shape.clone(),
            layout,
            initial,
            place,
            momentum,
        };
        let mut momenta = places.momenta.into_iter();
        for (plane, (suffix, place)) in family.latents().into_iter().zip(places.latents).enumerate() {
            let initial = Initial::Latent { plane, sigma: spec.sigma() };
            self.tensors.push(tensor(format!("{layer}.{suffix}"), initial, place, momenta.next()));
        }
        let last_flip = momenta.next().expect("one plane more than latents");
        self.tensors.push(tensor(format!("{LAST_FLIP}{layer}"), Initial::Constant(0.0), last_flip, None));
    }
}

/// The pieces of plane `plane` of weights `offset .. offset + size` in the buffers of `ranges` (begin, size, tensors), each
/// (planes, size).
fn pieces(
    ranges: &[(usize, usize, latent_update::Tensors)],
    plane: usize,
    offset: usize,
    size: usize,
    view: fn(&latent_update::Tensors) -> View,
) -> Vec<View> {
    let part = |(begin, range_size, tensors): &(usize, usize, latent_update::Tensors)| {
        let first = offset.max(*begin);
        let last = (offset + size).min(begin + range_size);
        (first < last).then(|| view(tensors).slice(plane * range_size + first - begin, last - first))
    };
    ranges.iter().filter_map(part).collect()
}
