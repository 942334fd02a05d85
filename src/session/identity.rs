//! Session ids and passwords, computable by every server without shared state.

use crate::base::{Instant, ServerId, SessionId};

pub const PASSWORD_BYTES: usize = 16;

/// What Java mixes into a session id before it seeds the generator.
const SUPER_SECRET: i64 = 0xB341_5C00;

/// The first id a server gives out: its number in the high byte, then 40 bits of milliseconds,
/// then room for 65,536 sessions a millisecond.
pub fn first_id(server: ServerId, now: Instant) -> SessionId {
    let millis = now.as_ms().wrapping_shl(24) >> 8;
    let id = millis as i64 | server.0.wrapping_shl(56);
    // That value marks containers where it stands as an owner.
    SessionId(if id == i64::MIN { id + 1 } else { id })
}

/// The password of a session: sixteen bytes of `java.util.Random` seeded by its id.
pub fn password(id: SessionId) -> [u8; PASSWORD_BYTES] {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut seed = ((id.0 ^ SUPER_SECRET) as u64 ^ MULTIPLIER) & MASK;
    let mut out = [0; PASSWORD_BYTES];
    for word in out.chunks_exact_mut(4) {
        seed = seed.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        word.copy_from_slice(&((seed >> 16) as u32).to_le_bytes());
    }
    out
}

pub fn check_password(id: SessionId, given: &[u8]) -> bool {
    id != SessionId::NONE && given == password(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_the_one_a_live_server_gave() {
        let id = SessionId(0x0100_0011_8e90_0002);
        let expected = 0x1c57_cd75_6727_ceda_067d_5d28_2117_1a81_u128.to_be_bytes();
        assert_eq!(password(id), expected);
        assert!(check_password(id, &expected));
        assert!(!check_password(id, &expected[..15]));
        assert!(!check_password(SessionId(id.0 + 1), &expected));
        assert!(!check_password(SessionId::NONE, &password(SessionId::NONE)));
    }

    #[test]
    fn ids_carry_server_time_and_room() {
        let ms = 0x118e9;
        let id = first_id(ServerId(1), Instant(0).plus_ms(ms));
        assert_eq!(id.0, 0x0100_0001_18e9_0000);
        assert_eq!(first_id(ServerId(255), Instant(0)).0, 0xff_i64 << 56);
        // Milliseconds beyond 40 bits do not reach the server's byte.
        let late = Instant(u64::MAX);
        assert_eq!(first_id(ServerId(7), late).0 >> 56, 7);
        assert_eq!(first_id(ServerId(128), Instant(0)).0, i64::MIN + 1);
    }
}
