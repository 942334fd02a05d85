//! In which order Java's hash tables give back what they hold. Apache writes a configuration in
//! that order, and clients and operators see it.

/// Where both kinds of table begin to grow: at three quarters.
fn three_quarters(buckets: usize) -> usize {
    buckets - buckets / 4
}

/// A `HashMap<Long, _>` that was given these keys, each once, in this order. Nine keys of one
/// bucket in a table of 64, which Java would make a tree of, stay in their order here.
pub fn hash_map(keys: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let mut buckets: Vec<Vec<i64>> = vec![Vec::new(); 16];
    let mut held = 0;
    for key in keys {
        let place = long_bucket(key, buckets.len());
        let bucket = &mut buckets[place];
        // A crowded bucket makes a small table grow, however empty the others are.
        let crowded = bucket.len() >= 8;
        bucket.push(key);
        held += 1;
        if crowded && buckets.len() < 64 {
            buckets = doubled(&buckets);
        }
        if held > three_quarters(buckets.len()) {
            buckets = doubled(&buckets);
        }
    }
    buckets.concat()
}

fn doubled(buckets: &[Vec<i64>]) -> Vec<Vec<i64>> {
    let mut larger = vec![Vec::new(); buckets.len() * 2];
    for key in buckets.iter().flatten() {
        let bucket = long_bucket(*key, larger.len());
        larger[bucket].push(*key);
    }
    larger
}

fn long_bucket(key: i64, buckets: usize) -> usize {
    bucket_of((key ^ (key as u64 >> 32) as i64) as u32, buckets)
}

fn bucket_of(hash: u32, buckets: usize) -> usize {
    (hash ^ (hash >> 16)) as usize & (buckets - 1)
}

/// A `Properties` that was given these keys, each once, in this order: which of them it gives
/// back first, second and so on. Inside, since Java 9, is a table made for concurrent use, whose
/// buckets turn about when it grows.
pub fn properties(keys: &[&str]) -> Vec<usize> {
    let hashes: Vec<u32> = keys.iter().map(|key| string_hash(key)).collect();
    let mut buckets: Vec<Vec<usize>> = vec![Vec::new(); 16];
    for (at, hash) in hashes.iter().enumerate() {
        let bucket = bucket_of(*hash, buckets.len());
        buckets[bucket].push(at);
        if at + 1 >= three_quarters(buckets.len()) {
            buckets = turned_about(&buckets, &hashes);
        }
    }
    buckets.concat()
}

/// Each bucket parts in two. What belongs together at its end moves as it is; the others come to
/// stand before it, backwards.
fn turned_about(buckets: &[Vec<usize>], hashes: &[u32]) -> Vec<Vec<usize>> {
    let mut larger = vec![Vec::new(); buckets.len() * 2];
    for bucket in buckets {
        let new_place = |at: &usize| bucket_of(hashes[*at], larger.len());
        let places: Vec<usize> = bucket.iter().map(new_place).collect();
        let Some(last) = places.last() else { continue };
        let run = places.iter().rposition(|place| place != last).map_or(0, |at| at + 1);
        for (at, place) in bucket[..run].iter().zip(&places[..run]).rev() {
            larger[*place].push(*at);
        }
        larger[*last].extend(&bucket[run..]);
    }
    larger
}

/// Java's `String.hashCode`.
fn string_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_ids_come_in_ascending_order_and_wrap_at_the_tables_size() {
        assert_eq!(hash_map([3, 1, 2]), [1, 2, 3]);
        assert_eq!(hash_map([10, 20, 30]), [20, 10, 30]);
        assert_eq!(hash_map([17, 1, 33, 2]), [17, 1, 33, 2]);
        assert_eq!(hash_map([5, -1, 1 << 32]), [-1, 1 << 32, 5]);
    }

    #[test]
    fn a_table_grows_past_three_quarters() {
        let twelve: Vec<i64> = (10..22).collect();
        assert_eq!(hash_map(twelve.clone())[..2], [16, 17]);
        let thirteen: Vec<i64> = (10..23).collect();
        assert_eq!(hash_map(thirteen.clone()), thirteen);
    }

    #[test]
    fn a_crowded_bucket_makes_the_table_grow() {
        let eight: Vec<i64> = (0..8).map(|n| n * 16).collect();
        assert_eq!(hash_map(eight.clone()), eight);
        let nine: Vec<i64> = (0..9).map(|n| n * 16).collect();
        assert_eq!(hash_map(nine), [0, 32, 64, 96, 128, 16, 48, 80, 112]);
    }

    #[test]
    fn strings_hash_as_in_java() {
        assert_eq!(string_hash("version"), 351_608_024);
        assert_eq!(string_hash("polygenelubricants"), 0x8000_0000);
    }
}
