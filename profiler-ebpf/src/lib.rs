//! Kernel programs of profiler.
#![no_std]
