//! The OpenTelemetry Collector.

mod pipeline;
pub(crate) mod program;

use std::{fs, io, path::PathBuf, process::Command, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::pipeline::Place;
pub(crate) use self::pipeline::{Pipeline, Queue, Tls};
use super::{Log, otlp::Protocol, pki::Pki, ports, process::Process, wait_for};
use crate::cache::Cache;

/// What a collector writes when all of its receivers listen.
const READY: &str = "Everything is ready.";

/// A collector that is there until this is dropped. What is exported into files can be read as long.
#[derive(Debug)]
pub(crate) struct Collector {
    // Before the folder, so that it ends before the folder goes.
    process: Option<Process>,
    folder: TempDir,
    program: PathBuf,
    pipelines: Vec<Pipeline>,
    ports: Vec<(u16, u16)>,
    log: Arc<Log>,
}

impl Collector {
    /// Starts one; it takes requests when this returns.
    ///
    /// # Errors
    /// When it can't be built, or ends at once, with its log.
    pub(crate) fn start(cache: &Cache, pki: &Pki, pipelines: &[Pipeline]) -> Result<Self> {
        let ports = pipelines.iter().map(|_| Ok((ports::free()?, ports::free()?))).collect::<Result<_>>()?;
        let mut collector = Self {
            program: program::prepare(cache)?,
            folder: tempfile::tempdir().context("making a folder for a collector")?,
            pipelines: pipelines.to_vec(),
            ports,
            log: Log::new("the collector"),
            process: None,
        };
        let configuration = serde_json::to_string_pretty(&collector.configuration(pki))?;
        let file = collector.configuration_file();
        fs::write(&file, configuration).with_context(|| format!("writing {}", file.display()))?;
        collector.start_again()?;
        Ok(collector)
    }

    /// What it says, for the report of a failure.
    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The port of a pipeline's receiver of OTLP, on 127.0.0.1.
    pub(crate) fn port(&self, pipeline: usize, protocol: Protocol) -> u16 {
        let (grpc, http) = self.ports[pipeline];
        match protocol {
            Protocol::Grpc => grpc,
            Protocol::Http => http,
        }
    }

    /// The address of a pipeline's receiver of OTLP: `https://127.0.0.1:4317`.
    pub(crate) fn endpoint(&self, pipeline: usize, protocol: Protocol) -> String {
        let scheme = if self.pipelines[pipeline].is_encrypted() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port(pipeline, protocol))
    }

    /// SIGKILL. What it acknowledged and did not write yet is lost.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.take_process()?.kill()
    }

    /// SIGTERM, and its end: what it acknowledged is in its files, or at the servers that it sends to. For some milliseconds after its
    /// start it does not know the signal yet, and ends as by [`Self::kill`].
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.take_process()?.stop()
    }

    /// Starts it with its old ports and files.
    ///
    /// # Errors
    /// When it ends at once, with its log.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(format!("file:{}", self.configuration_file().display()));
        command.current_dir(self.folder.path());
        self.process = Some(Process::start(command, &self.log, READY)?);
        Ok(())
    }

    /// The CPU time that it took so far.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        self.process.as_ref().context("the collector does not run")?.cpu_time()
    }

    /// What a pipeline has written into its file: all requests whose lines are complete.
    ///
    /// # Errors
    /// When the file can't be read, or is not OTLP.
    pub(crate) fn requests(&self, pipeline: usize) -> Result<Vec<LogsData>> {
        let text = self.text(pipeline)?;
        let requests = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("in: {line}")));
        requests.collect::<Result<_>>().with_context(|| format!("reading {}", self.file(pipeline).display()))
    }

    /// The complete lines of a pipeline's file, for a reader who takes every form of OTLP/JSON: that of [`Self::requests`] wants an
    /// empty array to be written out.
    ///
    /// # Errors
    /// When the file can't be read.
    pub(crate) fn text(&self, pipeline: usize) -> Result<String> {
        let path = self.file(pipeline);
        let mut text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        Ok(text)
    }

    /// The records of [`Self::requests`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn records(&self, pipeline: usize) -> Result<Vec<LogRecord>> {
        let resources = self.requests(pipeline)?.into_iter().flat_map(|request| request.resource_logs);
        Ok(resources.flat_map(|resource| resource.scope_logs).flat_map(|scope| scope.log_records).collect())
    }

    /// Waits until a pipeline has written at least this many records.
    ///
    /// # Errors
    /// As [`Self::requests`], and when they don't come.
    pub(crate) fn wait_for_records(&self, pipeline: usize, number: usize) -> Result<Vec<LogRecord>> {
        wait_for("the collector's records", || Ok(Some(self.records(pipeline)?).filter(|all| all.len() >= number)))
    }

    fn configuration(&self, pki: &Pki) -> Value {
        // The limit is below what a collector takes when it does nothing.
        let limit = json!({"check_interval": "100ms", "limit_mib": 2, "spike_limit_mib": 1});
        let mut configuration = json!({
            "processors": {"memory_limiter": limit},
            "service": {"telemetry": {"metrics": {"level": "none"}, "logs": {"disable_stacktrace": true}}},
        });
        for (index, pipeline) in self.pipelines.iter().enumerate() {
            let (grpc, http) = self.ports[index];
            let file = self.file(index).display().to_string();
            pipeline.configure(&index.to_string(), &Place { grpc, http, file, pki }, &mut configuration);
        }
        let extensions = configuration["extensions"].as_object();
        configuration["service"]["extensions"] = extensions.into_iter().flat_map(|all| all.keys()).cloned().collect();
        configuration
    }

    /// JSON is YAML.
    fn configuration_file(&self) -> PathBuf {
        self.folder.path().join("collector.yaml")
    }

    /// Where a pipeline that ends in a file writes its requests, a line each.
    pub(crate) fn file(&self, pipeline: usize) -> PathBuf {
        self.folder.path().join(format!("{pipeline}.jsonl"))
    }

    fn take_process(&mut self) -> Result<Process> {
        self.process.take().context("the collector does not run")
    }
}
