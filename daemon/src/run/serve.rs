//! Waits for what may happen, and lets it happen.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::time::{self, MissedTickBehavior, interval};

use super::{
    Pipeline, Reload, RunError, Watch,
    gap::Gap,
    memory,
    wake::{Reloading, Signals, Wake, rings, wake},
};
use crate::{
    config::Config,
    event::{Event, Probes, Started, Stopped, What},
    loaded::{Finding, Loaded},
    sensor::Totals,
    settings::{Change, Settings},
    status::{Socket, Status},
    systemd::Notify,
    telemetry::Export,
};

/// How often to look whether something that waits has become possible.
const TICK: Duration = Duration::from_secs(1);
/// So long the rings are left alone after they were read, unless they hold more: what a module call says in this time is read at once,
/// and its caller wakes nobody up.
const REST: Duration = Duration::from_millis(2);
/// So long a reload waits for sinks, at most: one whose disk hangs must not hold up logrotate.
const RELOAD: Duration = Duration::from_secs(5);
/// Memory for events that is kept; a burst may need more for a moment.
const KEPT_EVENTS: usize = 256;

struct Daemon<W> {
    watch: W,
    pipeline: Pipeline,
    notify: Notify,
    socket: Option<Socket>,
    telemetry: Option<Export>,
    /// `None` where what happens happens to another kernel.
    loaded: Option<Loaded>,
    settings: Option<Settings>,
    gap: Option<Gap>,
    reload: Reload,
    reloading: Option<Reloading>,
    events: Vec<Event>,
    /// The pipeline has records of events that the sensor still keeps.
    uncommitted: bool,
    /// The sensor has more that can be read at once.
    more: bool,
    /// When it was read last.
    read: Instant,
}

/// Watches until SIGTERM or SIGINT, or until there will never be anything again.
///
/// # Errors
/// Where it can't wait, or could not put into the spool what it had read.
pub async fn serve<W: Watch>(mut watch: W, pipeline: Pipeline, reload: Reload) -> Result<(), RunError> {
    let mut signals = Signals::new().map_err(RunError::Loop)?;
    let rings = rings(&watch).map_err(RunError::Loop)?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let probes = watch.resume(&pipeline.ends());
    let settings = watch.is_live().then(|| {
        let settings = Settings::new(&pipeline.config().modules.settings, watch.settings_told());
        watch.tell_settings(settings.told());
        settings
    });
    let mut daemon = Daemon {
        settings,
        gap: watch.is_live().then(Gap::find),
        notify: Notify::from_environment(),
        socket: listen(pipeline.config()),
        telemetry: export(&pipeline),
        loaded: watch.is_live().then(|| Loaded::new(&pipeline.config().modules, watch.kernel_release().as_str())),
        reload,
        reloading: None,
        pipeline,
        events: Vec::new(),
        uncommitted: false,
        more: false,
        read: Instant::now(),
        watch,
    };
    daemon.started(probes);
    memory::give_back();
    daemon.notify.ready(&daemon.status().to_string());
    loop {
        let reading = !daemon.pipeline.is_stuck();
        let more = reading && daemon.more;
        let Daemon { reloading, socket, .. } = &mut daemon;
        let wake = wake(&mut signals, &mut tick, &rings, reloading.as_mut(), socket.as_ref(), reading, more);
        match wake.await.map_err(RunError::Loop)? {
            Wake::Readable => {
                daemon.rest();
                daemon.cycle();
            }
            Wake::Tick => daemon.tick(),
            Wake::Reload => daemon.reload(),
            Wake::Reloaded(by_all) => daemon.reloaded(by_all),
            Wake::Status => tracing::info!("{}", daemon.status()),
            Wake::Asked(question) => question.answer(daemon.status_json()),
            Wake::Stop(reason) => return daemon.stop(reason, false),
            Wake::Detach => return daemon.stop("detached", true),
        }
        if daemon.watch.is_over() {
            return daemon.stop("the recording is over", true);
        }
    }
}

/// Without the socket the daemon works as well: only nobody can ask.
fn listen(config: &Config) -> Option<Socket> {
    Socket::bind(&config.status.socket).inspect_err(|error| tracing::warn!("{error}")).ok()
}

/// Without a collector, too.
fn export(pipeline: &Pipeline) -> Option<Export> {
    let config = pipeline.config().telemetry.clone()?;
    let started = Export::start(config, &pipeline.resource());
    let no_thread = |error: &io::Error| {
        tracing::error!("the daemon's metrics and messages can't be delivered: no thread: {error}");
    };
    started.inspect_err(no_thread).ok()
}

impl<W: Watch> Daemon<W> {
    /// Sleeps, where the rings were read a moment ago. Not in the runtime, whose epoll every record of the kernel would wake up.
    fn rest(&self) {
        if !self.more
            && let Some(rest) = REST.checked_sub(self.read.elapsed())
        {
            std::thread::sleep(rest);
        }
    }

    /// What the kernel has, into the spool.
    fn cycle(&mut self) {
        if !self.pipeline.is_stuck() {
            self.more = self.watch.read(self.pipeline.takes_bulk(), &mut self.events);
            if let Some(settings) = &mut self.settings {
                settings.observe(&mut self.events);
            }
            self.read = Instant::now();
            self.take();
            if !self.uncommitted && self.watch.is_behind() {
                self.watch.prepare(&[], &[]);
                self.watch.commit();
            }
        }
        self.commit();
    }

    fn tick(&mut self) {
        // what the kernel has may explain what its lists show
        self.cycle();
        self.look_at_modules();
        let dropped: Vec<_> = self.pipeline.tick().collect();
        dropped.into_iter().for_each(|what| self.say(what));
        self.take();
        self.look_at_settings();
        self.tell_systemd();
        if let Some(telemetry) = &self.telemetry {
            telemetry.update(self.status());
        }
    }

    fn tell_systemd(&mut self) {
        self.watch.alive();
        // the status is made only where somebody hears it
        if self.notify.wants_status() {
            let status = self.status().to_string();
            self.notify.status(status);
        }
        self.notify.alive();
    }

    /// What was read, or is to be said, into the spool.
    fn take(&mut self) {
        if !self.events.is_empty() {
            if let Some(loaded) = &mut self.loaded {
                loaded.observe(&self.events);
            }
            let positions = self.pipeline.push(&mut self.events);
            self.watch.prepare(&self.events, positions);
            self.pipeline.commit();
            self.events.clear();
            self.events.shrink_to(KEPT_EVENTS);
            self.uncommitted = true;
        }
    }

    fn commit(&mut self) {
        if self.uncommitted && !self.pipeline.is_stuck() {
            self.watch.commit();
            self.uncommitted = false;
        }
    }

    /// Something that no record of the kernel says.
    fn say(&mut self, finding: impl Into<Finding>) {
        let Finding { what, loader } = finding.into();
        let (time, origin) = (self.watch.now(), self.watch.own_origin());
        self.events.push(Event {
            time,
            origin,
            trace: loader.trace,
            parent: loader.load,
            process: loader.process,
            requester: loader.requester,
            what,
            missing: Vec::new(),
        });
    }

    fn look_at_modules(&mut self) {
        if let Some(loaded) = &mut self.loaded {
            let findings = loaded.tick(self.watch.now().boot, self.pipeline.events(), self.watch.totals());
            findings.into_iter().for_each(|finding| self.say(finding));
        }
    }

    fn look_at_settings(&mut self) {
        let changes = self.settings.as_mut().map(Settings::tick).unwrap_or_default();
        for change in changes {
            match change {
                Change::Seen(event) => self.events.push(event),
                Change::Found(what) => self.say(what),
            }
        }
        if !self.events.is_empty()
            && let Some(settings) = &self.settings
        {
            self.watch.tell_settings(settings.told());
        }
        self.take();
        self.commit();
    }

    fn started(&mut self, mut probes: Probes) {
        if let Probes::Attached { unwatched_for, .. } = &mut probes
            && let Some(begin) = self.gap.as_ref().and_then(Gap::begin)
        {
            *unwatched_for = self.watch.now().boot.checked_sub(begin.boot);
            self.watch.end(&begin.open, &mut self.events);
        }
        let kernel = self.watch.kernel_release();
        self.say(What::Started(Started { version: env!("CARGO_PKG_VERSION"), kernel, probes }));
        let coverage = self.watch.coverage();
        self.say(What::Coverage(coverage));
        self.take();
        self.commit();
        // what has waited in the kernel is no older than the probes
        self.cycle();
        let now = self.watch.now().boot;
        let loaded = self.loaded.as_mut().map(|loaded| loaded.inventory(now)).unwrap_or_default();
        if self.pipeline.config().modules.inventory {
            loaded.into_iter().for_each(|what| self.say(what));
        }
        self.take();
        self.commit();
        if let Some(gap) = self.gap.as_ref().filter(|_| !self.uncommitted) {
            gap.is_over();
        }
    }

    /// All or nothing: with a wrong configuration the old one stays.
    fn reload(&mut self) {
        self.notify.reloading();
        match (self.reload)() {
            Ok((config, warnings)) => {
                for warning in &warnings.0 {
                    tracing::warn!("configuration: {warning}");
                }
                self.configure(config);
            }
            Err(problems) => {
                for problem in &problems.0 {
                    tracing::error!("configuration: {problem}");
                }
                tracing::error!("the configuration is wrong: the daemon goes on with the one it had");
            }
        }
        self.reloading = Some(Reloading { sinks: self.pipeline.reopen(), until: time::Instant::now() + RELOAD });
        self.cycle();
    }

    /// The end of [`Self::reload`]: whoever rotates files may count on the new ones now.
    fn reloaded(&mut self, by_all: bool) {
        self.reloading = None;
        if !by_all {
            tracing::warn!(
                "a sink is still busy with what it had {} s after the reload began: it does as it was told when that is done, or its disk answers",
                RELOAD.as_secs()
            );
        }
        self.notify.ready(&self.status().to_string());
    }

    fn configure(&mut self, mut config: Config) {
        let old = self.pipeline.config();
        for (section, changed) in [
            ("sensor", config.sensor != old.sensor),
            ("modules", config.modules != old.modules),
            ("enrich", config.enrich != old.enrich),
            ("spool", config.spool != old.spool),
            ("dead_letters", config.dead_letters != old.dead_letters),
            ("status", config.status != old.status),
            ("log", config.log != old.log),
            ("telemetry", config.telemetry != old.telemetry),
        ] {
            if changed {
                tracing::warn!(
                    "configuration: [{section}] has changed: that needs a restart (`systemctl restart kmodtrail`), the rest is in use now"
                );
            }
        }
        // as long as it runs it is as it was started
        config.sensor = old.sensor.clone();
        config.modules = old.modules.clone();
        config.enrich = old.enrich.clone();
        config.spool = old.spool.clone();
        config.dead_letters = old.dead_letters.clone();
        config.status = old.status.clone();
        config.log = old.log.clone();
        config.telemetry = old.telemetry.clone();
        match self.pipeline.configure(config) {
            Ok(()) => tracing::info!("the configuration has been read again"),
            Err(error) => tracing::error!("configuration: {error}; the daemon goes on with the one it had"),
        }
    }

    /// `detach`: nothing stays in the kernel for the next process.
    fn stop(mut self, reason: &'static str, detach: bool) -> Result<(), RunError> {
        tracing::info!(reason, "stopping");
        self.notify.stopping();
        self.watch.finish(detach, &mut self.events);
        if let Some(gap) = &self.gap {
            gap.begins(self.watch.now().boot, self.watch.open());
        }
        if let Some(settings) = &mut self.settings {
            settings.observe(&mut self.events);
        }
        self.look_at_settings();
        let events = self.pipeline.events() + self.events.len() as u64;
        let Totals { kernel_records, lost } = self.watch.totals();
        self.say(What::Stopped(Stopped { reason: reason.to_owned(), events, kernel_records, lost }));
        self.take();
        self.commit();
        if detach {
            self.watch.detach();
        }
        if let Some(telemetry) = self.telemetry.take() {
            telemetry.update(self.status());
            telemetry.stop();
        }
        Ok(self.pipeline.stop()?)
    }

    fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            totals: self.watch.totals(),
            pipeline: self.pipeline.status(),
        }
    }

    fn status_json(&self) -> String {
        serde_json::to_string(&self.status()).expect("a status has string keys only")
    }
}
