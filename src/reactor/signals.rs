//! What the operating system tells a process to do.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use crate::base::Fatal;

pub struct SignalInput {
    signals: Signals,
}

impl SignalInput {
    /// From here on SIGTERM and SIGINT ask for an orderly end and a second one ends the process
    /// on the spot, even one that hangs; SIGHUP and SIGPIPE change nothing.
    pub fn register(registry: &Registry, token: Token) -> Result<SignalInput, Fatal> {
        let failed = |e| Fatal::Unexpected(format!("signals cannot be handled: {e}"));
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // Registered first, so that the first signal finds the flag still down.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&asked),
            )
            .map_err(failed)?;
            signal_hook::flag::register(signal, Arc::clone(&asked)).map_err(failed)?;
        }
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGPIPE]).map_err(failed)?;
        registry.register(&mut signals, token, Interest::READABLE).map_err(failed)?;
        Ok(SignalInput { signals })
    }

    /// Whether the process was asked to end since the last call.
    pub fn asks_to_end(&mut self) -> bool {
        let mut ends = false;
        for signal in self.signals.pending() {
            match signal {
                SIGTERM | SIGINT => ends = true,
                SIGHUP => log::info!("SIGHUP changes nothing; the configuration is read at start"),
                _ => {}
            }
        }
        ends
    }
}
