//! The other tests again on an older kernel: Linux 6.1 of the virtual machine.

#[path = "../machine/mod.rs"]
mod machine;

#[test]
fn all_tests_pass_on_an_older_kernel() {
    if !machine::available() {
        return;
    }
    // What passes in a second is there a matter of the emulator's speed, not of limits.
    let skip = ["older::", "in_the_long_run"].map(|name| ["--skip", name]);
    machine::run_tests(&["-t", "400"], &skip.concat());
}
