//! The file of what was still on its way at the end of a run.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use local::cloud::Unfinished;

/// Where packets and records go that were still on their way at the end.
const UNFINISHED_FOLDER: &str = ".rivulet";

/// Writes a line for each event, each record and each message; the events can be invoked again as they are.
pub(super) fn write(unfinished: &Unfinished) -> Result<PathBuf> {
    std::fs::create_dir_all(UNFINISHED_FOLDER).context(UNFINISHED_FOLDER)?;
    // Two runs may end at once, in one folder.
    let (now, process) = (jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S"), std::process::id());
    let path = PathBuf::from(UNFINISHED_FOLDER).join(format!("unfinished-{now}-{process}.jsonl"));
    let file = std::fs::File::create_new(&path).with_context(|| path.display().to_string())?;
    let mut file = std::io::BufWriter::new(file);
    for left in &unfinished.events {
        writeln!(file, "{}", on_one_line(&left.event))?;
    }
    for record in &unfinished.records {
        let line = serde_json::json!({
            "SequenceNumber": record.sequence_number.to_string(),
            "PartitionKey": &*record.partition_key,
            "Data": BASE64_STANDARD.encode(&record.data),
        });
        writeln!(file, "{line}")?;
    }
    for message in &unfinished.messages {
        writeln!(file, "{}", on_one_line(message))?;
    }
    file.flush()?;
    Ok(path)
}

/// JSON may have line breaks between its tokens, and nowhere else.
fn on_one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}
