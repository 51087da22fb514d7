// Softmax cross-entropy of each image: loss = log(sum exp(logits)) - logits[label], whether the label is
// among the 1 and the 5 largest logits (of equal logits the first class ranks first), and the gradient
// dlogits = (softmax - onehot) * scale. An image without a label (>= K) counts as nothing.
// One invocation computes one image.
#import grid
struct Params {
    n: u32, k: u32,   // images, classes
    scale: f32,       // 1 / images of the whole batch
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;                // (N, K)
@group(0) @binding(2) var<storage, read> labels: array<u32>;                // (N)
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>;    // (N, 4): loss, top-1, top-5, class
@group(0) @binding(4) var<storage, read_write> dlogits: array<f32>;         // (N, K)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let n = invocation(group, groups, local);
    if n < params.n {
        let first = n * params.k;
        let label = labels[n];
        var largest = logits[first];
        var winner = 0u;
        for (var k = 1u; k < params.k; k++) {
            if logits[first + k] > largest {
                largest = logits[first + k];
                winner = k;
            }
        }
        var sum = 0.0;
        for (var k = 0u; k < params.k; k++) {
            sum += exp(logits[first + k] - largest);
        }
        let counts = label < params.k;
        let target_logit = logits[first + select(0u, label, counts)];
        var rank = 0u;
        for (var k = 0u; k < params.k; k++) {
            let value = logits[first + k];
            // Written so that NaN beats the label.
            if !(value <= target_logit) || (value == target_logit && k < label) {
                rank++;
            }
            let onehot = select(0.0, 1.0, k == label);
            let gradient = (exp(value - largest) / sum - onehot) * params.scale;
            dlogits[first + k] = select(0.0, gradient, counts);
        }
        let loss = log(sum) + largest - target_logit;
        let hits = vec2<f32>(select(0.0, 1.0, rank < 1u), select(0.0, 1.0, rank < 5u));
        result[n] = select(vec4<f32>(0.0), vec4<f32>(loss, hits, f32(winner)), counts);
    }
}
