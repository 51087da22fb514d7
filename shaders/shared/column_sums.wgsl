// Two sums over the rows that a workgroup of columns.wgsl, which comes before, takes at a time. Once in a shader: nothing waits
// between what is read at the end and what a second call would write.
var<workgroup> sums: array<array<vec4<f32>, 2>, THREADS>;

// What the first `rows` invocations with this quad have, added in a fixed order: half as many at each step.
// `rows` is the same for the whole workgroup.
fn sum_columns(own: array<vec4<f32>, 2>, at: Columns, local: u32, quads: u32, rows: u32) -> array<vec4<f32>, 2> {
    let width = min(quads, WIDTH);
    sums[local] = own;
    workgroupBarrier();
    for (var count = rows; count > 1u; count = (count + 1u) / 2u) {
        let half = (count + 1u) / 2u;
        if at.row + half < count {
            let other = sums[local + half * width];
            sums[local] = array<vec4<f32>, 2>(sums[local][0] + other[0], sums[local][1] + other[1]);
        }
        workgroupBarrier();
    }
    return sums[local % width];
}
