// The mean magnitude of each layer's weights, from the sums of 64 weights each, in a fixed order.
// One workgroup computes one layer: each invocation adds every 64th sum, then the first adds theirs.
struct Params {
    layers: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;            // (layers, 3): first sum, sums, weights
@group(0) @binding(2) var<storage, read> sums: array<f32>;             // (weights / 64)
@group(0) @binding(3) var<storage, read_write> means: array<f32>;      // (layers)

var<workgroup> parts: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let layer = group.y * groups.x + group.x;
    var sum = 0.0;
    if layer < params.layers {
        let first = table[3u * layer];
        for (var i = local; i < table[3u * layer + 1u]; i += 64u) {
            sum += sums[first + i];
        }
    }
    parts[local] = sum;
    workgroupBarrier();
    if local == 0u && layer < params.layers {
        var all = 0.0;
        for (var part = 0u; part < 64u; part++) {
            all += parts[part];
        }
        means[layer] = all / f32(table[3u * layer + 2u]);
    }
}
