//! What is refused, what only earns a line: members, keys that do nothing here, unknown names.

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

/// One server alone is standalone in Java too; more are an ensemble, which is not built yet.
pub fn members(
    config: &mut Config,
    file: &File,
    dynamic: Option<(&str, &[u8])>,
) -> Result<(), ConfigError> {
    if let Some(alg) = file.text("electionAlg").filter(|alg| *alg != "3") {
        file.int("electionAlg", 3)?;
        let reason = format!("Invalid electionAlg value. Only 3 is supported. ({alg})");
        return Err(file.fault("electionAlg", reason));
    }
    let Some(path) = file.text("dynamicConfigFile") else {
        return servers(config, file);
    };
    let of_dynamic = |key: &str| {
        key.starts_with("server.") || key.starts_with("group") || key.starts_with("weight")
    };
    if let Some((key, _)) = file.pairs().find(|(key, _)| of_dynamic(key)) {
        let reason = format!("parameter: {key} must be in a separate dynamic config file");
        return Err(file.fault(key, reason));
    }
    let Some((name, text)) = dynamic else {
        return Err(file.fault("dynamicConfigFile", format!("{path} cannot be read")));
    };
    let dynamic = File::read(name, text, &mut config.warnings)?;
    if dynamic.text("version").is_some() {
        return Err(dynamic.fault("version", "dynamic file shouldn't have version inside"));
    }
    if let Some((key, _)) = dynamic.pairs().find(|(key, _)| !of_dynamic(key)) {
        return Err(dynamic.fault(key, format!("Unrecognised parameter: {key}")));
    }
    servers(config, &dynamic)
}

fn servers(config: &mut Config, file: &File) -> Result<(), ConfigError> {
    let (mut voters, mut observers) = (0, 0);
    let mut last = "";
    for (key, value) in file.pairs() {
        let Some(id) = key.strip_prefix("server.") else { continue };
        if id.parse::<i64>().is_err() {
            return Err(file.fault(key, format!("For input string: \"{id}\"")));
        }
        let address = value.split(';').next().unwrap_or("");
        let observes =
            address.rsplit(':').next().is_some_and(|w| w.eq_ignore_ascii_case("observer"));
        if observes {
            observers += 1;
        } else {
            voters += 1;
        }
        last = key;
    }
    let alone = config.ensemble.standalone_enabled;
    match (voters, observers) {
        (0, 0) if alone => Ok(()),
        (0, _) if !alone => {
            let reason = "standaloneEnabled = false then number of participants should be >0";
            Err(file.fault("standaloneEnabled", reason))
        }
        (0, _) => Err(file.fault(last, "Observers w/o participants is an invalid configuration")),
        (1, 0) if alone => {
            config.warnings.push(format!(
                "{}: only one server specified ({last}); it is started standalone",
                file.name
            ));
            Ok(())
        }
        (1, _) if alone => {
            Err(file.fault(last, "Observers w/o quorum is an invalid configuration"))
        }
        _ => {
            let reason = format!(
                "{voters} voting and {observers} observing servers make an ensemble, which zkd \
                 cannot join yet; name one server, or none, to run standalone"
            );
            Err(file.fault(last, reason))
        }
    }
}

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
    if known.effect == Effect::Used {
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
        (Place::File, Kind::Text) if known.name == "peerType" => {
            let types = ["observer", "participant"];
            if types.iter().any(|t| value.eq_ignore_ascii_case(t)) {
                return Ok(());
            }
            Err(file.fault(known.name, format!("Unrecognised peertype: {value}")))
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
