//! What the operating system tells a process to do.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use crate::base::Fatal;

/// What an operator asks for by signals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub to_end: bool,
    /// To read the TLS stores again.
    pub to_renew: bool,
}

pub struct SignalInput {
    signals: Signals,
}

impl SignalInput {
    /// From here on SIGTERM and SIGINT ask for an orderly end and a second one ends the process
    /// on the spot, even one that hangs; SIGHUP asks for new
    /// TLS stores and SIGPIPE for nothing.
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

    /// What the process was asked for since the last call.
    pub fn asked(&mut self) -> Asked {
        let mut asked = Asked::default();
        for signal in self.signals.pending() {
            match signal {
                SIGTERM | SIGINT => asked.to_end = true,
                SIGHUP => asked.to_renew = true,
                _ => {}
            }
        }
        asked
    }
}
