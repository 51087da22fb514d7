// Two sums over the rows that a workgroup of columns.wgsl, which comes before, takes at a time. Once in a shader: nothing waits
// between what is read at the end and what a second call would write.
struct TwoSums { a: vec4<f32>, b: vec4<f32> }

var<workgroup> sums: array<TwoSums, THREADS>;

// What the first `rows` invocations with this quad have, added in a fixed order: an eighth as many at each step.
// `rows` is the same for the whole workgroup.
fn sum_columns(own: TwoSums, at: Columns, local: u32, quads: u32, rows: u32) -> TwoSums {
    let width = min(quads, WIDTH);
    sums[local] = own;
    workgroupBarrier();
    var total = own;
    // Three steps do for 256 invocations; why their number is written here, batch_norm.wgsl says.
    var count = rows;
    for (var i = 0u; i < 3u; i++) {
        let left = (count + 7u) / 8u;
        if at.row < left {
            for (var row = at.row + left; row < count; row += left) {
                let other = sums[row * width + local % width];
                total = TwoSums(total.a + other.a, total.b + other.b);
            }
            sums[local] = total;
        }
        workgroupBarrier();
        count = left;
    }
    return sums[local % width];
}
