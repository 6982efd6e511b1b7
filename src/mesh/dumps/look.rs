//! One look for the dumps of a cluster's proxies: the files are listed once, and each control plane is asked once.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::rules::{self, ControlPlanes};
use super::saved::Saved;
use super::{Dumps, Fate, Fates, File, Taken};
use crate::cluster::Cluster;
use crate::mesh::pods::ProxyPod;
use crate::mesh::read::{FILE_MOUNTED, ProxyReading, Source};
use crate::pki::CertCache;

/// The files, what they may stand for, and what becomes of them.
pub(in crate::mesh) struct Look<'a> {
    dumps: &'a Dumps,
    files: BTreeMap<(String, String), Vec<File>>,
    planes: ControlPlanes<'a>,
    certs: &'a CertCache,
    fates: Fates,
}

impl<'a> Look<'a> {
    pub(super) fn begin(dumps: &'a Dumps, cluster: &'a Cluster, certs: &'a CertCache) -> Self {
        Self {
            dumps,
            files: dumps.by_name(),
            planes: ControlPlanes::of(cluster),
            certs,
            fates: Fates::default(),
        }
    }

    /// What became of the files.
    pub(in crate::mesh) fn end(self) -> Fates {
        self.fates
    }

    /// Puts dumps in the place of what proxies could not be asked.
    pub(in crate::mesh) async fn stand_in(&mut self, readings: &mut [ProxyReading]) {
        for reading in readings {
            if reading.source != Source::Nobody {
                for file in self.named(&reading.pod) {
                    self.fates.add(&file.entry.path, Fate::Spare);
                }
                continue;
            }
            match self.choose(&reading.pod).await {
                None => {}
                Some(Ok((file, saved))) => *reading = by_dump(reading.pod.clone(), &file, &saved),
                Some(Err(reason)) => {
                    let whys = [
                        reading.secrets.as_mut().err(),
                        reading.matchers.as_mut().err(),
                    ];
                    for why in whys.into_iter().flatten() {
                        *why = format!("{why}; {reason}");
                    }
                }
            }
        }
    }

    /// What a dump says of a workload without a pod; `None`: there is no dump of its name.
    pub(in crate::mesh) async fn of_machine(
        &mut self,
        machine: &ProxyPod,
    ) -> Option<Result<ProxyReading, String>> {
        let chosen = self.choose(machine).await?;
        Some(chosen.map(|(file, saved)| {
            let machine = ProxyPod {
                revision: saved.revision(),
                ..machine.clone()
            };
            by_dump(machine, &file, &saved)
        }))
    }

    fn named(&self, pod: &ProxyPod) -> Vec<File> {
        let key = (pod.namespace.clone(), pod.name.clone());
        self.files.get(&key).cloned().unwrap_or_default()
    }

    /// The one dump that may stand for a proxy, or why none of those with its name may; `None`: there is none.
    async fn choose(&mut self, pod: &ProxyPod) -> Option<Result<(File, Saved), String>> {
        let found = self.named(pod);
        for file in &found {
            self.fates.add(&file.entry.path, Fate::Refused);
        }
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for file in found {
            let saved = self.dumps.load(&file, self.certs);
            let is_own = match saved.as_ref() {
                Ok(saved) => rules::is_of(saved, pod).map(|()| saved.clone()),
                Err(reason) => Err(reason.clone()),
            };
            match is_own {
                Ok(saved) => own.push((file, saved)),
                Err(reason) => others.push((refused(&file, &reason), file)),
            }
        }
        if own.len() > 1 {
            let all: Vec<String> = own.iter().map(|(file, _)| file.shown()).collect();
            return Some(Err(format!(
                "several dumps are of it, none of which is used: keep one of {}",
                all.join(", ")
            )));
        }
        let Some((file, saved)) = own.pop() else {
            let reasons: Vec<String> = others.into_iter().map(|(reason, _)| reason).collect();
            return (!reasons.is_empty()).then(|| Err(reasons.join("; ")));
        };
        let current = match rules::is_current(&saved, file.written(), Timestamp::now()) {
            Ok(()) => rules::is_last_word(&saved, &self.planes.told(&saved).await),
            stale => stale,
        };
        if let Err(reason) = current {
            let reason = refused(&file, &reason);
            return Some(Err(format!("{reason}; save it again")));
        }
        self.fates.add(&file.entry.path, Fate::Used);
        for (reason, other) in others {
            self.fates.add(&other.entry.path, Fate::Beside(reason));
        }
        Some(Ok((file, saved)))
    }
}

fn refused(file: &File, reason: &str) -> String {
    format!("its dump {} is not used: {reason}", file.shown())
}

fn by_dump(pod: ProxyPod, file: &File, saved: &Saved) -> ProxyReading {
    let secrets = if pod.file_mounted {
        Err(FILE_MOUNTED.into())
    } else {
        Ok(saved.secrets.clone())
    };
    ProxyReading {
        pod,
        source: Source::Dump(Taken {
            file: file.shown(),
            changed: saved.changed,
        }),
        secrets,
        matchers: saved.matchers.clone(),
    }
}
