//! The text of a `sh -c`, read into a tree. What is not of the subset is refused here, before anything is done.

use super::{Channel, NotModelled};

/// A command or several.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    And(Box<Node>, Box<Node>),
    For(String, Vec<Word>, Box<Node>),
    /// Conditions with what is done then, and what is done otherwise.
    If(Vec<(Node, Node)>, Option<Box<Node>>),
    List(Vec<Node>),
    Not(Box<Node>),
    Or(Box<Node>, Box<Node>),
    Simple(Simple),
    /// The condition, whether it must fail (`until`), and the body.
    While(Box<Node>, bool, Box<Node>),
}

/// One program with its arguments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Simple {
    pub assignments: Vec<(String, Word)>,
    pub words: Vec<Word>,
    pub redirects: Vec<Redirect>,
}

/// Where one of the outputs goes; `None`: nowhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Redirect {
    pub from: Channel,
    pub to: Option<Channel>,
}

/// One word before its variables are replaced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Word(pub Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Text(String),
    /// A variable; quoted ones are not split at blanks.
    Variable {
        name: String,
        quoted: bool,
    },
}

impl Word {
    /// The text of a word without variables.
    pub fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A word, and whether any of it was quoted: a quoted `if` is no keyword.
    Word(Word, bool),
    Operator(&'static str),
    Redirect(Redirect),
}

/// Reads a script.
///
/// # Errors
/// What of it the twin does not model.
pub fn script(text: &str) -> Result<Node, NotModelled> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
    };
    let node = parser.list(&[])?;
    match parser.peek() {
        None => Ok(node),
        Some(token) => Err(refused(&format!("{} here", shown(token)))),
    }
}

fn refused(what: &str) -> NotModelled {
    NotModelled(format!("{what} in a shell command"))
}

fn shown(token: &Token) -> String {
    match token {
        Token::Operator(operator) => format!("`{}`", operator.escape_default()),
        Token::Redirect(_) => "a redirection".to_owned(),
        Token::Word(word, _) => format!("`{}`", word.constant().unwrap_or("$")),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, NotModelled> {
    let chars: Vec<char> = text.chars().collect();
    let mut reader = Reader {
        chars: &chars,
        at: 0,
    };
    let mut tokens = Vec::new();
    while let Some(next) = reader.peek() {
        match next {
            ' ' | '\t' => reader.at += 1,
            '#' => {
                while reader.peek().is_some_and(|c| c != '\n') {
                    reader.at += 1;
                }
            }
            _ => {
                if let Some(redirect) = reader.redirect()? {
                    tokens.push(Token::Redirect(redirect));
                } else if let Some(operator) = reader.operator()? {
                    tokens.push(Token::Operator(operator));
                } else {
                    let (word, quoted) = reader.word()?;
                    tokens.push(Token::Word(word, quoted));
                }
            }
        }
    }
    Ok(tokens)
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self, text: &str) -> bool {
        let there = text
            .chars()
            .enumerate()
            .all(|(i, c)| self.chars.get(self.at + i) == Some(&c));
        if there {
            self.at += text.chars().count();
        }
        there
    }

    fn operator(&mut self) -> Result<Option<&'static str>, NotModelled> {
        for operator in ["&&", "||", ";", "\n"] {
            if self.take(operator) {
                return Ok(Some(operator));
            }
        }
        match self.peek() {
            Some(c @ ('&' | '|' | '(' | ')' | '<' | '>')) => Err(refused(&format!("`{c}`"))),
            _ => Ok(None),
        }
    }

    fn redirect(&mut self) -> Result<Option<Redirect>, NotModelled> {
        let from = if self.take("2>") {
            Channel::Err
        } else if self.take("1>") || self.take(">") {
            Channel::Out
        } else {
            return Ok(None);
        };
        let to = if self.take("&1") {
            Some(Channel::Out)
        } else if self.take("&2") {
            Some(Channel::Err)
        } else {
            while self.peek() == Some(' ') {
                self.at += 1;
            }
            if !self.take("/dev/null") {
                return Err(refused("writing to a file"));
            }
            None
        };
        Ok(Some(Redirect { from, to }))
    }

    fn word(&mut self) -> Result<(Word, bool), NotModelled> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let (mut quoted, mut inside) = (false, false);
        loop {
            let Some(c) = self.peek() else {
                if inside {
                    return Err(refused("an open quote"));
                }
                break;
            };
            match c {
                '"' => {
                    self.at += 1;
                    quoted = true;
                    inside = !inside;
                }
                '\'' if !inside => {
                    self.at += 1;
                    quoted = true;
                    while let Some(c) = self.peek().filter(|c| *c != '\'') {
                        text.push(c);
                        self.at += 1;
                    }
                    if !self.take("'") {
                        return Err(refused("an open quote"));
                    }
                }
                '\\' => {
                    self.at += 1;
                    let next = self.peek().ok_or_else(|| refused("a final backslash"))?;
                    self.at += 1;
                    let keeps = inside && !matches!(next, '"' | '\\' | '$' | '`' | '\n');
                    if keeps {
                        text.push('\\');
                    }
                    if next != '\n' {
                        quoted = true;
                        text.push(next);
                    }
                }
                '$' => {
                    self.at += 1;
                    match self.variable()? {
                        None => text.push('$'),
                        Some(name) => {
                            push(&mut pieces, &mut text);
                            pieces.push(Piece::Variable {
                                name,
                                quoted: inside,
                            });
                        }
                    }
                }
                '`' => return Err(refused("a command substitution")),
                '*' | '?' | '[' if !inside && self.is_pattern(c) => {
                    return Err(refused(&format!("the pattern character `{c}`")));
                }
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' if !inside => break,
                _ => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
        if !text.is_empty() || (quoted && pieces.is_empty()) {
            pieces.push(Piece::Text(text));
        }
        Ok((Word(pieces), quoted))
    }

    /// `[` alone is a program; everything else that matches file names is not modelled.
    fn is_pattern(&self, c: char) -> bool {
        let next = self.chars.get(self.at + 1);
        c != '[' || next.is_some_and(|n| !n.is_whitespace())
    }

    /// The name behind a `$`; nothing if it is a dollar sign of its own.
    fn variable(&mut self) -> Result<Option<String>, NotModelled> {
        let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self.take("?") {
            return Ok(Some("?".to_owned()));
        }
        if self.peek() == Some('(') {
            return Err(refused("a command substitution"));
        }
        let braced = self.take("{");
        let begun = self.at;
        while self.peek().is_some_and(name) {
            self.at += 1;
        }
        let found: String = self.chars[begun..self.at].iter().collect();
        if braced && !self.take("}") {
            return Err(refused("an expansion other than ${NAME}"));
        }
        if found.chars().next().is_some_and(|c| c.is_ascii_digit()) {
            return Err(refused("a positional parameter"));
        }
        if found.is_empty() {
            return match self.peek() {
                Some(c @ ('$' | '!' | '@' | '*' | '#' | '-')) => {
                    Err(refused(&format!("the parameter `${c}`")))
                }
                _ if braced => Err(refused("an expansion other than ${NAME}")),
                _ => Ok(None),
            };
        }
        Ok(Some(found))
    }
}

fn push(pieces: &mut Vec<Piece>, text: &mut String) {
    if !text.is_empty() {
        pieces.push(Piece::Text(std::mem::take(text)));
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

/// Words that the grammar takes for itself where a command may stand.
const RESERVED: &[&str] = &[
    "case", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "then",
    "until", "while", "{", "}", "!",
];

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn keyword(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(word, false)) => word.constant().filter(|w| RESERVED.contains(w)),
            _ => None,
        }
    }

    fn take_keyword(&mut self, wanted: &str) -> bool {
        let there = self.keyword() == Some(wanted);
        if there {
            self.at += 1;
        }
        there
    }

    fn expect(&mut self, wanted: &str) -> Result<(), NotModelled> {
        if self.take_keyword(wanted) {
            return Ok(());
        }
        Err(refused(&format!("a compound command without `{wanted}`")))
    }

    fn take_operator(&mut self, wanted: &str) -> bool {
        let there = matches!(self.peek(), Some(Token::Operator(o)) if *o == wanted);
        if there {
            self.at += 1;
        }
        there
    }

    fn skip_lines(&mut self) {
        while self.take_operator("\n") {}
    }

    /// Commands up to one of the keywords, which is not taken, or to the end.
    fn list(&mut self, until: &[&str]) -> Result<Node, NotModelled> {
        let mut nodes = Vec::new();
        self.skip_lines();
        while self.peek().is_some() && !self.keyword().is_some_and(|k| until.contains(&k)) {
            nodes.push(self.and_or()?);
            if !self.take_operator(";") && !self.take_operator("\n") {
                break;
            }
            self.skip_lines();
        }
        if nodes.is_empty() && !until.is_empty() {
            return Err(refused("an empty list"));
        }
        Ok(Node::List(nodes))
    }

    fn and_or(&mut self) -> Result<Node, NotModelled> {
        let mut left = self.command()?;
        loop {
            let and = self.take_operator("&&");
            if !and && !self.take_operator("||") {
                return Ok(left);
            }
            self.skip_lines();
            let (a, b) = (Box::new(left), Box::new(self.command()?));
            left = if and { Node::And(a, b) } else { Node::Or(a, b) };
        }
    }

    fn command(&mut self) -> Result<Node, NotModelled> {
        let keyword = self.keyword().map(str::to_owned);
        match keyword.as_deref() {
            None => self.simple(),
            Some("!") => {
                self.at += 1;
                Ok(Node::Not(Box::new(self.command()?)))
            }
            Some("for") => {
                self.at += 1;
                let name = match self.tokens.get(self.at) {
                    Some(Token::Word(word, false)) => word.constant().map(str::to_owned),
                    _ => None,
                };
                let name = name.ok_or_else(|| refused("a `for` without a name"))?;
                self.at += 1;
                self.expect("in")?;
                let mut words = Vec::new();
                while let Some(Token::Word(word, _)) = self.peek() {
                    words.push(word.clone());
                    self.at += 1;
                }
                let _ = self.take_operator(";") || self.take_operator("\n");
                self.skip_lines();
                Ok(Node::For(name, words, Box::new(self.body()?)))
            }
            Some("if") => {
                self.at += 1;
                let mut arms = Vec::new();
                let mut otherwise = None;
                loop {
                    let condition = self.list(&["then"])?;
                    self.expect("then")?;
                    arms.push((condition, self.list(&["elif", "else", "fi"])?));
                    if self.take_keyword("elif") {
                        continue;
                    }
                    if self.take_keyword("else") {
                        otherwise = Some(Box::new(self.list(&["fi"])?));
                    }
                    self.expect("fi")?;
                    return Ok(Node::If(arms, otherwise));
                }
            }
            Some(kind @ ("while" | "until")) => {
                let until = kind == "until";
                self.at += 1;
                let condition = Box::new(self.list(&["do"])?);
                Ok(Node::While(condition, until, Box::new(self.body()?)))
            }
            Some(other) => Err(refused(&format!("`{other}` here"))),
        }
    }

    fn body(&mut self) -> Result<Node, NotModelled> {
        self.expect("do")?;
        let body = self.list(&["done"])?;
        self.expect("done")?;
        Ok(body)
    }

    fn simple(&mut self) -> Result<Node, NotModelled> {
        let mut simple = Simple::default();
        loop {
            match self.peek() {
                Some(Token::Redirect(redirect)) => simple.redirects.push(*redirect),
                Some(Token::Word(word, _)) => match assignment(word) {
                    Some(assignment) if simple.words.is_empty() => {
                        simple.assignments.push(assignment);
                    }
                    _ => simple.words.push(word.clone()),
                },
                _ => break,
            }
            self.at += 1;
        }
        if simple.words.is_empty() && simple.assignments.is_empty() {
            let token = self.peek().map_or_else(|| "its end".to_owned(), shown);
            return Err(refused(&format!("{token} instead of a command")));
        }
        Ok(Node::Simple(simple))
    }
}

/// `NAME=VALUE`.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let Some(Piece::Text(first)) = word.0.first() else {
        return None;
    };
    let (name, rest) = first.split_once('=')?;
    let fits = !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !fits {
        return None;
    }
    let mut pieces = word.0.clone();
    pieces[0] = Piece::Text(rest.to_owned());
    Some((name.to_owned(), Word(pieces)))
}
