//! The thread that looks at Kerberos tickets, in builds that have one.

#[cfg(feature = "kerberos")]
mod built {
    use zkd::auth::{KerberosAsk, KerberosSaid, KerberosServer};
    use zkd::base::Fatal;
    use zkd::config::Config;
    use zkd::kerberos::{self, Kerberos};

    use crate::start::login::{Service, principal_rules};

    pub struct Tickets(Kerberos);

    /// What has to be so before there is any other thread.
    pub fn configure(config: &Config) -> Result<(), String> {
        let kerberos = &config.auth.sasl.kerberos;
        if let Some(path) = &kerberos.config_file {
            kerberos::use_configuration(path)?;
        }
        if kerberos.require_config && kerberos::default_realm().is_none() {
            return Err("requireKerberosConfig=true: krb5.conf names no default realm".to_owned());
        }
        Ok(())
    }

    impl Tickets {
        /// Opens the keys; the node gets the rules, and asks what it does not know.
        pub fn start(
            config: &Config,
            service: &Service,
            wake: impl Fn() + Send + 'static,
        ) -> Result<(Tickets, KerberosServer), Fatal> {
            let Service { principal, keytab } = service;
            let kerberos = Kerberos::start(principal, keytab.as_deref(), wake).map_err(|e| {
                let place = keytab.as_deref().unwrap_or("the default keytab");
                Fatal::InvalidInvocation(format!(
                    "no keys for {principal} in {place}, so that no client could prove itself by \
                     Kerberos: {e}"
                ))
            })?;
            let rules = principal_rules(&config.auth.sasl, &kerberos.default_realm)
                .map_err(Fatal::InvalidInvocation)?;
            log::info!("Clients may prove themselves by SASL (GSSAPI) to {principal}");
            Ok((Tickets(kerberos), KerberosServer::new(rules)))
        }

        pub fn ask(&self, ask: KerberosAsk) {
            self.0.ask(ask);
        }

        pub fn poll(&self, out: &mut Vec<KerberosSaid>) {
            self.0.poll(out);
        }
    }
}

#[cfg(not(feature = "kerberos"))]
mod built {
    use std::convert::Infallible;

    use zkd::auth::{KerberosAsk, KerberosSaid, KerberosServer};
    use zkd::base::Fatal;
    use zkd::config::Config;

    use crate::start::login::Service;

    /// There are none.
    pub struct Tickets(Infallible);

    pub fn configure(_: &Config) -> Result<(), String> {
        Ok(())
    }

    impl Tickets {
        /// Login files that ask for it were refused before.
        pub fn start(
            _: &Config,
            service: &Service,
            _: impl Fn() + Send + 'static,
        ) -> Result<(Tickets, KerberosServer), Fatal> {
            let principal = &service.principal;
            let text = format!("this build has no Kerberos, which {principal} wants");
            Err(Fatal::InvalidInvocation(text))
        }

        pub fn ask(&self, _: KerberosAsk) {
            match self.0 {}
        }

        pub fn poll(&self, _: &mut Vec<KerberosSaid>) {
            match self.0 {}
        }
    }
}

pub use built::{Tickets, configure};
