//! `read_deep DEVICE DEPTH ROUNDS`: in each round so many reads of 4 KiB at random places of a block device, past the page cache, all
//! under way at once.
