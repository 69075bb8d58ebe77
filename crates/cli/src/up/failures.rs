//! The bucket of what the mapping gave up: a folder, with the keys that the objects have in S3.

use std::io::{Error, Result};
use std::path::Path;
use std::sync::Arc;

use local::mapping::Bucket;

/// Stands for the bucket; beside it are the files of what was unfinished.
const FAILURES_FOLDER: &str = ".rivulet/failures";

/// The bucket that is this folder, below the one where the command was started.
pub(super) fn bucket() -> Bucket {
    Arc::new(|key, text| put(Path::new(FAILURES_FOLDER), key, text))
}

/// Writes an object; says where it is.
fn put(folder: &Path, key: &str, text: &str) -> Result<String> {
    let path = folder.join(key);
    let place = path.display().to_string();
    let written =
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text));
    written.map_err(|error| Error::new(error.kind(), format!("{place}: {error}")))?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_a_file_under_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let place = put(folder.path(), "aws/lambda/m/s/2019/11/14/x", "{}").unwrap();
        assert_eq!(std::fs::read_to_string(place).unwrap(), "{}");
        assert_eq!(std::fs::read_dir(folder.path().join("aws/lambda/m/s/2019/11/14")).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("aws"), "in the way").unwrap();
        let why = put(folder.path(), "aws/lambda/x", "{}").unwrap_err().to_string();
        assert!(why.contains("aws/lambda/x: "), "{why}");
    }
}
