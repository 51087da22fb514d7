//! Ctrl-C: the run under way saves and ends; a second one ends the program at once.

use super::progress::eprintln_lossy;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

static PRESSED: AtomicBool = AtomicBool::new(false);
static RUN: Mutex<Option<Arc<AtomicBool>>> = Mutex::new(None);

/// From now on Ctrl-C sets `flag`, that of the run under way, and says `what` happens then. Where it was pressed already, between two
/// runs, the flag is set at once.
pub fn ends(flag: Arc<AtomicBool>, what: &'static str) {
    *RUN.lock().unwrap_or_else(PoisonError::into_inner) = Some(flag.clone());
    if pressed() {
        flag.store(true, Ordering::Relaxed);
    }
    let handler = move || {
        if PRESSED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln_lossy(&format!("interrupted: {what}; again to stop at once"));
        if let Some(flag) = &*RUN.lock().unwrap_or_else(PoisonError::into_inner) {
            flag.store(true, Ordering::Relaxed);
        }
    };
    // A handler that is set already is this one, or belongs to a program that uses this as a library.
    let _ = ctrlc::set_handler(handler);
}

/// Whether Ctrl-C was pressed.
pub fn pressed() -> bool {
    PRESSED.load(Ordering::Relaxed)
}
