//! Under Lambda: the clock, the deadline and standard output are those of the process.

use std::future::ready;
use std::io;
use std::time::{Instant, SystemTime};

use function::deadline;
use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::value::RawValue;

use crate::{Answer, Consumer, Error, Invocation};

/// Takes one invocation after the other from the Lambda Runtime API until the process is ended.
///
/// # Errors
/// When the Runtime API cannot be spoken to.
///
/// # Panics
/// Without the variables that Lambda sets for every function.
pub async fn run(mut consumer: Consumer) -> Result<(), lambda_runtime::Error> {
    lambda_runtime::run(service_fn(move |event| ready(invoke(&mut consumer, &event)))).await
}

/// One invocation. It waits for nothing, so that it needs no future.
fn invoke(consumer: &mut Consumer, event: &LambdaEvent<Box<RawValue>>) -> Result<Answer, Error> {
    let start = Instant::now();
    let now = SystemTime::now();
    let context = &event.context;
    let invocation = Invocation {
        function_name: &context.env_config.function_name,
        request_id: &context.request_id,
        now: Timestamp::try_from(now).unwrap_or_default(),
        work_time: deadline::work_time(context.deadline(), now),
    };
    consumer.handle(event.payload.get(), &invocation, || start.elapsed(), &mut io::stdout())
}
