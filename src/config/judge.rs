//! What is refused, what only earns a line: keys that do nothing here, unknown names.

use super::flags::SystemProperties;
use super::keys::{self, Effect, Kind, Place, TRAPS};
use super::nearest::nearest;
use super::read::{File, SASL_PROVIDER};
use super::values;
use super::{Config, ConfigError};

/// Classes of `authProvider.N`: two whose schemes are there in any case, `sasl` and `x509`.
const PROVIDERS: [&str; 4] = [
    "org.apache.zookeeper.server.auth.DigestAuthenticationProvider",
    "org.apache.zookeeper.server.auth.IPAuthenticationProvider",
    SASL_PROVIDER,
    "org.apache.zookeeper.server.auth.X509AuthenticationProvider",
];

/// Every key that was named, in the file or as a system property.
pub fn keys(
    config: &mut Config,
    file: &File,
    properties: &SystemProperties,
) -> Result<(), ConfigError> {
    sasl_order(file)?;
    metrics_provider(file)?;
    for (key, value) in file.pairs() {
        named(config, file, key, value)?;
    }
    let mut of_java = Vec::new();
    for (name, value) in properties.pairs() {
        match name.strip_prefix("zookeeper.") {
            Some(key) if is_not_read(key) => config
                .warnings
                .push(format!("-D{name}: {key} is read from zoo.cfg only and does nothing here")),
            Some(key) => named(config, file, key, value)?,
            None if keys::find(name).is_some_and(|k| k.place != Place::File) => {
                named(config, file, name, value)?;
            }
            None => of_java.push(name.as_str()),
        }
    }
    if !of_java.is_empty() {
        config.warnings.push(format!(
            "system properties of a Java machine do nothing here: {}",
            of_java.join(" ")
        ));
    }
    config.warnings.extend(properties.warning());
    Ok(())
}

fn is_not_read(key: &str) -> bool {
    keys::find(key).is_some_and(|k| k.place == Place::File && !key.starts_with("multiAddress."))
}

fn named(config: &mut Config, file: &File, key: &str, value: &str) -> Result<(), ConfigError> {
    if key.starts_with("authProvider.") {
        return provider(file, key, value);
    }
    let known = keys::find(key);
    let effect = known.map(|k| k.effect).or_else(|| keys::family(key));
    let Some(effect) = effect else {
        config.warnings.push(unknown(key));
        return Ok(());
    };
    if let Some(known) = known {
        kind(config, file, known, value)?;
    }
    let is_default = known.is_some_and(|k| k.default.eq_ignore_ascii_case(value));
    if is_default {
        return Ok(());
    }
    let why = match effect {
        Effect::Used => return Ok(()),
        Effect::Ensemble if config.ensemble.member.is_some() => return Ok(()),
        // What is said of SASL in words concerns nobody until a switch is on, which is refused.
        Effect::Sasl if known.is_some_and(|k| k.kind == Kind::Text) => {
            "SASL between servers is off, and is not built yet"
        }
        Effect::Tls | Effect::Sasl => {
            let what = if effect == Effect::Tls { "TLS" } else { "SASL between servers" };
            if value.is_empty() || value.eq_ignore_ascii_case("false") {
                return Ok(());
            }
            let reason = format!(
                "{what} is not built yet, and without it the server would be less safe than this \
                 file asks for; remove the key to start without {what}"
            );
            return Err(file.fault(key, reason));
        }
        Effect::Oracle => {
            let reason = "an oracle that decides where half of the servers are gone is not built; \
                          remove the key to leave it to a majority";
            return Err(file.fault(key, reason));
        }
        Effect::Always if !value.eq_ignore_ascii_case("false") => return Ok(()),
        Effect::Always => "the server does so in any case",
        Effect::Ensemble => "it is for ensembles",
        Effect::Java => "it tunes a part that only the Java server has",
        Effect::Later => "it is not built yet",
    };
    config.warnings.push(format!("{key} does nothing here: {why}"));
    Ok(())
}

/// What Java would not take of a key that does nothing here, it does not take here either.
fn kind(
    config: &mut Config,
    file: &File,
    known: &keys::Key,
    value: &str,
) -> Result<(), ConfigError> {
    if matches!(known.effect, Effect::Used | Effect::Ensemble) {
        return Ok(());
    }
    match (known.place, known.kind) {
        (Place::File, Kind::Bool) => file.flag(known.name, false).map(|_| ()),
        (Place::File, Kind::Int) => file.int(known.name, 0).map(|_| ()),
        (Place::Property | Place::Bare, Kind::Int)
            if values::decode(value).is_none() && !value.is_empty() =>
        {
            config.warnings.push(format!("{}: '{value}' is no number", known.name));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn provider(file: &File, key: &str, class: &str) -> Result<(), ConfigError> {
    if PROVIDERS.contains(&class) {
        return Ok(());
    }
    let reason = format!(
        "the class {class} cannot be loaded here; what it would guard would stand open. There \
         are the schemes world, auth, digest, ip, sasl and x509; remove the key to use them alone"
    );
    Err(file.fault(key, reason))
}

fn unknown(key: &str) -> String {
    if let Some((_, real)) = TRAPS.iter().find(|(trap, _)| *trap == key) {
        return format!("{key} is in documents, but no server reads it; the name is {real}");
    }
    if let Some(rest) = key.strip_prefix("zookeeper.")
        && (keys::find(rest).is_some() || keys::family(rest).is_some())
    {
        return format!("{key} is unknown; in zoo.cfg it is written {rest}");
    }
    match nearest(key) {
        Some(name) => format!("{key} is unknown; did you mean {name}?"),
        None => format!("{key} is unknown and does nothing"),
    }
}

/// Java's check that the three switches of quorum SASL go together.
fn sasl_order(file: &File) -> Result<(), ConfigError> {
    let names = ["enableSasl", "learnerRequireSasl", "serverRequireSasl"];
    let [enable, learner, server] = names.map(|n| format!("quorum.auth.{n}"));
    let disabled = |off: &str, on: &str| {
        Err(file.fault(on, format!("{off} is disabled, so cannot enable {on}")))
    };
    let is_enabled = file.flag(&enable, false)?;
    let (of_learner, of_server) = (file.flag(&learner, false)?, file.flag(&server, false)?);
    match (is_enabled, of_learner, of_server) {
        (false, _, true) => disabled(&enable, &server),
        (false, true, _) => disabled(&enable, &learner),
        (_, false, true) => disabled(&learner, &server),
        _ => Ok(()),
    }
}

fn metrics_provider(file: &File) -> Result<(), ConfigError> {
    const CLASSES: [&str; 3] = [
        "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
        "org.apache.zookeeper.metrics.impl.NullMetricsProvider",
        "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
    ];
    match file.text("metricsProvider.className") {
        Some(class) if !CLASSES.contains(&class) => {
            Err(file.fault("metricsProvider.className", "metrics provider class was not found"))
        }
        _ => Ok(()),
    }
}
