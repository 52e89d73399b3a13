//! Apache Kafka in the cache, so that a broker starts within a second.
//!
//! Beside the jars there is an archive of the classes that a broker loads (Java's class data sharing), and an empty data folder for
//! each node. Both are made by running Kafka once, and depend on the version of Java.

use std::{
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context as _, Result};

use super::{
    ALICE, Kafka, Login, Mechanism, Setup,
    disk::{self, Disk},
    listener::{SCRAM, USERS},
    node::Node,
};
use crate::{
    cache::{self, Cache},
    command,
    progress::say,
    services::pki::Pki,
};

const VERSION: &str = "4.3.1";
const POM: &str = include_str!("pom.xml");
const LOGGING: &str = include_str!("log4j2.properties");
/// A broker is small and short-lived: it need not compile well, nor collect garbage with many threads.
const JAVA_OPTIONS: &str = "-Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData -Xshare:auto";
/// The file that tells Java its options and where the jars are.
const ARGUMENTS: &str = "java.arguments";
/// The numbers of a cluster's nodes; a single node is the first.
pub(super) const NODES: RangeInclusive<i32> = 1..=3;
/// What all clusters call themselves, 16 bytes in base64.
const CLUSTER: &str = "a21vZHRyYWlsLXRlc3RzIQ";

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Distribution {
    /// The file that tells Java its options and where the jars are.
    arguments: PathBuf,
    trained: PathBuf,
}

impl Distribution {
    /// Fetches Kafka from Maven Central, and lets it run once, if need be.
    ///
    /// # Errors
    /// When Maven can't fetch it or it does not run.
    pub(crate) fn prepare(cache: &Cache) -> Result<Self> {
        let version = format!("{VERSION}-{}", cache::fingerprint((POM, LOGGING, JAVA_OPTIONS)));
        let arguments = cache.entry_in_place("kafka", &version, fetch)?.join(ARGUMENTS);
        let java = command::text(Command::new("java").arg("--version"))?;
        let trained = format!("{version}-{}", cache::fingerprint((java, CLUSTER, NODES, SCRAM, USERS)));
        let trained = cache.entry("kafka-trained", &trained, |place| {
            Self { arguments: arguments.clone(), trained: place.to_owned() }.train()
        })?;
        Ok(Self { arguments, trained })
    }

    /// Java with Kafka's classes, and no class to run yet.
    pub(super) fn java(&self) -> Command {
        let mut java = self.untrained_java();
        java.arg(format!("-XX:SharedArchiveFile={}", self.classes().display()));
        java
    }

    /// The data folder of a node that never ran.
    pub(super) fn formatted(&self, node: i32) -> PathBuf {
        self.trained.join(format!("formatted-{node}"))
    }

    fn untrained_java(&self) -> Command {
        let mut java = Command::new("java");
        java.arg(format!("@{}", self.arguments.display()));
        java
    }

    fn classes(&self) -> PathBuf {
        self.trained.join("classes.jsa")
    }

    /// Formats the data folders, and lets a broker do each thing once for the archive of its classes.
    fn train(&self) -> Result<()> {
        say("formatting Kafka's data folders and archiving its classes (15 seconds)");
        let pki = Pki::new()?;
        for id in NODES {
            let node = Node::new(id, Disk::new(None)?)?;
            node.configure(&[node.voter()], &pki)?;
            let mut format = self.untrained_java();
            format
                .args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config"])
                .arg(node.settings());
            for (mechanism, user) in SCRAM.iter().flat_map(|mechanism| USERS.map(|user| (mechanism, user))) {
                format.arg("--add-scram").arg(format!("{mechanism}=[name={},password={}]", user.name, user.password));
            }
            command::run(&mut format)?;
            disk::copy(&node.data(), &self.formatted(id))?;
        }
        let mut kafka = Kafka::configured(&Setup::single(), self.clone(), Arc::new(pki))?;
        let mut java = self.untrained_java();
        java.arg(format!("-XX:ArchiveClassesAtExit={}", self.classes().display()));
        java.args(["-Xlog:cds=off", "-Xlog:cds+dynamic=off"]);
        kafka.nodes[0].start(java)?;
        kafka.create_topic("training", 1, &[])?;
        for login in [Login::Anonymous, Login::Certificate, Login::Password(Mechanism::ScramSha512, ALICE)] {
            kafka.send(login, "training", "key", b"value")?;
        }
        kafka.read("training")?;
        kafka.nodes[0].take_process()?.stop()
    }
}

/// With a local repository of its own: half a download of another Maven does no harm, nor does one that goes on at the same time.
/// What differs from its checksum is refused.
fn fetch(place: &Path) -> Result<()> {
    say(format_args!("fetching Apache Kafka {VERSION} from Maven Central (45 MB)"));
    let (pom, logging) = (place.join("pom.xml"), place.join("log4j2.properties"));
    let (jars, repository) = (place.join("jars"), place.join("repository"));
    cache::write_atomically(&pom, POM)?;
    cache::write_atomically(&logging, LOGGING)?;
    let mut maven = Command::new("mvn");
    maven.args([
        "--batch-mode",
        "--quiet",
        "--strict-checksums",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
    ]);
    maven.arg("--file").arg(&pom).arg(format!("-Dkafka.version={VERSION}"));
    maven.arg(format!("-Dmaven.repo.local={}", repository.display()));
    maven.arg(format!("-DoutputDirectory={}", jars.display()));
    command::run(&mut maven).context("fetching Apache Kafka with Maven: does `mvn` reach Maven Central from here?")?;
    fs::remove_dir_all(&repository).with_context(|| format!("removing {}", repository.display()))?;

    let files = fs::read_dir(&jars).with_context(|| format!("reading {}", jars.display()))?;
    let mut files: Vec<_> = files.map(|file| Ok(file?.path().display().to_string())).collect::<Result<_>>()?;
    files.sort(); // the archive of classes holds for one order only
    let logging = format!("-Dlog4j2.configurationFile=file:{}", logging.display());
    cache::write_atomically(&place.join(ARGUMENTS), format!("{JAVA_OPTIONS}\n{logging}\n-cp\n{}\n", files.join(":")))
}
