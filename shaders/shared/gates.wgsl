// Shift gates, in the planes of latents from `first` on, `gates` of them:
//   S_0 = 0;  S_t = H(w_t) (S_(t-1) + 1);  dL/dw_t = dL/dS_t (S_(t-1) + 1);  dL/dS_(t-1) = dL/dS_t H(w_t)

// The bits H(w_t) << t of 4 weights. Bit 0 is 0.
fn open_gates(i: u32, first: u32, gates: u32) -> vec4<u32> {
    var bits = vec4<u32>(0u);
    for (var t = 1u; t <= gates; t++) {
        bits |= ones(latents[(first + t - 1u) * params.quads + i] > vec4<f32>(0.0)) << vec4<u32>(t);
    }
    return bits;
}

// S_(t-1) from the bits of the gates: the run of ones that ends at bit t - 1.
fn shifts_below(t: u32, bits: vec4<u32>) -> vec4<u32> {
    return countLeadingZeros(~(bits << vec4<u32>(32u - t)));
}

// Moves the gates from the last one down, the old ones being `bits` and dL/dS of the last `ds`; returns the new S. The gradient
// passes while the gates are open. The new S is that of the new bits, and not counted in the loop while gates are open: FXC, which
// compiles for DX12, takes for constant what begins as 1 and is multiplied by 0 or 1 in a loop, and would count every gate.
fn move_gates(i: u32, first: u32, gates: u32, bits: vec4<u32>, gradient: vec4<f32>) -> vec4<u32> {
    var ds = gradient;
    var after = vec4<u32>(0u);
    for (var t = gates; t >= 1u; t--) {
        let below = vec4<f32>(shifts_below(t, bits));
        let moved = descend((first + t - 1u) * params.quads + i, ds * (below + 1.0));
        ds = select(vec4<f32>(0.0), ds, ((bits >> vec4<u32>(t)) & vec4<u32>(1u)) == vec4<u32>(1u));
        after |= ones(moved > vec4<f32>(0.0)) << vec4<u32>(t);
    }
    return shifts_below(gates + 1u, after);
}

// 2^shift.
fn power(shift: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(vec4<u32>(1u) << shift);
}

// sgn(x), with sgn(0) = 1.
fn sign_of(x: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(-1.0), vec4<f32>(1.0), x >= vec4<f32>(0.0));
}
