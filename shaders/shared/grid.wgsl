// The number of this invocation in a grid of 64-wide workgroups that is folded into two dimensions.
fn invocation(group: vec3<u32>, groups: vec3<u32>, local: u32) -> u32 {
    return (group.y * groups.x + group.x) * 64u + local;
}
