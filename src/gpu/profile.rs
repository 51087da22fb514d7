//! Timestamps: how long each dispatch takes.

use super::device::Device;

/// Timestamp queries for the begin and end of up to `passes` passes.
pub(crate) struct Timer {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    passes: u32,
}

impl Timer {
    /// The most passes a timer can hold (a query set has at most 4,096 queries).
    pub const MOST: usize = 2048;

    /// A timer, where the device has timestamps.
    pub fn new(device: &Device, passes: usize) -> Option<Timer> {
        if !device.timestamps || passes > Self::MOST {
            return None;
        }
        let count = 2 * passes as u32;
        let queries = device.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("timer"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let resolved = device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("timer"),
            size: u64::from(count) * 8,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        Some(Timer { queries, resolved, passes: passes as u32 })
    }

    /// The timestamps that pass number `pass` writes.
    pub fn writes(&self, pass: usize) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(2 * pass as u32),
            end_of_pass_write_index: Some(2 * pass as u32 + 1),
        }
    }

    /// Resolves the queries at the end of `encoder`; the buffer then holds begin and end ticks as u64.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) -> &wgpu::Buffer {
        encoder.resolve_query_set(&self.queries, 0..2 * self.passes, &self.resolved, 0);
        &self.resolved
    }

    /// Milliseconds of each pass, from the resolved ticks.
    pub fn milliseconds(device: &Device, ticks: &[u64]) -> Vec<f64> {
        let period = f64::from(device.queue.get_timestamp_period());
        ticks.chunks_exact(2).map(|t| t[1].saturating_sub(t[0]) as f64 * period / 1e6).collect()
    }
}
