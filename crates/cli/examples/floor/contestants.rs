//! Who is compared: both functions, here and in other languages, as they would be deployed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::Start;

/// One implementation of both functions.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) producer: Start,
    pub(crate) consumer: Start,
}

/// Ours, the one that does nothing, and those of the others that are installed. The binaries are in `binaries`.
pub(crate) fn contestants(binaries: &Path, kinesis: SocketAddr) -> Result<Vec<Contestant>> {
    let environment = vec![
        ("STREAM_NAME".to_owned(), "packets".to_owned()),
        ("PARTITION_KEY_EXPRESSION".to_owned(), "[0:4]".to_owned()),
        ("AWS_ENDPOINT_URL".to_owned(), format!("http://{kinesis}")),
    ];
    let start = |program: &Path, arguments: &[&str]| -> Result<Start> {
        let absolute = |path: &Path| std::path::absolute(path).with_context(|| path.display().to_string());
        let arguments = arguments.iter().map(|path| absolute(Path::new(path))).collect::<Result<_>>()?;
        Ok(Start { program: absolute(program)?, arguments, environment: environment.clone(), works: true })
    };
    let ours = |name: &str| start(&binaries.join(name), &[]);
    let nothing = Start { works: false, ..ours("examples/nothing")? };
    let mut contestants = vec![
        Contestant { name: "rivulet", producer: ours("producer")?, consumer: ours("consumer")? },
        Contestant { name: "nothing", producer: nothing.clone(), consumer: nothing },
    ];
    for Other { name, program, installed, producer, consumer } in OTHERS {
        match find(program).filter(|_| Path::new(installed).exists()) {
            None => eprintln!("{name} is left out: it is not installed here"),
            Some(program) => contestants.push(Contestant {
                name,
                producer: start(&program, &[producer])?,
                consumer: start(&program, &[consumer])?,
            }),
        }
    }
    Ok(contestants)
}

/// A contestant in another language; the paths are those of the repository.
struct Other {
    name: &'static str,
    program: &'static str,
    /// What is there once `make bench-others` has installed it.
    installed: &'static str,
    producer: &'static str,
    consumer: &'static str,
}

const OTHERS: [Other; 2] = [
    Other {
        name: "Node.js",
        program: "node",
        installed: "bench/node/node_modules/.installed",
        producer: "bench/node/producer.mjs",
        consumer: "bench/node/consumer.mjs",
    },
    Other {
        name: "Python",
        program: ".tools/bench/bin/python",
        installed: ".tools/bench/.installed",
        producer: "bench/python/producer.py",
        consumer: "bench/python/consumer.py",
    },
];

/// A program at its path, or by its name alone.
fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|program| program.is_file())
}
