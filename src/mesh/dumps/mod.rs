//! Dumps that somebody saved, for proxies that cannot be asked: pods without the right to port-forward, and machines.
//!
//! A directory holds one file for each proxy, `NAMESPACE/POD.json` or `POD.NAMESPACE.json`, with the whole of
//! `GET /config_dump`; for a workload without a pod, the name of its `WorkloadEntry` stands for the pod's. The
//! directories are looked at anew by each survey, so that a dump can be saved while a run goes on. A proxy that can be
//! asked is asked, and its dump is not looked at. [`rules`] says which dump may stand for a proxy; whatever may not
//! leaves it unknown, with the reason.
//!
//! Separate from [`super::dump`], which knows what a dump holds, whoever told it.

mod look;
mod rules;
mod saved;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

pub(super) use self::look::Look;
use self::saved::Saved;
use super::dump::Reading;
use super::survey::Survey;
use crate::cluster::Cluster;
use crate::effect::files::{self, FileError};
use crate::pki::CertCache;

/// How much of a file is read.
const LIMIT: usize = 256 << 20;

/// How many names are told of what has the same cause.
const NAMED: usize = 5;

/// A dump that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its file.
    pub file: String,
    /// The newest change in it: it was taken then or later.
    pub changed: Timestamp,
}

impl Taken {
    /// How old it is at most, in words: `from a dump, at most 3 h old`.
    pub fn age(&self, now: Timestamp) -> String {
        let age = rules::span(now.duration_since(self.changed));
        format!("from a dump, at most {age} old")
    }
}

/// The directories with dumps, and what was read of them already.
#[derive(Debug, Default)]
pub struct Dumps {
    directories: Vec<PathBuf>,
    read: Mutex<HashMap<PathBuf, Read>>,
    told: Mutex<Tellings>,
}

/// What a file held, and when.
type Read = (Stamp, Arc<Reading<Saved>>);

/// What tells one content of a file from another.
type Stamp = (Option<std::time::SystemTime>, u64);

#[derive(Debug, Default)]
struct Tellings {
    known: BTreeSet<String>,
    new: Vec<String>,
}

/// One file that may be a proxy's.
#[derive(Debug, Clone)]
struct File {
    entry: files::Entry,
    namespace: String,
    name: String,
}

impl File {
    fn shown(&self) -> String {
        self.entry.path.display().to_string()
    }

    fn written(&self) -> Option<Timestamp> {
        self.entry.written.and_then(|at| at.try_into().ok())
    }
}

/// What became of files in one look at the mesh.
#[derive(Debug, Clone, Default)]
pub struct Fates(BTreeMap<PathBuf, Fate>);

/// The most that became of a file, in several clusters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Its proxy cannot be judged by it, and says why.
    Refused,
    /// Its proxy is judged by another one; why not by this.
    Beside(String),
    /// Its proxy was asked.
    Spare,
    /// Its proxy is judged by it.
    Used,
}

impl Fates {
    /// Adds those of another cluster.
    pub fn extend(&mut self, others: Self) {
        for (file, fate) in others.0 {
            self.add(&file, fate);
        }
    }

    fn add(&mut self, file: &Path, fate: Fate) {
        match self.0.entry(file.to_owned()) {
            Entry::Occupied(mut known) if *known.get() < fate => {
                known.insert(fate);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(place) => {
                place.insert(fate);
            }
        }
    }
}

impl Dumps {
    /// Those in these directories.
    ///
    /// # Errors
    /// A directory that cannot be listed.
    pub fn open(directories: Vec<PathBuf>) -> Result<Self, FileError> {
        for directory in &directories {
            files::list(directory)?;
        }
        Ok(Self {
            directories,
            ..Self::default()
        })
    }

    /// What there is to say about the files and was not said before, a line each.
    pub fn news(&self) -> Vec<String> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut told.new)
    }

    /// Says something once; `key` tells one thing from another where the words change.
    fn tell(&self, key: &str, text: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.known.insert(key.to_owned()) {
            told.new.push(text);
        }
    }

    /// Begins to look for the dumps of one cluster's proxies.
    pub(super) fn look<'a>(&'a self, cluster: &'a Cluster, certs: &'a CertCache) -> Look<'a> {
        Look::begin(self, cluster, certs)
    }

    /// Reads a file, unless it was read as it is.
    fn load(&self, file: &File, certs: &CertCache) -> Arc<Reading<Saved>> {
        let stamp = (file.entry.written, file.entry.length);
        let path = &file.entry.path;
        let known = || self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, saved)) = known().get(path)
            && *of == stamp
        {
            return Arc::clone(saved);
        }
        let bytes = files::read_bytes(path, LIMIT).map_err(|error| error.to_string());
        let saved = Arc::new(bytes.and_then(|bytes| saved::read(&bytes, certs)));
        known().insert(path.clone(), (stamp, Arc::clone(&saved)));
        saved
    }

    fn by_name(&self) -> BTreeMap<(String, String), Vec<File>> {
        let mut files: BTreeMap<(String, String), Vec<File>> = BTreeMap::new();
        for file in self.list().0 {
            let key = (file.namespace.clone(), file.name.clone());
            files.entry(key).or_default().push(file);
        }
        files
    }

    /// The files by their names, and what is odd about the others.
    fn list(&self) -> (Vec<File>, Vec<String>) {
        let (mut files, mut odd) = (Vec::new(), Vec::new());
        for directory in &self.directories {
            let mut add = |dir: &Path, namespace: Option<&str>| {
                let entries = match files::list(dir) {
                    Ok(entries) => entries,
                    Err(error) => {
                        odd.push(format!("dumps cannot be looked for: {error}"));
                        return Vec::new();
                    }
                };
                let mut below = Vec::new();
                for entry in entries {
                    let name = entry.path.file_name().unwrap_or_default();
                    let name = name.to_string_lossy().into_owned();
                    if name.starts_with('.') {
                        continue;
                    }
                    if entry.is_dir && namespace.is_none() {
                        below.push((entry.path, name));
                    } else if let Some((namespace, name)) = proxy_of(namespace, &name)
                        && !entry.is_dir
                    {
                        files.push(File {
                            entry,
                            namespace,
                            name,
                        });
                    } else {
                        odd.push(format!(
                            "{}: not used: a dump is named NAMESPACE/POD.json or POD.NAMESPACE.json",
                            entry.path.display()
                        ));
                    }
                }
                below
            };
            for (dir, namespace) in add(directory, None) {
                add(&dir, Some(&namespace));
            }
        }
        odd.sort();
        (files, odd)
    }

    /// Says what rests on dumps, and what became of the files that nothing rests on.
    pub(super) fn tell_fates(&self, survey: &Survey) {
        if self.directories.is_empty() {
            return;
        }
        let fates = &survey.dumps;
        if let Some(text) = survey.rests_on_dumps() {
            let used = fates.0.iter().filter(|(_, fate)| **fate == Fate::Used);
            let used: Vec<&PathBuf> = used.map(|(file, _)| file).collect();
            self.tell(&format!("used {used:?}"), text);
        }
        self.tell_files(fates);
    }

    fn tell_files(&self, fates: &Fates) {
        let (files, odd) = self.list();
        if files.is_empty() {
            let all: Vec<String> = self
                .directories
                .iter()
                .map(|d| d.display().to_string())
                .collect();
            let text = format!("{}: no dump is there yet", all.join(", "));
            self.tell("none", text);
        }
        for line in odd {
            self.tell(&line.clone(), line);
        }
        for fate in fates.0.values() {
            if let Fate::Beside(reason) = fate {
                self.tell(reason, reason.clone());
            }
        }
        let of = |fate: Option<&Fate>| -> Vec<String> {
            let of_fate = files
                .iter()
                .filter(|file| fates.0.get(&file.entry.path) == fate);
            of_fate.map(File::shown).collect()
        };
        let strange = of(None);
        if !strange.is_empty() {
            let key = format!("strange {strange:?}");
            let text = format!(
                "not used, since no running proxy and no WorkloadEntry has the name: {} (a pod that is made anew gets another name)",
                some(&strange)
            );
            self.tell(&key, text);
        }
        let spare = of(Some(&Fate::Spare));
        if !spare.is_empty() {
            let text = format!(
                "not used, since the proxy was asked itself: {}",
                some(&spare)
            );
            self.tell("spare", text);
        }
    }
}

/// Namespace and name of the proxy that a file's name stands for. Of the two a namespace has no dot.
fn proxy_of(directory: Option<&str>, file: &str) -> Option<(String, String)> {
    let stem = file.strip_suffix(".json")?;
    let (name, namespace) = match directory {
        Some(namespace) => (stem, namespace),
        None => stem.rsplit_once('.')?,
    };
    (!namespace.is_empty() && !name.is_empty()).then(|| (namespace.to_owned(), name.to_owned()))
}

/// The first few of these.
fn some(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    match names.len().checked_sub(NAMED).filter(|more| *more > 0) {
        Some(more) => format!("{} and {more} more", first.join(", ")),
        None => first.join(", "),
    }
}

#[cfg(all(test, feature = "twin"))]
#[path = "tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
