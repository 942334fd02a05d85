//! PKCS12, as keytool and openssl write it: a sum over bags, most of them encrypted.

use super::der::{self, Reader};
use super::pbe::Rounds;
use super::{Contents, ENTRIES, KeyEntry, PrivateKey, StoreError, certificate, pbe};

pub fn open(bytes: &[u8], password: &str) -> Result<Contents, StoreError> {
    let mut store = Reader::new(bytes).enter(der::SEQUENCE)?;
    if store.count(u32::MAX)? != 3 {
        return Err(StoreError::Unknown("another version than 3 of such a store".to_owned()));
    }
    let mut safe = store.enter(der::SEQUENCE)?;
    if safe.take(der::OID)? != DATA {
        return Err(StoreError::Unknown("a store with a signature of a key".to_owned()));
    }
    let mut rounds = Rounds::of_a_store();
    let data = safe.enter(der::inner(0))?.take(der::OCTETS)?;
    if let Some(sum) = store.take_if(der::SEQUENCE) {
        check_sum(&mut Reader::new(sum), data, password, &mut rounds)?;
    }
    let mut bags = Bags { keys: Vec::new(), certificates: Vec::new(), rounds };
    let mut safes = Reader::new(data).enter(der::SEQUENCE)?;
    while !safes.is_empty() {
        bags.take_safe(safes.enter(der::SEQUENCE)?, password)?;
    }
    bags.contents()
}

fn check_sum(
    sum: &mut Reader<'_>,
    data: &[u8],
    password: &str,
    budget: &mut Rounds,
) -> Result<(), StoreError> {
    let mut info = sum.enter(der::SEQUENCE)?;
    let digest = info.enter(der::SEQUENCE)?.take(der::OID)?;
    let told = info.take(der::OCTETS)?;
    let salt = sum.take(der::OCTETS)?;
    let rounds = match sum.take_if(der::INTEGER) {
        Some(content) => budget.spend(der::number(content, pbe::ROUNDS)?)?,
        None => 1,
    };
    match pbe::store_sum(digest, password, salt, rounds, data)? == told {
        true => Ok(()),
        false => Err(StoreError::WrongPassword),
    }
}

struct Bags {
    keys: Vec<Vec<u8>>,
    certificates: Vec<Bag>,
    rounds: Rounds,
}

struct Bag {
    certificate: Vec<u8>,
    /// Java's mark of what others are measured by.
    is_trusted: bool,
    /// It stands beside a key: the certificate of that key.
    has_key_id: bool,
}

impl Bags {
    fn take_safe(&mut self, mut safe: Reader<'_>, password: &str) -> Result<(), StoreError> {
        match safe.take(der::OID)? {
            DATA => {
                let content = safe.enter(der::inner(0))?.take(der::OCTETS)?;
                self.take_bags(content, password)
            }
            ENCRYPTED_DATA => {
                let mut data = safe.enter(der::inner(0))?.enter(der::SEQUENCE)?;
                data.take(der::INTEGER)?;
                let mut content = data.enter(der::SEQUENCE)?;
                content.take(der::OID)?;
                let mut algorithm = content.enter(der::SEQUENCE)?;
                let sealed = content.take(IMPLICIT_OCTETS)?;
                let opened = pbe::decrypt(&mut algorithm, sealed, password, &mut self.rounds)?;
                self.take_bags(&opened, password)
            }
            oid => Err(StoreError::Unknown(format!("a part of the kind {}", der::dotted(oid)))),
        }
    }

    fn take_bags(&mut self, content: &[u8], password: &str) -> Result<(), StoreError> {
        let mut bags = Reader::new(content).enter(der::SEQUENCE)?;
        while !bags.is_empty() {
            if self.keys.len() + self.certificates.len() >= ENTRIES {
                return Err(StoreError::TooMuch("the number of entries"));
            }
            self.take_bag(bags.enter(der::SEQUENCE)?, password)?;
        }
        Ok(())
    }

    fn take_bag(&mut self, mut bag: Reader<'_>, password: &str) -> Result<(), StoreError> {
        let [prefix @ .., kind] = bag.take(der::OID)? else { return Ok(()) };
        let mut value = bag.enter(der::inner(0))?;
        if prefix != BAG {
            return Ok(());
        }
        match kind {
            1 => self.keys.push(value.next()?.whole.to_vec()),
            2 => {
                let mut shrouded = value.enter(der::SEQUENCE)?;
                let mut algorithm = shrouded.enter(der::SEQUENCE)?;
                let sealed = shrouded.take(der::OCTETS)?;
                self.keys.push(pbe::decrypt(&mut algorithm, sealed, password, &mut self.rounds)?);
            }
            3 => {
                let mut held = value.enter(der::SEQUENCE)?;
                if held.take(der::OID)? == X509 {
                    let certificate = held.enter(der::inner(0))?.take(der::OCTETS)?.to_vec();
                    let attributes = attributes(&mut bag)?;
                    self.certificates.push(Bag {
                        certificate,
                        is_trusted: attributes.contains(&TRUSTED),
                        has_key_id: attributes.contains(&KEY_ID),
                    });
                }
            }
            // Lists and secrets, which no server of ours uses.
            _ => {}
        }
        Ok(())
    }

    fn contents(self) -> Result<Contents, StoreError> {
        let has_keys = !self.keys.is_empty();
        let mut contents = Contents::default();
        let all: Vec<&[u8]> = self.certificates.iter().map(|bag| &bag.certificate[..]).collect();
        let leaves: Vec<&Bag> = self.certificates.iter().filter(|bag| bag.has_key_id).collect();
        for (n, key) in self.keys.into_iter().enumerate() {
            let own = leaves.get(n).map(|leaf| &leaf.certificate[..]).or(all.first().copied());
            let chain = own.map(|own| certificate::chain_of(own, &all)).unwrap_or_default();
            contents.keys.push(KeyEntry { key: PrivateKey::Pkcs8(key), chain });
        }
        let any_marked = self.certificates.iter().any(|bag| bag.is_trusted);
        for bag in &self.certificates {
            // openssl does not mark what is trusted; a store without keys is for nothing else.
            if bag.is_trusted || (!any_marked && !has_keys) {
                contents.trusted.push(bag.certificate.clone());
            }
        }
        Ok(contents)
    }
}

/// The kinds of a bag's attributes.
fn attributes<'a>(bag: &mut Reader<'a>) -> Result<Vec<&'a [u8]>, StoreError> {
    let mut kinds = Vec::new();
    let Some(set) = bag.take_if(der::SET) else { return Ok(kinds) };
    let mut set = Reader::new(set);
    while !set.is_empty() && kinds.len() < ATTRIBUTES {
        kinds.push(set.enter(der::SEQUENCE)?.take(der::OID)?);
    }
    Ok(kinds)
}

const ATTRIBUTES: usize = 64;

/// An octet string as `[0]` of its context.
const IMPLICIT_OCTETS: u8 = 0x80;

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
const BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01];
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
const KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15];
const TRUSTED: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01];
