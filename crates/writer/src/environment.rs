//! The SDK's configuration from variables of the environment alone, as Lambda gives them to a function.
//!
//! The SDK's own loader also knows profiles, assumed roles, containers and EC2 instances, with a client for each: a
//! seventh of the producer's executable, for what a function of a zip on an OS-only runtime is not given. (With SnapStart,
//! which those do not have, credentials come from an endpoint as those of a container do.)

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use crate::trust::{BadBundle, connected, others};

/// As the SDK's loader sets it.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// What was looked for, and what to do for want of it.
const NO_CREDENTIALS: &str = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set, and credentials are looked \
    for nowhere else: neither in profiles nor at AWS_CONTAINER_CREDENTIALS_FULL_URI; `aws configure export-credentials --format env` writes down those of a profile";

/// The services that may have an endpoint of their own, by the SDK's names for them.
const SERVICES: [&str; 2] = ["Kinesis", "SQS"];

/// Reads credentials (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`), region (`AWS_REGION`,
/// `AWS_DEFAULT_REGION`), endpoints (`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_KINESIS`, `AWS_ENDPOINT_URL_SQS`,
/// `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS`, `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT`) and the name in the user
/// agent (`AWS_SDK_UA_APP_ID`) from the variables of the environment, which `var` gives; no others of the SDK's, but for
/// those that say whom to trust and where a proxy is. All clients made from this configuration share their connections; none is
/// made yet. An empty value counts as unset. Where there are no credentials, each request fails and says so.
///
/// # Errors
/// When the variable `AWS_CA_BUNDLE` names a file that is of no use.
pub fn sdk_config_from_env(var: impl Fn(&str) -> Option<String>) -> Result<SdkConfig, BadBundle> {
    let named = |name: &str| var(name).filter(|value| !value.is_empty());
    let others = others(named)?;
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(named("AWS_REGION").or_else(|| named("AWS_DEFAULT_REGION")).map(Region::new))
        .credentials_provider(SharedCredentialsProvider::new(Keys::read(named)))
        .service_config(Endpoints::read(named))
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build());
    config.set_use_fips(is_true(named, "AWS_USE_FIPS_ENDPOINT"));
    config.set_use_dual_stack(is_true(named, "AWS_USE_DUALSTACK_ENDPOINT"));
    config.set_app_name(app_name(named));
    Ok(connected(config.build(), named, others))
}

fn app_name(named: impl Fn(&str) -> Option<String>) -> Option<AppName> {
    let value = named("AWS_SDK_UA_APP_ID")?;
    let read = AppName::new(value.clone());
    if let Err(why) = &read {
        tracing::warn!("AWS_SDK_UA_APP_ID is {value}: {why}");
    }
    read.ok()
}

/// `true` and `false` as every SDK reads them; whatever else is named in the log and counts as unset.
fn is_true(named: impl Fn(&str) -> Option<String>, name: &str) -> Option<bool> {
    let value = named(name)?;
    let read = value.to_ascii_lowercase().parse().ok();
    if read.is_none() {
        tracing::warn!("{name} is {value}, expected true or false");
    }
    read
}

/// The credentials of the function's role, which stay the same for as long as the process lives.
#[derive(Debug)]
struct Keys(Option<Credentials>);

impl Keys {
    fn read(named: impl Fn(&str) -> Option<String>) -> Self {
        let keys = named("AWS_ACCESS_KEY_ID").zip(named("AWS_SECRET_ACCESS_KEY"));
        let token = named("AWS_SESSION_TOKEN");
        Self(keys.map(|(id, secret)| Credentials::new(id, secret, token, None, "environment")))
    }
}

impl ProvideCredentials for Keys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let missing = || CredentialsError::not_loaded(NO_CREDENTIALS);
        future::ProvideCredentials::ready(self.0.clone().ok_or_else(missing))
    }
}

/// The endpoints in place of AWS's own, each with the service whose it is.
#[derive(Debug)]
struct Endpoints(Vec<(&'static str, String)>);

impl Endpoints {
    fn read(named: impl Fn(&str) -> Option<String>) -> Self {
        if is_true(&named, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") == Some(true) {
            return Self(Vec::new());
        }
        let of = |service: &'static str| {
            let own = named(&format!("AWS_ENDPOINT_URL_{}", service.to_uppercase()));
            Some((service, own.or_else(|| named("AWS_ENDPOINT_URL"))?))
        };
        Self(SERVICES.into_iter().filter_map(of).collect())
    }
}

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let (_, url) = self.0.iter().find(|(service, _)| *service == key.service_id())?;
        (key.env() == "AWS_ENDPOINT_URL").then(|| url.clone())
    }
}

#[cfg(test)]
mod tests;
