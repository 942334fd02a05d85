//! The keys in use, and how others take their place while the server runs.

use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, Waker};
use rustix::fs::inotify;

use crate::config::Tls;

use super::Keys;

type Arrival = Arc<Mutex<Option<Result<Keys, String>>>>;

pub struct Renewal {
    settings: Tls,
    pub keys: Keys,
    /// What a thread that reads the files has found.
    arrival: Arrival,
    waker: Arc<Waker>,
    is_loading: bool,
    /// The files have changed once more since they began to be read.
    wants_again: bool,
    /// Said when it happened; not again while nothing else is wrong.
    last_fault: Option<String>,
    watch: Option<OwnedFd>,
}

impl Renewal {
    pub fn new(settings: Tls, keys: Keys, waker: Arc<Waker>) -> Renewal {
        Renewal {
            settings,
            keys,
            arrival: Arrival::default(),
            waker,
            is_loading: false,
            wants_again: false,
            last_fault: None,
            watch: None,
        }
    }

    /// Watches the folders of the files, where the configuration asks for it.
    pub fn watch(&mut self, registry: &Registry, token: Token) {
        if !self.settings.cert_reload {
            return;
        }
        match self.open_watch(registry, token) {
            Ok(watch) => self.watch = Some(watch),
            Err(e) => log::warn!(
                "client.certReload: files cannot be watched: {e}; they are read again on SIGHUP"
            ),
        }
    }

    fn open_watch(&self, registry: &Registry, token: Token) -> std::io::Result<OwnedFd> {
        use inotify::{CreateFlags, WatchFlags};
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let changes = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE;
        let tls = &self.settings;
        let named = [
            &tls.key_store.location,
            &tls.key_store.password_path,
            &tls.trust_store.location,
            &tls.trust_store.password_path,
            &tls.crl_location,
        ];
        for path in named.into_iter().flatten() {
            let folder = Path::new(path).parent().filter(|p| !p.as_os_str().is_empty());
            inotify::add_watch(&watch, folder.unwrap_or(Path::new(".")), changes)?;
        }
        registry.register(&mut SourceFd(&watch.as_raw_fd()), token, Interest::READABLE)?;
        Ok(watch)
    }

    /// Something has changed in a watched folder.
    pub fn on_change(&mut self) {
        let Some(watch) = &self.watch else { return };
        let mut told = [0; 4096];
        // Which file it was does not matter: they are compared once they are read.
        while rustix::io::read(watch, &mut told).is_ok_and(|count| count > 0) {}
        self.begin();
    }

    /// Reads the files in a thread of their own, which ends with that.
    pub fn begin(&mut self) {
        if self.is_loading {
            self.wants_again = true;
            return;
        }
        let settings = self.settings.clone();
        let (arrival, waker) = (Arc::clone(&self.arrival), Arc::clone(&self.waker));
        let load = move || {
            let loaded = Keys::load(&settings);
            *arrival.lock().expect("nobody panics with it") = Some(loaded);
            // It fails only where the loop is gone, and then nobody waits for it.
            let _ = waker.wake();
        };
        match std::thread::Builder::new().name("zkd-keys".to_owned()).spawn(load) {
            Ok(_) => self.is_loading = true,
            Err(e) => log::warn!("the TLS stores are not read again: no thread for it: {e}"),
        }
    }

    /// Takes what was read, if it has come.
    pub fn take_arrival(&mut self) {
        if !self.is_loading {
            return;
        }
        let arrived = match self.arrival.try_lock() {
            Ok(mut arrival) => arrival.take(),
            Err(_) => None,
        };
        let Some(arrived) = arrived else { return };
        self.is_loading = false;
        match arrived {
            Ok(keys) if keys.digest == self.keys.digest => self.last_fault = None,
            Ok(keys) => {
                log::info!(
                    "The TLS stores were read again; the certificate is {} now",
                    keys.serial
                );
                self.keys = keys;
                self.last_fault = None;
            }
            Err(fault) if self.last_fault.as_ref() == Some(&fault) => {}
            Err(fault) => {
                log::warn!(
                    "The TLS stores are not taken, the certificate stays {}: {fault}",
                    self.keys.serial
                );
                self.last_fault = Some(fault);
            }
        }
        if std::mem::take(&mut self.wants_again) {
            self.begin();
        }
    }

    pub fn settings(&self) -> &Tls {
        &self.settings
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewal({})", self.keys.serial)
    }
}
