#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| flowacl_fuzz::memo(octets));
