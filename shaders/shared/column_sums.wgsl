// Two sums over the rows that a workgroup of columns.wgsl, which comes before, takes at a time. Once in a shader: nothing waits
// between what is read at the end and what a second call would write.
var<workgroup> sums: array<array<vec4<f32>, 2>, THREADS>;

// What the first `rows` invocations with this quad have, added in a fixed order: an eighth as many at each step.
// `rows` is the same for the whole workgroup.
fn sum_columns(own: array<vec4<f32>, 2>, at: Columns, local: u32, quads: u32, rows: u32) -> array<vec4<f32>, 2> {
    let width = min(quads, WIDTH);
    sums[local] = own;
    workgroupBarrier();
    var total = own;
    for (var count = rows; count > 1u; count = (count + 7u) / 8u) {
        let left = (count + 7u) / 8u;
        if at.row < left {
            for (var row = at.row + left; row < count; row += left) {
                let other = sums[row * width + local % width];
                total = array<vec4<f32>, 2>(total[0] + other[0], total[1] + other[1]);
            }
            sums[local] = total;
        }
        workgroupBarrier();
    }
    return sums[local % width];
}
