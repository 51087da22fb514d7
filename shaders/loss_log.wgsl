// Writes a step's loss (mean over the batch) and hits to its row of the log, adding up micro-batches, and
// notes the first step whose loss is not finite: from then on the update kernels change nothing, so that
// the parameters stay those that made it. One workgroup: 64 runs of images, then the runs in order.
#import step
struct Params {
    n: u32,       // images of the micro-batch
    scale: f32,   // 1 / images of the whole batch
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read> result: array<vec4<f32>>;       // (N, 4): loss, top-1, top-5, class
@group(0) @binding(3) var<storage, read_write> log: array<vec4<f32>>;    // (rows, 4): loss, top-1, top-5, step
@group(0) @binding(4) var<storage, read_write> status: array<u32>;       // (4): [0] the first bad step, or 0

var<workgroup> runs: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
    let run = (params.n + 63u) / 64u;
    var sum = vec4<f32>(0.0);
    for (var n = local * run; n < min((local + 1u) * run, params.n); n++) {
        sum += result[n];
    }
    runs[local] = sum;
    workgroupBarrier();
    if local == 0u {
        for (var other = 1u; other < 64u; other++) {
            sum += runs[other];
        }
        var row = vec4<f32>(sum.x * params.scale, sum.y, sum.z, f32(step.step));
        if step.micro > 0u {
            row = vec4<f32>(row.xyz + log[step.slot].xyz, row.w);
        }
        log[step.slot] = row;
        let finite = (bitcast<u32>(row.x) & 0x7f800000u) != 0x7f800000u;
        if !finite && status[0] == 0u {
            status[0] = step.step;
        }
    }
}
