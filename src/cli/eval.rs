//! `rootshift eval`: code from the command line, in a session of its own.

use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use super::{
    args::EvalArgs,
    interrupt::Interrupts,
    place::told,
    show,
    start::{self, What},
};
use crate::{
    engine::{Cancel, Diagnostic},
    run::abandon,
};

/// What errors call the code.
const SOURCE: &str = "eval";

/// Evaluates code; gives the exit code.
pub(super) fn eval(args: &EvalArgs, runtime: &Runtime) -> u8 {
    let report = show::report(args.output.output);
    if let Err(diagnostic) = start::compile(SOURCE, &args.code, Some(".".into()), None) {
        return start::refuse(&diagnostic, report);
    }
    let account = match start::account(&args.session, report) {
        Ok(account) => account,
        Err(code) => return code,
    };
    let cancel = Cancel::new();
    let _interrupts = Interrupts::listen(runtime, cancel.clone());
    // Without a context the code may need no cluster at all.
    let needed = !args.session.context.is_empty();
    let place = match start::place(&args.session, needed, account.run(), &cancel, runtime) {
        Ok(place) => place,
        Err(failure) => return abandon(&account, &Diagnostic::new(failure)).exit_code,
    };
    let what = What {
        script: SOURCE.to_owned(),
        title: None,
        mode: told(&args.session),
        params: Value::Object(Map::new()),
        folder: Some(".".into()),
    };
    let session = start::session(&args.session, what, &place, account, cancel, runtime);
    let code = match session {
        Ok(session) => runtime.block_on(start::evaluate(
            session,
            SOURCE,
            &args.code,
            Value::Object(Map::new()),
        )),
        Err(ended) => ended.exit_code,
    };
    runtime.block_on(place.close());
    code
}
