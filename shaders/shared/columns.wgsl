// How a workgroup of 256 shares out a run of rows of 16 quads (4 channels): invocation `local` takes the quad
// `local % width` and every 256 / width-th row; invocations beyond 256 / width * width have nothing to do.
struct Columns {
    quad: u32,    // of the tensor
    row: u32,     // first row of this invocation, counted within the run
    rows: u32,    // rows that the workgroup takes at a time
    run: u32,     // number of the run
    live: bool,   // whether this invocation has work, if the run has rows
}

const WIDTH: u32 = 16u;
const THREADS: u32 = 256u;

// Rows that a workgroup takes at a time, the same for all of its invocations.
fn rows_at_once(quads: u32) -> u32 {
    return THREADS / min(quads, WIDTH);
}

fn columns(group: vec3<u32>, groups: vec3<u32>, local: u32, quads: u32) -> Columns {
    let number = group.y * groups.x + group.x;
    let blocks = (quads + WIDTH - 1u) / WIDTH;
    let width = min(quads, WIDTH);
    let rows = rows_at_once(quads);
    let quad = (number % blocks) * WIDTH + local % width;
    let row = local / width;
    return Columns(quad, row, rows, number / blocks, row < rows && quad < quads);
}
