// A workgroup's tile of a matrix product, BM rows x BN columns, of which a thread has TM x TN in registers. The operands
// go through workgroup memory, 4 Q deep at a time. The variant sets the constants: BM, BN, TM and TN (4 or 8),
// Q (2 or 4), THREADS = BM / TM * BN / TN. The kernel imports shared/products.wgsl.
const TX = BN / TN; // threads along the columns, the fastest
const TY = BM / TM;
const BM4 = BM / 4u;
const BN4 = BN / 4u;

var<workgroup> rows: array<vec4<f32>, BM * Q>;
var<workgroup> columns: array<vec4<f32>, max(BN * Q, THREADS * TN / 4u)>;

// One thread's part: [4 rows][4 columns] each.
struct Tile { a00: mat4x4<f32>, a01: mat4x4<f32>, a10: mat4x4<f32>, a11: mat4x4<f32> }

// Matrix i of `columns` as (4 Q, BN / 4): 4 columns of the product at depths 4 i to 4 i + 3.
fn four_columns(i: u32, column: u32) -> mat4x4<f32> {
    let at = i * 4u * BN4 + column;
    return mat4x4<f32>(columns[at], columns[at + BN4], columns[at + 2u * BN4], columns[at + 3u * BN4]);
}

// Where `rows` as (BM, Q) has depths 4 i to 4 i + 3 of a row. Threads next to each other read and write rows next to each
// other: the exchange of i puts these into different banks.
fn row_at(row: u32, i: u32) -> u32 {
    return row * Q + (i ^ ((row * Q / 8u) & (Q - 1u)));
}

// Rows row, row + TY, row + 2 TY, row + 3 TY.
fn four_rows(row: u32, i: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        rows[row_at(row, i)], rows[row_at(row + TY, i)],
        rows[row_at(row + 2u * TY, i)], rows[row_at(row + 3u * TY, i)]);
}

// Adds the product of `rows` as (BM, Q) and `columns` as (4 Q, BN / 4). Column j of a result is row ty + j TY (+ 4 TY),
// its elements the 4 columns from 4 tx (+ BN / 2).
fn multiply(before: Tile, tx: u32, ty: u32) -> Tile {
    var t = before;
    for (var i = 0u; i < Q; i++) {
        let r0 = four_rows(ty, i);
        let c0 = four_columns(i, tx);
        t.a00 = plus(t.a00, c0, r0);
        if (TM == 8u) {
            let r1 = four_rows(ty + 4u * TY, i);
            t.a10 = plus(t.a10, c0, r1);
            if (TN == 8u) {
                let c1 = four_columns(i, tx + TX);
                t.a01 = plus(t.a01, c1, r0);
                t.a11 = plus(t.a11, c1, r1);
            }
        }
    }
    return t;
}

// What a thread loads for `rows` as (BM, Q): depth local % Q of rows local / Q + j THREADS / Q, j < BM Q / THREADS <= 4.
fn put_rows(local: u32, values: mat4x4<f32>) {
    let row = local / Q;
    let i = local % Q;
    rows[row_at(row, i)] = values[0];
    if (BM * Q > THREADS) { rows[row_at(row + THREADS / Q, i)] = values[1]; }
    if (BM * Q > 2u * THREADS) { rows[row_at(row + 2u * (THREADS / Q), i)] = values[2]; }
    if (BM * Q > 3u * THREADS) { rows[row_at(row + 3u * (THREADS / Q), i)] = values[3]; }
}
