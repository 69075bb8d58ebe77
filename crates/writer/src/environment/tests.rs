//! What comes of the variables, as tables.

use super::*;

fn read(vars: &[(&str, &str)]) -> SdkConfig {
    let var = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    sdk_config_from_env(var).unwrap()
}

#[track_caller]
fn check_region(vars: &[(&str, &str)], want: Option<&str>) {
    assert_eq!(read(vars).region().map(AsRef::as_ref), want, "{vars:?}");
}

#[test]
fn the_region_is_aws_region_or_the_default() {
    check_region(&[], None);
    check_region(&[("AWS_DEFAULT_REGION", "eu-west-1")], Some("eu-west-1"));
    check_region(&[("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_REGION", "us-east-1")], Some("us-east-1"));
    check_region(&[("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_REGION", "")], Some("eu-west-1"));
}

#[track_caller]
fn check_endpoints(vars: &[(&str, &str)], kinesis: Option<&str>, sqs: Option<&str>) {
    let config = read(vars);
    // As the clients ask.
    let of = |id| {
        let key = ServiceConfigKey::builder().service_id(id).env("AWS_ENDPOINT_URL").profile("endpoint_url");
        config.service_config().unwrap().load_config(key.build().unwrap())
    };
    assert_eq!((of("Kinesis").as_deref(), of("SQS").as_deref()), (kinesis, sqs), "{vars:?}");
    assert_eq!(of("STS"), None);
}

#[test]
fn an_endpoint_is_the_services_own_or_that_of_all() {
    let (all, own) = (("AWS_ENDPOINT_URL", "http://all"), ("AWS_ENDPOINT_URL_KINESIS", "http://own"));
    check_endpoints(&[], None, None);
    check_endpoints(&[all], Some("http://all"), Some("http://all"));
    check_endpoints(&[own], Some("http://own"), None);
    check_endpoints(&[all, own], Some("http://own"), Some("http://all"));
    check_endpoints(&[all, ("AWS_ENDPOINT_URL_SQS", "http://sqs")], Some("http://all"), Some("http://sqs"));
    check_endpoints(&[all, ("AWS_ENDPOINT_URL_SQS", "")], Some("http://all"), Some("http://all"));
    check_endpoints(&[all, own, ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")], None, None);
}

#[test]
fn fips_and_dual_stack_endpoints_are_asked_for_by_true() {
    for (value, want) in
        [("true", Some(true)), ("True", Some(true)), ("FALSE", Some(false)), ("1", None), ("", None)]
    {
        let config = read(&[("AWS_USE_FIPS_ENDPOINT", value)]);
        assert_eq!((config.use_fips(), config.use_dual_stack()), (want, None), "{value}");
        let config = read(&[("AWS_USE_DUALSTACK_ENDPOINT", value)]);
        assert_eq!((config.use_fips(), config.use_dual_stack()), (None, want), "{value}");
    }
}

#[test]
fn what_the_loader_sets_is_set_and_the_name_in_the_user_agent_is_taken_if_it_is_one() {
    let config = read(&[]);
    assert_eq!(config.timeout_config().unwrap().connect_timeout(), Some(CONNECT_TIMEOUT));
    assert!(config.behavior_version().is_some() && config.http_client().is_some());
    for (value, want) in [("rivulet", Some("rivulet")), ("no name", None), ("", None)] {
        let config = read(&[("AWS_SDK_UA_APP_ID", value)]);
        assert_eq!(config.app_name().map(AsRef::as_ref), want, "{value}");
    }
    let bundle = |name: &str| (name == "AWS_CA_BUNDLE").then(|| "/no/such/file".to_owned());
    assert!(sdk_config_from_env(bundle).is_err());
}

#[tokio::test]
async fn credentials_are_the_three_variables() {
    let (id, secret) = (("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret"));
    let of = async |vars: &[_]| read(vars).credentials_provider().unwrap().provide_credentials().await;
    let found = of(&[id, secret, ("AWS_SESSION_TOKEN", "token")]).await.unwrap();
    assert_eq!((found.access_key_id(), found.secret_access_key()), ("id", "secret"));
    assert_eq!(found.session_token(), Some("token"));
    assert_eq!(of(&[id, secret]).await.unwrap().session_token(), None);
    for vars in [&[][..], &[id], &[secret], &[id, ("AWS_SECRET_ACCESS_KEY", "")]] {
        let error = of(vars).await.unwrap_err();
        let words = std::error::Error::source(&error).unwrap().to_string();
        assert!(words.contains("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set"), "{words}");
    }
}
