#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerdist_interop_tests::fuzzing::run("discovery_server", bytes));
