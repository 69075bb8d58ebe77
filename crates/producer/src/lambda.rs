//! Under Lambda: the clock, the deadline and standard output are those of the process.

use std::io;
use std::time::SystemTime;

use function::{deadline, event};
use jiff::Timestamp;
use lambda_runtime::Context;
use writer::PutRecords;

use crate::{Answer, Error, Invocation, Producer, SendMessages};

/// Takes one invocation after the other from the Lambda Runtime API until the process is ended.
///
/// # Errors
/// When the Runtime API cannot be spoken to.
///
/// # Panics
/// Without the variables that Lambda sets for every function.
pub async fn run<S: PutRecords, Q: SendMessages>(
    producer: Producer<S, Q>,
) -> Result<(), lambda_runtime::Error> {
    let producer = &producer;
    function::lambda::run(async move |event, context| invoke(producer, &event, &context).await).await
}

async fn invoke<S: PutRecords, Q: SendMessages>(
    producer: &Producer<S, Q>,
    event: &[u8],
    context: &Context,
) -> Result<Answer, Error> {
    let now = SystemTime::now();
    let invocation = Invocation {
        function_name: &context.env_config.function_name,
        request_id: &context.request_id,
        now: Timestamp::try_from(now).unwrap_or_default(),
        work_time: deadline::work_time(context.deadline(), now),
    };
    let event = event::text(event).map_err(|found| Error::UnexpectedEvent { found })?;
    producer.handle(event, &invocation, &mut io::stdout()).await
}
