//! Under Lambda: the clock, the deadline and standard output are those of the process.

use std::future::ready;
use std::io;
use std::time::{Instant, SystemTime};

use function::{deadline, event};
use jiff::Timestamp;
use lambda_runtime::Context;

use crate::{Answer, Consumer, Error, Invocation};

/// Takes one invocation after the other from the Lambda Runtime API until the process is ended.
///
/// # Errors
/// When the Runtime API cannot be spoken to.
///
/// # Panics
/// Without the variables that Lambda sets for every function.
pub async fn run(mut consumer: Consumer) -> Result<(), lambda_runtime::Error> {
    function::lambda::run(move |event, context| ready(invoke(&mut consumer, &event, &context))).await
}

/// One invocation. It waits for nothing, so that it needs no future.
fn invoke(consumer: &mut Consumer, event: &[u8], context: &Context) -> Result<Answer, Error> {
    let start = Instant::now();
    let now = SystemTime::now();
    let invocation = Invocation {
        function_name: &context.env_config.function_name,
        request_id: &context.request_id,
        now: Timestamp::try_from(now).unwrap_or_default(),
        work_time: deadline::work_time(context.deadline(), now),
    };
    let event = event::text(event).map_err(|found| Error::UnexpectedEvent { found })?;
    consumer.handle(event, &invocation, || start.elapsed(), &mut io::stdout())
}
