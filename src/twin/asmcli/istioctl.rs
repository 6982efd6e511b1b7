//! A stand-in for upstream's `istioctl`, as far as it installs: `istioctl install` and `istioctl version`.
//!
//! Beside `asmcli`'s because both install the same objects by the same requests. Flags are read as the real one
//! reads them (1.23: `istioctl/cmd`, cobra), of which those that an installation by overlays needs are acted out and
//! the others are refused. Profiles other than `empty` and `minimal` have gateways, which the twin's does not make.

use std::path::PathBuf;

use http::StatusCode;

use super::client::Client;
use super::log::{Fatal, Log};
use super::{Invocation, install, kubeconfig, package};

/// What was typed after `install`.
#[derive(Debug, Default, Eq, PartialEq)]
struct Args {
    files: Vec<PathBuf>,
    revision: Option<String>,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    confirmed: bool,
}

/// The real one's exit code for a command line that it cannot read.
const USAGE: i32 = 64;

/// Runs one command; the exit code is 0, 1 if it failed, or 64.
pub async fn istioctl(invocation: Invocation<'_>) -> i32 {
    let Invocation {
        args,
        directory,
        stdin,
        stdout,
        stderr,
    } = invocation;
    let mut log = Log::of_istioctl(stderr);
    let parsed = match args.first().map(String::as_str) {
        Some("version") => {
            // A lost line is no failure of the program.
            let _ = writeln!(stdout, "client version: {}", package::VERSION);
            return 0;
        }
        Some("install" | "apply") => parse(&args[1..]),
        other => {
            let what = other.unwrap_or_default();
            Err(format!("the twin's istioctl has no command {what:?}"))
        }
    };
    let args = match parsed {
        Ok(args) => args,
        Err(text) => {
            log.error(&text);
            return USAGE;
        }
    };
    if !args.confirmed {
        let _ = write!(
            stdout,
            "This will install the Istio {} profile into the cluster. Proceed? (y/N) ",
            package::VERSION
        );
        let mut answer = String::new();
        // No answer is a no.
        stdin.read_line(&mut answer).ok();
        if !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            let _ = writeln!(stdout, "Cancelled.");
            return 1;
        }
    }
    match run(&args, &directory, &mut log).await {
        Ok(()) => {
            let _ = writeln!(
                stdout,
                "✔ Istio core installed\n✔ Istiod installed\n✔ Installation complete"
            );
            0
        }
        Err(Fatal) => 1,
    }
}

async fn run(args: &Args, directory: &std::path::Path, log: &mut Log<'_>) -> Result<(), Fatal> {
    let Some(file) = &args.kubeconfig else {
        return Err(log.fatal("the twin's istioctl finds its cluster by --kubeconfig only"));
    };
    let access = kubeconfig::read(&directory.join(file), args.context.as_deref())
        .map_err(|e| log.fatal(&e))?;
    let client = Client::new(access).map_err(|e| log.fatal(&e))?;
    let twin = client
        .get("/twin/package")
        .await
        .map_err(|e| log.fatal(&e))?;
    if twin.status != StatusCode::OK {
        return Err(log.fatal(
            "this istioctl installs on a twin only, and the server of the kubeconfig is none",
        ));
    }
    let params = install::params(&client, log).await?;
    let paths: Vec<PathBuf> = args.files.iter().map(|f| directory.join(f)).collect();
    let overlays = install::read_overlays(&paths, log)?;
    let revision = args.revision.as_deref().unwrap_or("default");
    let operator = package::upstream(&params, revision, &overlays).map_err(|e| log.fatal(&e))?;
    let spec = package::revision(revision, &params, &operator);
    install::apply(&client, &spec, log).await
}

/// Reads flags, each value as the next word or after `=`.
fn parse(words: &[String]) -> Result<Args, String> {
    let mut args = Args::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (flag, glued) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        if matches!(flag, "-y" | "--skip-confirmation") {
            args.confirmed = true;
            continue;
        }
        let known = [
            "-f",
            "--filename",
            "-r",
            "--revision",
            "-c",
            "--kubeconfig",
            "--context",
            "--readiness-timeout",
        ];
        if !known.contains(&flag) {
            return Err(match flag {
                "-s" | "--set" | "--dry-run" | "--verify" | "--force" | "-d" | "--manifests" => {
                    format!("the twin's istioctl cannot act out {flag}")
                }
                _ if flag.starts_with('-') => format!("unknown flag: {flag}"),
                _ => format!("unknown command {flag:?} for \"istioctl install\""),
            });
        }
        let Some(value) = glued.or_else(|| words.next().cloned()) else {
            return Err(format!("flag needs an argument: {flag}"));
        };
        match flag {
            "-f" | "--filename" => args.files.push(value.into()),
            "-r" | "--revision" => args.revision = Some(value),
            "-c" | "--kubeconfig" => args.kubeconfig = Some(value.into()),
            "--context" => args.context = Some(value),
            _ => {}
        }
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn flags_are_read_as_cobra_reads_them() {
        let args = read("-f a --filename=b --revision r -c k --context x -y").unwrap();
        assert_eq!(args.files, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(
            (args.revision.as_deref(), args.confirmed),
            (Some("r"), true)
        );
        assert_eq!(read("--frob").unwrap_err(), "unknown flag: --frob");
        assert_eq!(read("-f").unwrap_err(), "flag needs an argument: -f");
    }

    #[test]
    fn what_the_twin_does_not_act_out_is_refused() {
        assert_eq!(
            read("--set profile=demo").unwrap_err(),
            "the twin's istioctl cannot act out --set"
        );
    }
}
