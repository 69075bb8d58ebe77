//! The local Kinesis alone, for the AWS CLI, an SDK or a test of another program.
//!
//! ```sh
//! cargo run -p local --example stream 4566 &
//! export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=y AWS_DEFAULT_REGION=us-east-1
//! export AWS_ENDPOINT_URL_KINESIS=http://127.0.0.1:4566
//! aws kinesis create-stream --stream-name packets --shard-count 2
//! aws kinesis put-record --stream-name packets --partition-key a --data aGVsbG8=
//! ```

use std::error::Error;

use local::stream::{Config, Kinesis};
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(4566), |port| port.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        println!("Kinesis at http://{}", listener.local_addr()?);
        Kinesis::new(Config::local()).serve(listener, std::future::pending()).await;
        Ok(())
    })
}
