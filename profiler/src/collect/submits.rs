//! Stacks that submit requests to block devices, added up.

use profiler_common::sample::SubmittedRequest;

use super::rows::Rows;

use profiler_report::recording::StackId;

/// Rows that are kept; further ones are counted.
const MOST_ROWS: usize = 4096;

/// What was submitted from one stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Submitted {
    /// A disk's number, as `profiler_common::block_io::device` makes it.
    pub device: u32,
    pub operation: u32,
    pub stack: StackId,
    pub samples: u64,
    pub count: u64,
    pub bytes: u64,
}

/// The sums of the present window, by disk, operation and stack.
pub struct Submits(Rows<(u32, u32, StackId), Submitted>);

impl Default for Submits {
    fn default() -> Self {
        Self(Rows::new(MOST_ROWS))
    }
}

impl Submits {
    /// Takes in one sample, which stands for as many requests as its threshold says. False if there is no room for it.
    pub fn add(&mut self, request: SubmittedRequest, threshold: u32, stack: StackId) -> bool {
        let SubmittedRequest { device, operation, bytes } = request;
        let Some(row) = self.0.entry((device, operation, stack)) else { return false };
        (row.device, row.operation, row.stack) = (device, operation, stack);
        let weight = (1_u64 << 32) / (u64::from(threshold) + 1);
        row.samples += 1;
        row.count = row.count.saturating_add(weight);
        row.bytes = row.bytes.saturating_add(weight.saturating_mul(u64::from(bytes)));
        true
    }

    /// The rows of the present window. The next one begins.
    pub fn take(&mut self) -> Vec<Submitted> {
        self.0.take().into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(submits: &mut Submits, device: u32, threshold: u32, stack: StackId) -> bool {
        submits.add(SubmittedRequest { device, operation: 1, bytes: 4096 }, threshold, stack)
    }

    #[test]
    fn a_sample_stands_for_as_many_requests_as_its_chance_says() {
        let mut submits = Submits::default();
        add(&mut submits, 3, u32::MAX, 7);
        add(&mut submits, 3, u32::MAX / 8, 7);
        add(&mut submits, 4, u32::MAX, 7);
        let expected = [
            Submitted { device: 3, operation: 1, stack: 7, samples: 2, count: 9, bytes: 9 * 4096 },
            Submitted { device: 4, operation: 1, stack: 7, samples: 1, count: 1, bytes: 4096 },
        ];
        assert_eq!(submits.take(), expected);
    }

    #[test]
    fn rows_have_a_bound() {
        let mut submits = Submits::default();
        let kept = (0..MOST_ROWS as u32 + 5).filter(|&stack| add(&mut submits, 3, u32::MAX, stack)).count();
        assert_eq!((kept, submits.take().len()), (MOST_ROWS, MOST_ROWS));
    }
}
