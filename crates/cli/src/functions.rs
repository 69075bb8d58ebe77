//! The functions as they are started here: the binaries beside this command, with the template's settings and nothing
//! of the caller's environment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use local::faults::Faults;
use local::queue::Queue;
use local::runtime::{Function, FunctionConfig, LogSink};

use crate::args::{FunctionArgs, Which};
use crate::template::{self, Template, Variable};

/// Where the functions find their stream, and as whom they speak to it.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) stream_arn: String,
    /// Where undelivered packets go, if anywhere but to the log.
    pub(crate) queue: Option<Queue>,
    /// Variables that lead every AWS client to the endpoint, with credentials for it.
    pub(crate) access: Vec<(String, String)>,
}

/// Leads all AWS clients of a function to `endpoint`, with credentials that are none: whatever the function tries, no
/// packet leaves this machine.
pub(crate) fn local_access(endpoint: &str) -> Vec<(String, String)> {
    access(endpoint, "local", "local", None)
}

/// The same for an endpoint that wants real credentials.
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

/// The function, not yet started.
pub(crate) fn function(
    which: Which,
    template: &Template,
    binary: PathBuf,
    surroundings: &Surroundings,
    concurrency: usize,
    faults: Option<Arc<Faults>>,
    log: LogSink,
) -> Function {
    let settings = which.of(template);
    let queue = surroundings.queue.as_ref();
    let value = |variable: &Variable| match variable {
        Variable::Text(text) => Some(text.clone()),
        Variable::StreamArn => Some(surroundings.stream_arn.clone()),
        Variable::QueueUrl => queue.map(Queue::url),
    };
    let own =
        settings.environment.iter().filter_map(|(name, variable)| Some((name.clone(), value(variable)?)));
    // The queue is on this machine whichever Kinesis the stream is in.
    let queue = queue.map(|queue| ("AWS_ENDPOINT_URL_SQS".to_owned(), queue.endpoint().to_owned()));
    let config = FunctionConfig {
        name: which.binary().to_owned(),
        binary,
        environment: own.chain(surroundings.access.iter().cloned()).chain(queue).collect(),
        timeout: settings.timeout,
        memory_mib: settings.memory_mib,
        concurrency,
        account: surroundings.account.clone(),
        region: surroundings.region.clone(),
        faults,
    };
    Function::new(config, log)
}
