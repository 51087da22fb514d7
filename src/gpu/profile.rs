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

    /// Resolves the queries at the end of `encoder`, into [`Timer::resolved`].
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..2 * self.passes, &self.resolved, 0);
    }

    /// Begin and end ticks of each pass as u64, once what was resolved has run.
    pub fn resolved(&self) -> &wgpu::Buffer {
        &self.resolved
    }

    /// Begin and end of each pass in milliseconds, from its ticks.
    pub fn milliseconds(device: &Device, ticks: &[u64]) -> Vec<[f64; 2]> {
        let ms = f64::from(device.queue.get_timestamp_period()) / 1e6;
        let first = ticks.iter().copied().min().unwrap_or(0);
        // Small numbers first: ticks since a machine's start have more digits than an f64.
        let since = |tick: u64| (tick - first) as f64 * ms;
        ticks.chunks_exact(2).map(|pair| [since(pair[0]), since(pair[1])]).collect()
    }
}
