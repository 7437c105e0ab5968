//! Live tests of `profiler` and the workloads of known truth that they record.
