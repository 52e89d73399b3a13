//! `[enrich]`

use std::{path::PathBuf, time::Duration};

use super::{table::Table, values::Span};

/// `[enrich]`: what is added to what the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrich {
    /// `wait`, default "500ms", "1ms" to "5s": so long a record waits for what a container's runtime says, and for what is read of a module's
    /// file. Then it goes out without, and kmodtrail.enrichment.missing says so.
    pub wait: Duration,
    /// `cri_sockets`, default those of containerd, k3s and CRI-O: where runtimes are asked about pods. Those that are not there do no harm;
    /// with [] nobody is asked. Only a socket at which root listens is believed.
    pub cri_sockets: Vec<PathBuf>,
    /// `pod_labels`, default []: labels of pods that records have in kmodtrail.k8s.pod.labels.
    pub pod_labels: Vec<String>,
}

const WAITS: (Span, Span) = (Span(Duration::from_millis(1)), Span(Duration::from_secs(5)));
const CRI_SOCKETS: [&str; 3] =
    ["/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock", "/run/crio/crio.sock"];

impl Default for Enrich {
    fn default() -> Self {
        let cri_sockets = CRI_SOCKETS.map(PathBuf::from).to_vec();
        Self { wait: Duration::from_millis(500), cri_sockets, pod_labels: vec![] }
    }
}

pub(super) fn read(mut table: Table<'_>) -> Enrich {
    let default = Enrich::default();
    let wait = table.between("wait", WAITS).map_or(default.wait, |Span(wait)| wait);
    let place = table.place("cri_sockets");
    let sockets = table.optional::<Vec<String>>("cri_sockets");
    let cri_sockets = sockets.map(|all| all.into_iter().map(PathBuf::from).collect()).unwrap_or(default.cri_sockets);
    for socket in cri_sockets.iter().filter(|socket| !socket.is_absolute()) {
        table.wrong(&place, "cri_sockets", format!("{} is relative", socket.display()), "absolute paths");
    }
    let pod_labels = table.optional("pod_labels").unwrap_or(default.pod_labels);
    table.finish();
    Enrich { wait, cri_sockets, pod_labels }
}
