// Softmax cross-entropy of each image: loss = log(sum exp(logits)) - logits[label], whether the label is
// among the 1 and the 5 largest logits (of equal logits the first class ranks first), and the gradient
// dlogits = (softmax - target) * scale. An image without a label (>= K) counts as nothing. The target is the label, or, where
// labels are smoothed, 1 - smoothing of it and smoothing / K of every class, and the loss the cross-entropy with that.
// While training, also the step's row of the log: the mean loss over the batch and the hits, adding up micro-batches;
// and the first step whose loss is not finite: from then on the update kernels change nothing, so that the
// parameters stay those that made it.
// One workgroup computes all images: 64 runs of them, then the runs in order.
#import step
struct Params {
    n: u32, k: u32,   // images of the micro-batch, classes
    scale: f32,       // 1 / images of the whole batch
    log: u32,         // 1: write the log
    smoothing: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read> logits: array<f32>;                // (N, K)
@group(0) @binding(3) var<storage, read> labels: array<u32>;                // (N)
@group(0) @binding(4) var<storage, read_write> result: array<vec4<f32>>;    // (N, 4): loss, top-1, top-5, class
@group(0) @binding(5) var<storage, read_write> dlogits: array<f32>;         // (N, K)
@group(0) @binding(6) var<storage, read_write> history: array<vec4<f32>>;   // (rows, 4): loss, top-1, top-5, step
@group(0) @binding(7) var<storage, read_write> status: array<u32>;          // (4): [0] the first bad step, or 0

var<workgroup> runs: array<vec4<f32>, 64>;

// The result of image n; writes its dlogits.
fn image(n: u32) -> vec4<f32> {
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
    var below = 0.0;
    for (var k = 0u; k < params.k; k++) {
        let value = logits[first + k] - largest;
        sum += exp(value);
        below += value;
    }
    let share = params.smoothing / f32(params.k);
    let counts = label < params.k;
    let target_logit = logits[first + select(0u, label, counts)];
    var rank = 0u;
    for (var k = 0u; k < params.k; k++) {
        let value = logits[first + k];
        // Written so that NaN beats the label.
        if !(value <= target_logit) || (value == target_logit && k < label) {
            rank++;
        }
        let goal = share + select(0.0, 1.0 - params.smoothing, k == label);
        let gradient = (exp(value - largest) / sum - goal) * params.scale;
        dlogits[first + k] = select(0.0, gradient, counts);
    }
    // What is near to each other first: of large logits the sum would leave nothing.
    var loss = log(sum) - (target_logit - largest);
    // Without smoothing nothing is added: a logit of minus infinity is no 0 times infinity.
    if params.smoothing > 0.0 {
        loss += params.smoothing * (target_logit - largest) - share * below;
    }
    let hits = vec2<f32>(select(0.0, 1.0, rank < 1u), select(0.0, 1.0, rank < 5u));
    return select(vec4<f32>(0.0), vec4<f32>(loss, hits, f32(winner)), counts);
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
    let run = (params.n + 63u) / 64u;
    var sum = vec4<f32>(0.0);
    for (var n = local * run; n < min((local + 1u) * run, params.n); n++) {
        let of_image = image(n);
        result[n] = of_image;
        sum += of_image;
    }
    runs[local] = sum;
    workgroupBarrier();
    if local == 0u && params.log == 1u {
        for (var other = 1u; other < 64u; other++) {
            sum += runs[other];
        }
        var row = vec4<f32>(sum.x * params.scale, sum.y, sum.z, f32(step.step));
        if step.micro > 0u {
            row = vec4<f32>(row.xyz + history[step.slot].xyz, row.w);
        }
        history[step.slot] = row;
        // Not by the exponent's mask: a compiler that takes floats for finite recognizes that test, and leaves it out.
        let finite = (bitcast<u32>(row.x) << 1u) < 0xff000000u;
        if !finite && status[0] == 0u {
            status[0] = step.step;
        }
    }
}
