//! The functions as they are started here: the binaries beside this command, with the template's settings and nothing
//! of the caller's environment.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use local::runtime::FunctionConfig;

use crate::args::{FunctionArgs, Which};
use crate::template::{self, Template, Variable};

/// What the functions find around them, besides what the cloud tells them.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) stream_arn: String,
    /// Where undelivered packets go, if anywhere but to the log.
    pub(crate) queue_url: Option<String>,
    /// Variables that lead the AWS clients to a Kinesis that is not the cloud's.
    pub(crate) access: Vec<(String, String)>,
}

/// Variables that lead every AWS client to an endpoint, with credentials for it.
pub(crate) fn access(endpoint: &str, id: &str, secret: &str, token: Option<&str>) -> Vec<(String, String)> {
    let mut access = vec![
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", id),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    access.extend(token.map(|token| ("AWS_SESSION_TOKEN", token)));
    access.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

impl Which {
    pub(crate) fn binary(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }

    pub(crate) fn of(self, template: &Template) -> &template::Function {
        match self {
            Self::Producer => &template.producer,
            Self::Consumer => &template.consumer,
        }
    }
}

impl FunctionArgs {
    pub(crate) fn template(&self) -> Result<Template> {
        Template::read(&self.template, &self.parameters)
    }

    /// The function's binary, which must be there before anything is started.
    pub(crate) fn binary(&self, which: Which) -> Result<PathBuf> {
        let folder = match &self.binaries {
            Some(folder) => folder.clone(),
            None => {
                let command = std::env::current_exe().context("the folder of this command is not known")?;
                command.parent().map(Path::to_owned).unwrap_or_default()
            }
        };
        let binary = folder.join(which.binary());
        if !binary.is_file() {
            bail!("the {} is not built: there is no {}", which.binary(), binary.display());
        }
        // Relative paths are meant from here, and the process may be started from elsewhere.
        std::path::absolute(&binary).with_context(|| binary.display().to_string())
    }
}

/// The function as the template has it, within the surroundings that `config` tells of already: those count before what
/// the template says, so that no packet leaves for anywhere else.
pub(crate) fn configured(
    which: Which,
    template: &Template,
    surroundings: &Surroundings,
    concurrency: usize,
    config: FunctionConfig,
) -> FunctionConfig {
    let settings = which.of(template);
    let value = |variable: &Variable| match variable {
        Variable::Text(text) => Some(text.clone()),
        Variable::StreamArn => Some(surroundings.stream_arn.clone()),
        Variable::QueueUrl => surroundings.queue_url.clone(),
    };
    let own =
        settings.environment.iter().filter_map(|(name, variable)| Some((name.clone(), value(variable)?)));
    FunctionConfig {
        environment: own.chain(config.environment).chain(surroundings.access.iter().cloned()).collect(),
        timeout: settings.timeout,
        memory_mib: settings.memory_mib,
        concurrency,
        ..config
    }
}
