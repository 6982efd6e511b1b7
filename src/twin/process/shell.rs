//! Runs a command: a program with its arguments, or a shell's script.
//!
//! A command is checked as a whole before anything of it is done ([`Command::new`]); what only shows when it runs
//! (a file of an image) ends it with a refusal, and not with a result.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::commands::{self, Program};
use super::machine::Machine;
use super::output::Output;
use super::parse::{self, Node, Piece, Redirect, Simple, Word};
use super::{Channel, NotModelled};

/// How a command ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// With this code.
    Code(u8),
    /// It could not be started: there is no such program. The words of the container's runtime.
    NoProgram(String),
    /// It met something that the twin does not model.
    Refused(NotModelled),
}

/// Where a command reads and writes.
pub struct Streams {
    /// Standard input; without one it is at its end.
    pub input: Option<mpsc::Receiver<Bytes>>,
    /// Both outputs.
    pub output: Sink,
}

/// What takes the outputs.
#[derive(Clone)]
pub enum Sink {
    /// Whoever executes the command; one that is gone ends it.
    Asker(mpsc::Sender<(Channel, Bytes)>),
    /// The container's log.
    Log(Arc<Output>),
}

/// A command that the twin models.
#[derive(Clone, Debug)]
pub struct Command {
    argv: Vec<String>,
}

impl Command {
    /// Checks a command.
    ///
    /// # Errors
    /// What of it is not modelled.
    pub fn new(argv: &[String], is_proxy: bool) -> Result<Command, NotModelled> {
        match Program::find(argv.first().map_or("", String::as_str), is_proxy, false) {
            Some(Program::Shell) => {
                check(&parse::script(shell_text(argv)?)?, is_proxy)?;
            }
            Some(_) => {}
            None => {
                let name = argv.first().map_or("", String::as_str);
                return Err(NotModelled(format!("the program {name}")));
            }
        }
        Ok(Command {
            argv: argv.to_vec(),
        })
    }

    /// Runs it to its end. Dropping the future kills it.
    pub async fn run(&self, machine: &Machine, streams: Streams) -> Ended {
        let mut shell = Shell {
            machine,
            variables: machine.environment(),
            last: 0,
            input: streams.input,
            output: streams.output,
        };
        let name = self.argv.first().map_or("", String::as_str);
        if name.starts_with("/nonexistent/") {
            return Ended::NoProgram(format!(
                "exec: \"{name}\": stat {name}: no such file or directory"
            ));
        }
        match shell.program(&self.argv, &[]).await {
            Ok(code) | Err(Stop::Exit(code)) => Ended::Code(code),
            Err(Stop::Refused(what)) => Ended::Refused(what),
        }
    }
}

/// The TEXT of `sh -c TEXT`.
fn shell_text(argv: &[String]) -> Result<&str, NotModelled> {
    match argv {
        [_, flag, text] if flag == "-c" => Ok(text),
        [_, flags, text] if flags == "-ec" || flags == "-ce" => {
            let _ = text;
            Err(NotModelled("`sh -e`".to_owned()))
        }
        _ => Err(NotModelled("`sh` other than `sh -c TEXT`".to_owned())),
    }
}

/// Every program that is named must be known; a name in a variable shows when it runs.
fn check(node: &Node, is_proxy: bool) -> Result<(), NotModelled> {
    let all = |nodes: &[&Node]| nodes.iter().try_for_each(|n| check(n, is_proxy));
    match node {
        Node::And(a, b) | Node::Or(a, b) | Node::While(a, _, b) => all(&[a, b]),
        Node::For(_, _, body) | Node::Not(body) => check(body, is_proxy),
        Node::If(arms, otherwise) => {
            for (condition, then) in arms {
                all(&[condition, then])?;
            }
            otherwise.iter().try_for_each(|n| check(n, is_proxy))
        }
        Node::List(nodes) => nodes.iter().try_for_each(|n| check(n, is_proxy)),
        Node::Simple(simple) => {
            let Some(name) = simple.words.first().and_then(Word::constant) else {
                return Ok(());
            };
            let known = Program::find(name, is_proxy, true);
            if known == Some(Program::Shell) {
                let argv: Option<Vec<String>> = simple
                    .words
                    .iter()
                    .map(|w| w.constant().map(str::to_owned))
                    .collect();
                if let Some(argv) = argv {
                    check(&parse::script(shell_text(&argv)?)?, is_proxy)?;
                }
            }
            known
                .map(|_| ())
                .ok_or_else(|| NotModelled(format!("the program {name}")))
        }
    }
}

/// Why a script does not go on.
#[derive(Debug)]
pub enum Stop {
    Exit(u8),
    Refused(NotModelled),
}

impl From<NotModelled> for Stop {
    fn from(what: NotModelled) -> Stop {
        Stop::Refused(what)
    }
}

pub struct Shell<'a> {
    pub machine: &'a Machine,
    pub variables: BTreeMap<String, String>,
    last: u8,
    pub input: Option<mpsc::Receiver<Bytes>>,
    output: Sink,
}

/// The code of a program whose reader is gone (SIGPIPE).
const BROKEN_PIPE: u8 = 141;

impl Shell<'_> {
    /// Writes where the redirections lead.
    pub async fn write(
        &self,
        channel: Channel,
        redirects: &[Redirect],
        bytes: &[u8],
    ) -> Result<(), Stop> {
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(channel) = leads(channel, redirects) else {
            return Ok(());
        };
        match &self.output {
            Sink::Log(output) => output.write(channel, bytes),
            Sink::Asker(asker) => {
                let sent = asker.send((channel, Bytes::copy_from_slice(bytes))).await;
                sent.map_err(|_| Stop::Exit(BROKEN_PIPE))?;
            }
        }
        // A loop without a pause must not keep its thread.
        tokio::task::yield_now().await;
        Ok(())
    }

    fn run<'b>(&'b mut self, node: &'b Node) -> BoxFuture<'b, Result<u8, Stop>> {
        Box::pin(async move {
            let code = match node {
                Node::And(a, b) => match self.run(a).await? {
                    0 => self.run(b).await?,
                    code => code,
                },
                Node::Or(a, b) => match self.run(a).await? {
                    0 => 0,
                    _ => self.run(b).await?,
                },
                Node::Not(inner) => u8::from(self.run(inner).await? == 0),
                Node::List(nodes) => {
                    let mut code = 0;
                    for node in nodes {
                        code = self.run(node).await?;
                    }
                    code
                }
                Node::For(name, words, body) => {
                    let mut code = 0;
                    for value in self.words(words) {
                        self.variables.insert(name.clone(), value);
                        code = self.run(body).await?;
                    }
                    code
                }
                Node::If(arms, otherwise) => {
                    for (condition, then) in arms {
                        if self.run(condition).await? == 0 {
                            return self.run(then).await;
                        }
                    }
                    match otherwise {
                        Some(otherwise) => self.run(otherwise).await?,
                        None => 0,
                    }
                }
                Node::While(condition, until, body) => {
                    let mut code = 0;
                    while (self.run(condition).await? == 0) != *until {
                        code = self.run(body).await?;
                        tokio::task::yield_now().await;
                    }
                    code
                }
                Node::Simple(simple) => self.simple(simple).await?,
            };
            self.last = code;
            Ok(code)
        })
    }

    async fn simple(&mut self, simple: &Simple) -> Result<u8, Stop> {
        let argv = self.words(&simple.words);
        let values: Vec<(String, String)> = simple
            .assignments
            .iter()
            .map(|(name, word)| (name.clone(), self.plain(word)))
            .collect();
        if argv.is_empty() {
            self.variables.extend(values);
            return Ok(0);
        }
        // Before a command they are for it alone.
        let before = self.variables.clone();
        let is_local = !values.is_empty();
        self.variables.extend(values);
        let code = self.program(&argv, &simple.redirects).await;
        if is_local {
            self.variables = before;
        }
        code
    }

    /// Runs one program.
    pub fn program<'b>(
        &'b mut self,
        argv: &'b [String],
        redirects: &'b [Redirect],
    ) -> BoxFuture<'b, Result<u8, Stop>> {
        Box::pin(async move {
            let name = argv.first().map_or("", String::as_str);
            let known = Program::find(name, self.machine.is_proxy(), true);
            match known {
                None => Err(NotModelled(format!("the program {name}")).into()),
                Some(Program::Missing) => {
                    let said = format!("sh: 1: {name}: not found\n");
                    self.write(Channel::Err, redirects, said.as_bytes()).await?;
                    Ok(127)
                }
                Some(Program::Shell) => {
                    if !redirects.is_empty() {
                        return Err(NotModelled("a redirection of `sh`".to_owned()).into());
                    }
                    let tree = parse::script(shell_text(argv)?)?;
                    let before = self.variables.clone();
                    let code = match self.run(&tree).await {
                        Ok(code) | Err(Stop::Exit(code)) => code,
                        Err(stop) => return Err(stop),
                    };
                    self.variables = before;
                    Ok(code)
                }
                Some(program) => commands::run(self, program, &argv[1..], redirects).await,
            }
        })
    }

    fn value(&self, name: &str) -> String {
        if name == "?" {
            return self.last.to_string();
        }
        self.variables.get(name).cloned().unwrap_or_default()
    }

    /// A word as one text.
    fn plain(&self, word: &Word) -> String {
        word.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Variable { name, .. } => self.value(name),
            })
            .collect()
    }

    /// Words with their variables replaced, and split where one that is not quoted has blanks.
    fn words(&self, words: &[Word]) -> Vec<String> {
        let mut all = Vec::new();
        for word in words {
            let mut current: Option<String> = None;
            for piece in &word.0 {
                match piece {
                    Piece::Text(text) => current.get_or_insert_default().push_str(text),
                    Piece::Variable { name, quoted: true } => {
                        current.get_or_insert_default().push_str(&self.value(name));
                    }
                    Piece::Variable { name, .. } => {
                        let value = self.value(name);
                        let mut parts = value.split_whitespace();
                        if value.starts_with(char::is_whitespace) {
                            all.extend(current.take());
                        }
                        if let Some(first) = parts.next() {
                            current.get_or_insert_default().push_str(first);
                        }
                        for part in parts {
                            all.extend(current.replace(part.to_owned()));
                        }
                        if value.ends_with(char::is_whitespace) {
                            all.extend(current.take());
                        }
                    }
                }
            }
            all.extend(current);
        }
        all
    }
}

/// Where a channel leads after the redirections, which hold in their order.
fn leads(channel: Channel, redirects: &[Redirect]) -> Option<Channel> {
    let mut to = [Some(Channel::Out), Some(Channel::Err)];
    let at = |c: Channel| usize::from(c == Channel::Err);
    for redirect in redirects {
        to[at(redirect.from)] = redirect.to.and_then(|c| to[at(c)]);
    }
    to[at(channel)]
}
