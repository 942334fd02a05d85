//! The few calls of MIT's `libgssapi_krb5` that a server needs: all the unsafe code of Kerberos.
//!
//! Bound by hand: a binding crate would bring a C parser to build with, and more calls than these.
//! The signatures and constants are those of RFC 2744 and of MIT's `gssapi_ext.h`, as Linux has
//! them on every processor. What holds for all of them:
//!
//! - Arguments that the library only reads (names, tokens, OIDs, the store) live in locals until
//!   it returns; it copies what it keeps. It never writes through a buffer that goes in.
//! - Buffers and names that it makes are owned by [`Made`] and [`Name`], which give them back to
//!   it once, by the calls made for that. Handles begin as null, which those calls pass over.
//! - Handles stay on the thread that opened them: raw pointers make every type here `!Send`.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::rc::Rc;

use crate::auth::{Accepted, SecurityContext};

#[repr(C)]
struct Buffer {
    length: usize,
    value: *mut c_void,
}

#[repr(C)]
struct Oid {
    length: u32,
    elements: *const c_void,
}

#[repr(C)]
struct OidSet {
    count: usize,
    elements: *const Oid,
}

#[repr(C)]
struct StoreElement {
    key: *const c_char,
    value: *const c_char,
}

#[repr(C)]
struct Store {
    count: u32,
    elements: *const StoreElement,
}

type Handle = *mut c_void;

#[link(name = "gssapi_krb5")]
unsafe extern "C" {
    fn gss_import_name(
        minor: *mut u32,
        text: *const Buffer,
        kind: *const Oid,
        name: *mut Handle,
    ) -> u32;
    fn gss_canonicalize_name(
        minor: *mut u32,
        name: Handle,
        mech: *const Oid,
        canonical: *mut Handle,
    ) -> u32;
    fn gss_display_name(
        minor: *mut u32,
        name: Handle,
        text: *mut Buffer,
        kind: *mut *const Oid,
    ) -> u32;
    fn gss_release_name(minor: *mut u32, name: *mut Handle) -> u32;
    fn gss_release_buffer(minor: *mut u32, buffer: *mut Buffer) -> u32;
    fn gss_acquire_cred_from(
        minor: *mut u32,
        name: Handle,
        seconds: u32,
        mechs: *const OidSet,
        usage: c_int,
        store: *const Store,
        credential: *mut Handle,
        actual_mechs: *mut *mut OidSet,
        actual_seconds: *mut u32,
    ) -> u32;
    fn gss_release_cred(minor: *mut u32, credential: *mut Handle) -> u32;
    fn gss_accept_sec_context(
        minor: *mut u32,
        context: *mut Handle,
        credential: Handle,
        token: *const Buffer,
        bindings: *const c_void,
        source: *mut Handle,
        mech: *mut *const Oid,
        reply: *mut Buffer,
        flags: *mut u32,
        seconds: *mut u32,
        delegated: *mut Handle,
    ) -> u32;
    fn gss_wrap(
        minor: *mut u32,
        context: Handle,
        encrypts: c_int,
        quality: u32,
        message: *const Buffer,
        encrypted: *mut c_int,
        token: *mut Buffer,
    ) -> u32;
    fn gss_unwrap(
        minor: *mut u32,
        context: Handle,
        token: *const Buffer,
        message: *mut Buffer,
        encrypted: *mut c_int,
        quality: *mut u32,
    ) -> u32;
    fn gss_delete_sec_context(minor: *mut u32, context: *mut Handle, token: *mut Buffer) -> u32;
    fn gss_display_status(
        minor: *mut u32,
        status: u32,
        kind: c_int,
        mech: *const Oid,
        more: *mut u32,
        text: *mut Buffer,
    ) -> u32;
}

const COMPLETE: u32 = 0;
const CONTINUE_NEEDED: u32 = 1;
const INDEFINITE: u32 = u32::MAX;
const ACCEPT_ONLY: c_int = 2;
const STATUS_OF_CALL: c_int = 1;
const STATUS_OF_MECHANISM: c_int = 2;

/// 1.2.840.113554.1.2.2, and behind it the kind of name that is a principal's.
const PRINCIPAL_NAME: [u8; 10] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x01];
const KERBEROS_BYTES: u32 = 9;

/// Parts of one message of the library's: there is one, or two.
const STATUS_PARTS: usize = 4;

fn kerberos() -> Oid {
    Oid { length: KERBEROS_BYTES, elements: PRINCIPAL_NAME.as_ptr().cast() }
}

/// Bytes of ours, for the duration of one call.
fn lent(bytes: &[u8]) -> Buffer {
    Buffer { length: bytes.len(), value: bytes.as_ptr().cast_mut().cast() }
}

/// A buffer that the library fills, or leaves empty.
struct Made(Buffer);

impl Made {
    fn empty() -> Made {
        Made(Buffer { length: 0, value: null_mut() })
    }

    fn bytes(&self) -> &[u8] {
        if self.0.value.is_null() {
            return &[];
        }
        // SAFETY: the library says that so many bytes are there, and they are its until we give
        // them back, which `drop` does; nobody writes to them meanwhile.
        unsafe { std::slice::from_raw_parts(self.0.value.cast(), self.0.length) }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // SAFETY: the buffer is as the library left it, and this is the only time.
        unsafe { gss_release_buffer(&mut 0, &mut self.0) };
    }
}

struct Name(Handle);

impl Name {
    fn of_principal(principal: &str) -> Result<Name, String> {
        let kind =
            Oid { length: PRINCIPAL_NAME.len() as u32, elements: PRINCIPAL_NAME.as_ptr().cast() };
        let (mut minor, mut name) = (0, Name(null_mut()));
        // SAFETY: see the top; the handle is ours to give back.
        let major =
            unsafe { gss_import_name(&mut minor, &lent(principal.as_bytes()), &kind, &mut name.0) };
        if major == COMPLETE { Ok(name) } else { Err(reason(major, minor)) }
    }

    /// With its realm, the default one where it has none.
    fn canonical(&self) -> Result<Name, String> {
        let (mut minor, mut name) = (0, Name(null_mut()));
        // SAFETY: see the top; `self` holds a name for the call, and the new handle is ours.
        let major = unsafe { gss_canonicalize_name(&mut minor, self.0, &kerberos(), &mut name.0) };
        if major == COMPLETE { Ok(name) } else { Err(reason(major, minor)) }
    }

    fn text(&self) -> Result<String, String> {
        let (mut minor, mut text) = (0, Made::empty());
        // SAFETY: see the top; who calls this has a name that is not null.
        let major = unsafe { gss_display_name(&mut minor, self.0, &mut text.0, null_mut()) };
        if major != COMPLETE {
            return Err(reason(major, minor));
        }
        let text = String::from_utf8(text.bytes().to_vec());
        text.map_err(|_| "a principal is no text".to_owned())
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // SAFETY: null, or a name that nobody else has.
        unsafe { gss_release_name(&mut 0, &mut self.0) };
    }
}

struct Credential(Handle);

impl Drop for Credential {
    fn drop(&mut self) {
        // SAFETY: null, or a credential that nobody else has: contexts hold the `Rc` of this.
        unsafe { gss_release_cred(&mut 0, &mut self.0) };
    }
}

/// The keys of one principal.
pub struct Acceptor(Rc<Credential>);

impl Acceptor {
    /// The system's default keytab where none is named.
    pub fn open(principal: &str, keytab: Option<&str>) -> Result<Acceptor, String> {
        let name = Name::of_principal(principal)?;
        let c_text = |text: &str| CString::new(text).map_err(|_| "a path with a zero".to_owned());
        let value = keytab.map(|path| c_text(&format!("FILE:{path}"))).transpose()?;
        let element = value
            .as_ref()
            .map(|value| StoreElement { key: c"keytab".as_ptr(), value: value.as_ptr() });
        let elements = element.as_ref().map_or(null(), |element| element as *const StoreElement);
        let store = Store { count: u32::from(element.is_some()), elements };
        let store = if element.is_some() { &store as *const Store } else { null() };
        let mech = kerberos();
        let mechs = OidSet { count: 1, elements: &mech };
        let (mut minor, mut credential) = (0, Credential(null_mut()));
        // SAFETY: see the top; `value`, `element`, `store`, `mech` and `name` live beyond the call,
        // and what the last two arguments would tell is not asked for.
        let major = unsafe {
            gss_acquire_cred_from(
                &mut minor,
                name.0,
                INDEFINITE,
                &mechs,
                ACCEPT_ONLY,
                store,
                &mut credential.0,
                null_mut(),
                null_mut(),
            )
        };
        match major {
            COMPLETE => Ok(Acceptor(Rc::new(credential))),
            _ => Err(reason(major, minor)),
        }
    }

    /// For a new client.
    pub fn context(&self) -> Context {
        Context { handle: null_mut(), credential: Rc::clone(&self.0) }
    }
}

/// One client's. After an error nothing more may be asked of it, which `GssapiExchange` keeps to.
pub struct Context {
    handle: Handle,
    credential: Rc<Credential>,
}

impl SecurityContext for Context {
    fn accept(&mut self, token: &[u8]) -> Result<Accepted, String> {
        let (mut minor, mut source, mut reply) = (0, Name(null_mut()), Made::empty());
        // SAFETY: see the top; the handle is null or what the last call made of it, the credential
        // lives as long as this does, and what is null is not asked for: bindings, mechanism,
        // flags, lifetime, delegated credential.
        let major = unsafe {
            gss_accept_sec_context(
                &mut minor,
                &mut self.handle,
                self.credential.0,
                &lent(token),
                null(),
                &mut source.0,
                null_mut(),
                &mut reply.0,
                null_mut(),
                null_mut(),
                null_mut(),
            )
        };
        let principal = match major {
            CONTINUE_NEEDED => None,
            COMPLETE if !source.0.is_null() => Some(source.text()?),
            // Also what is complete with a doubt: an old token, or one that came twice.
            _ => return Err(reason(major, minor)),
        };
        Ok(Accepted { reply: reply.bytes().to_vec(), principal })
    }

    fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        let (mut minor, mut token) = (0, Made::empty());
        // SAFETY: see the top; a null handle is refused by the library, and never comes here.
        let major = unsafe {
            gss_wrap(&mut minor, self.handle, 0, 0, &lent(message), null_mut(), &mut token.0)
        };
        if major == COMPLETE { Ok(token.bytes().to_vec()) } else { Err(reason(major, minor)) }
    }

    fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
        let (mut minor, mut message) = (0, Made::empty());
        // SAFETY: as in `wrap`.
        let major = unsafe {
            let (token, out) = (&lent(token), &mut message.0);
            gss_unwrap(&mut minor, self.handle, token, out, null_mut(), null_mut())
        };
        if major == COMPLETE { Ok(message.bytes().to_vec()) } else { Err(reason(major, minor)) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: null, or a context that nobody else has; no farewell token is asked for.
        unsafe { gss_delete_sec_context(&mut 0, &mut self.handle, null_mut()) };
    }
}

/// Sets a variable of the environment, which the library reads by itself.
pub fn set_variable(name: &str, value: &str) -> Result<(), String> {
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if threads.as_ref().ok() != Some(&1) || value.contains('\0') {
        return Err(format!("{name} cannot be set from within: start zkd with {name}={value:?}"));
    }
    // SAFETY: nobody reads the environment meanwhile, since this is the only thread.
    unsafe { std::env::set_var(name, value) };
    Ok(())
}

/// The realm that a principal without one is in; none where the configuration names none.
pub fn default_realm() -> Option<String> {
    let text = Name::of_principal("x").and_then(|name| name.canonical()).and_then(|n| n.text());
    text.ok()?.strip_prefix("x@").map(str::to_owned)
}

/// In the library's own words.
fn reason(major: u32, minor: u32) -> String {
    let mut parts = Vec::new();
    // The mechanism's word says more, where there is one.
    if minor != 0 {
        words(minor, STATUS_OF_MECHANISM, &mut parts);
    }
    if parts.is_empty() {
        words(major, STATUS_OF_CALL, &mut parts);
    }
    parts.join(": ")
}

fn words(status: u32, kind: c_int, parts: &mut Vec<String>) {
    let mut more = 0;
    for _ in 0..STATUS_PARTS {
        let (mut minor, mut text) = (0, Made::empty());
        let mech = kerberos();
        // SAFETY: see the top; `more` carries the library's place from part to part.
        let major =
            unsafe { gss_display_status(&mut minor, status, kind, &mech, &mut more, &mut text.0) };
        if major != COMPLETE {
            return;
        }
        parts.push(String::from_utf8_lossy(text.bytes()).into_owned());
        if more == 0 {
            return;
        }
    }
}
