//! One server, or two measured in turn: their stretches, added up and set beside each other.

use super::figures::{Stretch, ratios};
use super::json::Json;
use super::server::Server;

/// The stretches of each server.
pub type Stretches = Vec<Vec<Stretch>>;

/// Measures each server once a round: A B A B.
pub fn in_turn(
    servers: &[Server],
    rounds: u32,
    mut measure: impl FnMut(usize) -> Result<Stretch, String>,
) -> Result<Stretches, String> {
    let mut stretches = vec![Vec::new(); servers.len()];
    for _ in 0..rounds {
        for (n, server) in servers.iter().enumerate() {
            let stretch = measure(n).map_err(|why| format!("{}: {why}", server.address))?;
            stretches[n].push(stretch);
        }
    }
    Ok(stretches)
}

pub fn sum(stretches: &[Stretch]) -> Stretch {
    stretches.iter().fold(Stretch::nothing(), Stretch::plus)
}

pub fn pairs_of(stretches: &[Vec<Stretch>]) -> Vec<(Stretch, Stretch)> {
    match stretches {
        [first, second] => first.iter().cloned().zip(second.iter().cloned()).collect(),
        _ => Vec::new(),
    }
}

/// `targets`, each with its stretches, and the `ratios` of two.
pub fn json(servers: &[Server], stretches: &[Vec<Stretch>]) -> Vec<(&'static str, Json)> {
    let target = |(server, stretches): (&Server, &Vec<Stretch>)| {
        let mut fields = vec![("address", Json::text(server.address.to_string()))];
        fields.extend(sum(stretches).json());
        let each = stretches.iter().map(|s| Json::Object(s.json())).collect();
        fields.push(("stretches", Json::List(each)));
        Json::Object(fields)
    };
    let targets = servers.iter().zip(stretches).map(target).collect();
    let mut fields = vec![("targets", Json::List(targets))];
    let ratios = ratios(&pairs_of(stretches));
    if !ratios.is_empty() {
        fields.push(("ratios", Json::Object(ratios.iter().map(|r| r.json()).collect())));
    }
    fields
}

pub fn text(servers: &[Server], stretches: &[Vec<Stretch>], is_open_loop: bool) -> String {
    let mut text = String::new();
    for (server, stretches) in servers.iter().zip(stretches) {
        text += &format!("{}\n{}", server.address, sum(stretches).lines(is_open_loop));
    }
    text + &ratio_lines(&pairs_of(stretches))
}

pub fn ratio_lines(pairs: &[(Stretch, Stretch)]) -> String {
    let line = |ratio: super::figures::Ratio| {
        format!(
            "{:>20}: first over second {:.3} (pairs {:.3} to {:.3})\n",
            ratio.name, ratio.median, ratio.least, ratio.most
        )
    };
    ratios(pairs).into_iter().map(line).collect()
}
