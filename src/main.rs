//! The program: parse, call one command, map the error to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    quiet_mesa();
    shiftnet::cli::run()
}

/// Without a desktop session, Mesa's device-select layer complains on the standard error stream that it finds
/// no Wayland display. It only reorders adapters, which this program does itself.
fn quiet_mesa() {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the program has no other thread yet that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
