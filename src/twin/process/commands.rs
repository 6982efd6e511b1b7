//! The programs, as Debian's coreutils and dash have them.

use std::time::Duration;

use super::machine::NoFile;
use super::parse::Redirect;
use super::shell::{Shell, Stop};
use super::{Channel, NotModelled};

/// A program that the twin models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Cat,
    Curl,
    Echo,
    Env,
    Exit,
    False,
    Hostname,
    /// Certainly not there.
    Missing,
    PilotAgent,
    Printenv,
    Printf,
    Seq,
    Shell,
    Sleep,
    Test,
    True,
}

impl Program {
    /// The program of that name; a shell has some that are no files.
    pub fn find(name: &str, is_proxy: bool, in_shell: bool) -> Option<Program> {
        if name.starts_with("/nonexistent/") {
            return Some(Program::Missing);
        }
        let base = ["/bin/", "/usr/bin/", "/usr/local/bin/"]
            .iter()
            .find_map(|dir| name.strip_prefix(dir))
            .unwrap_or(name);
        Some(match base {
            ":" | "exit" if !in_shell => return None,
            ":" | "true" => Program::True,
            "[" | "test" => Program::Test,
            "cat" => Program::Cat,
            "curl" if is_proxy => Program::Curl,
            "echo" => Program::Echo,
            "env" => Program::Env,
            "exit" => Program::Exit,
            "false" => Program::False,
            "hostname" => Program::Hostname,
            "pilot-agent" if is_proxy => Program::PilotAgent,
            "printenv" => Program::Printenv,
            "printf" => Program::Printf,
            "seq" => Program::Seq,
            "sh" => Program::Shell,
            "sleep" => Program::Sleep,
            _ => return None,
        })
    }
}

fn refused<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(NotModelled(what.into()).into())
}

/// Runs a program with its arguments; its exit code.
pub async fn run(
    shell: &mut Shell<'_>,
    program: Program,
    args: &[String],
    redirects: &[Redirect],
) -> Result<u8, Stop> {
    let mut out = Vec::new();
    let mut err = String::new();
    let code = match program {
        Program::Cat => return cat(shell, args, redirects).await,
        Program::Curl => curl(shell, args, &mut out, &mut err).await?,
        Program::Echo => {
            out = echo(args)?.into_bytes();
            0
        }
        Program::Env if args.is_empty() => {
            for (name, value) in &shell.variables {
                out.extend_from_slice(format!("{name}={value}\n").as_bytes());
            }
            0
        }
        Program::Env => return refused("`env` with arguments"),
        Program::Exit => {
            return match args {
                [] => refused("`exit` without a code"),
                [code, ..] => {
                    if let Ok(code) = code.parse::<u32>() {
                        return Err(Stop::Exit(u8::try_from(code & 0xff).unwrap_or(0)));
                    }
                    let said = format!("sh: 1: exit: Illegal number: {code}\n");
                    shell
                        .write(Channel::Err, redirects, said.as_bytes())
                        .await?;
                    Err(Stop::Exit(2))
                }
            };
        }
        Program::False => 1,
        Program::Hostname if args.is_empty() => {
            out = format!("{}\n", shell.machine.hostname()).into_bytes();
            0
        }
        Program::Hostname => return refused("`hostname` with arguments"),
        Program::PilotAgent => pilot_agent(shell, args, &mut out, &mut err).await?,
        Program::Printenv => {
            let mut code = 0;
            for name in args {
                match shell.variables.get(name) {
                    Some(value) => out.extend_from_slice(format!("{value}\n").as_bytes()),
                    None => code = 1,
                }
            }
            if args.is_empty() {
                return refused("`printenv` without a name");
            }
            code
        }
        Program::Printf => {
            out = printf(args)?.into_bytes();
            0
        }
        Program::Seq => return seq(shell, args, redirects).await,
        Program::Sleep => sleep(shell, args, &mut err).await?,
        Program::Test => test(shell, args)?,
        Program::True => 0,
        Program::Missing | Program::Shell => return refused("this program here"),
    };
    shell.write(Channel::Out, redirects, &out).await?;
    shell.write(Channel::Err, redirects, err.as_bytes()).await?;
    Ok(code)
}

/// Shells differ in what they make of a backslash, so it is refused.
fn echo(args: &[String]) -> Result<String, Stop> {
    if args.iter().any(|a| a.contains('\\')) {
        return refused("`echo` of a backslash, of which shells make different things");
    }
    let (end, args) = match args.split_first() {
        Some((flag, rest)) if flag == "-n" => ("", rest),
        Some((flag, _)) if flag == "-e" || flag == "-E" => return refused("`echo -e`"),
        _ => ("\n", args),
    };
    Ok(args.join(" ") + end)
}

fn printf(args: &[String]) -> Result<String, Stop> {
    let Some((format, mut args)) = args.split_first().map(|(f, rest)| (f, rest.iter())) else {
        return refused("`printf` without a format");
    };
    let mut out = String::new();
    loop {
        let before = args.len();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => out.push(match chars.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('\\') => '\\',
                    _ => return refused("this escape of `printf`"),
                }),
                '%' => match chars.next() {
                    Some('%') => out.push('%'),
                    Some('s') => out.push_str(args.next().map_or("", String::as_str)),
                    Some('d') => {
                        let number = args.next().map_or("0", String::as_str);
                        match number.parse::<i64>() {
                            Ok(number) => out.push_str(&number.to_string()),
                            Err(_) => return refused("`printf %d` of what is no number"),
                        }
                    }
                    _ => return refused("this directive of `printf`"),
                },
                c => out.push(c),
            }
        }
        // The format is used again while there are arguments for it.
        if args.len() == 0 || args.len() == before {
            return Ok(out);
        }
    }
}

async fn cat(shell: &mut Shell<'_>, args: &[String], redirects: &[Redirect]) -> Result<u8, Stop> {
    if let Some(flag) = args.iter().find(|a| a.starts_with('-') && a.len() > 1) {
        return refused(format!("`cat {flag}`"));
    }
    let stdin = ["-".to_owned()];
    let mut code = 0;
    for path in if args.is_empty() { &stdin[..] } else { args } {
        if path == "-" {
            while let Some(bytes) = match &mut shell.input {
                Some(input) => input.recv().await,
                None => None,
            } {
                shell.write(Channel::Out, redirects, &bytes).await?;
            }
            continue;
        }
        let why = match shell.machine.file(path) {
            Ok(bytes) => {
                shell.write(Channel::Out, redirects, &bytes).await?;
                continue;
            }
            Err(NoFile::Missing) => "No such file or directory",
            Err(NoFile::Directory) => "Is a directory",
            Err(NoFile::NotModelled(what)) => return Err(what.into()),
        };
        let said = format!("cat: {path}: {why}\n");
        shell
            .write(Channel::Err, redirects, said.as_bytes())
            .await?;
        code = 1;
    }
    Ok(code)
}

async fn seq(shell: &Shell<'_>, args: &[String], redirects: &[Redirect]) -> Result<u8, Stop> {
    let numbers: Result<Vec<i64>, _> = args.iter().map(|a| a.parse()).collect();
    let (first, last) = match numbers.as_deref() {
        Ok([last]) => (1, *last),
        Ok([first, last]) => (*first, *last),
        _ => return refused("`seq` other than `seq [FIRST] LAST` of whole numbers"),
    };
    let mut text = String::new();
    for number in first..=last {
        text.push_str(&number.to_string());
        text.push('\n');
        if text.len() > 16_000 || number == last {
            shell
                .write(Channel::Out, redirects, text.as_bytes())
                .await?;
            text.clear();
        }
    }
    Ok(0)
}

/// Simulated time.
async fn sleep(shell: &Shell<'_>, args: &[String], err: &mut String) -> Result<u8, Stop> {
    let [time] = args else {
        return refused("`sleep` of several times");
    };
    if time == "infinity" || time == "inf" {
        return std::future::pending().await;
    }
    let (number, unit) = match time.char_indices().find(|(_, c)| c.is_ascii_alphabetic()) {
        Some((at, _)) => time.split_at(at),
        None => (time.as_str(), "s"),
    };
    let factor = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => -1.0,
    };
    let seconds = number.parse::<f64>().unwrap_or(-1.0) * factor;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if factor > 0.0 => {
            shell.machine.containers.clock().sleep(time).await;
            Ok(0)
        }
        _ => {
            *err = format!("sleep: invalid time interval \u{2018}{time}\u{2019}\n");
            Ok(1)
        }
    }
}

fn test(shell: &Shell<'_>, args: &[String]) -> Result<u8, Stop> {
    let args = match args.split_last() {
        Some((last, rest)) if last == "]" => rest,
        _ => args,
    };
    let number = |text: &str| match text.parse::<i64>() {
        Ok(number) => Ok(number),
        Err(_) => Err(Stop::from(NotModelled(format!(
            "`test` of the number {text}"
        )))),
    };
    let texts: Vec<&str> = args.iter().map(String::as_str).collect();
    let holds = match texts.as_slice() {
        [] => false,
        [text] => !text.is_empty(),
        ["-n", text] => !text.is_empty(),
        ["-z", text] => text.is_empty(),
        ["-e" | "-f" | "-r", path] => match shell.machine.file(path) {
            Ok(_) => true,
            Err(NoFile::Missing | NoFile::Directory) => false,
            Err(NoFile::NotModelled(what)) => return Err(what.into()),
        },
        [a, "=", b] => a == b,
        [a, "!=", b] => a != b,
        [a, "-eq", b] => number(a)? == number(b)?,
        [a, "-ne", b] => number(a)? != number(b)?,
        [a, "-lt", b] => number(a)? < number(b)?,
        [a, "-le", b] => number(a)? <= number(b)?,
        [a, "-gt", b] => number(a)? > number(b)?,
        [a, "-ge", b] => number(a)? >= number(b)?,
        _ => return refused(format!("`test {}`", texts.join(" "))),
    };
    Ok(u8::from(!holds))
}

/// `curl [-s] [-S] [-f] URL` of the loopback address.
async fn curl(
    shell: &Shell<'_>,
    args: &[String],
    out: &mut Vec<u8>,
    err: &mut String,
) -> Result<u8, Stop> {
    let (flags, urls): (Vec<&String>, Vec<&String>) = args.iter().partition(|a| a.starts_with('-'));
    let known = |flag: &&&String| flag[1..].chars().all(|c| matches!(c, 's' | 'S' | 'f'));
    let silent = flags.iter().any(|f| f.contains('s') && !f.contains('S'));
    let shows = flags.iter().any(|f| f.contains('S'));
    let fails = flags.iter().any(|f| f.contains('f'));
    if flags.iter().filter(known).count() != flags.len() || !(silent || shows) {
        return refused("`curl` with options other than -s, -S and -f, or without -s");
    }
    let url = match urls.as_slice() {
        [url] => url.strip_prefix("http://").unwrap_or(url),
        _ => return refused("`curl` of several addresses"),
    };
    let (authority, path) = match url.find('/') {
        Some(at) => url.split_at(at),
        None => (url, "/"),
    };
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    let Some(port) = port
        .parse()
        .ok()
        .filter(|_| matches!(host, "localhost" | "127.0.0.1"))
    else {
        return refused(format!("`curl` of {authority}"));
    };
    match shell.machine.get(port, path).await {
        Ok((status, _)) if fails && status >= 400 => {
            if shows {
                *err = format!("curl: (22) The requested URL returned error: {status}\n");
            }
            Ok(22)
        }
        Ok((_, body)) => {
            out.extend_from_slice(&body);
            Ok(0)
        }
        Err(_) => {
            if shows {
                *err = format!(
                    "curl: (7) Failed to connect to {host} port {port} after 0 ms: Couldn't connect to server\n"
                );
            }
            Ok(7)
        }
    }
}

/// `pilot-agent request GET PATH`, which asks the admin endpoint.
async fn pilot_agent(
    shell: &Shell<'_>,
    args: &[String],
    out: &mut Vec<u8>,
    err: &mut String,
) -> Result<u8, Stop> {
    let ["request", "GET", path] = args.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return refused("`pilot-agent` other than `pilot-agent request GET PATH`");
    };
    let path = format!("/{}", path.trim_start_matches('/'));
    match shell.machine.get(15000, &path).await {
        Ok((status, body)) if status < 400 => {
            out.extend_from_slice(&body);
            Ok(0)
        }
        Ok((status, body)) => {
            let body = String::from_utf8_lossy(&body);
            *err = format!("Error: received {status}: {body}\n");
            Ok(1)
        }
        Err(why) => {
            *err = format!(
                "Error: command failed: Get \"http://localhost:15000{path}\": dial tcp 127.0.0.1:15000: {why}\n"
            );
            Ok(1)
        }
    }
}
