//! `rootshift run`: a script, its parameters, a place, one session.

use serde_json::Value;
use tokio::runtime::Runtime;

use super::{
    args::{RunArgs, SessionArgs},
    interrupt::Interrupts,
    show,
    start::{self, What},
};
use crate::{
    effect::files,
    engine::{Cancel, Diagnostic, Failure},
    journal::Mode,
    run::{Account, abandon},
    script::{Given, Script, resolve},
};

/// Runs a script; gives the exit code.
pub(super) fn run(args: &RunArgs, runtime: &Runtime) -> u8 {
    let report = show::report(args.output.output);
    let (script, given) = match prepare(args) {
        Ok(prepared) => prepared,
        Err(diagnostic) => return start::refuse(&diagnostic, report),
    };
    match start::account(&args.session, report) {
        Ok(account) => execute(args, &script, given, account, runtime),
        Err(code) => code,
    }
}

/// Everything that can be wrong without a cluster is found before one is touched.
fn prepare(args: &RunArgs) -> Result<(Script, Given), Diagnostic> {
    let script = Script::find(&args.script).map_err(|e| e.diagnostic())?;
    start::compile(
        &script.source,
        &script.text,
        script.folder(),
        Some(&script.header),
    )?;
    let session = &args.session;
    let told = session.twin.is_some() || !session.context.is_empty();
    if script.header.mutates && !told {
        return Err(Diagnostic::new(
            Failure::usage(format!(
                "`{}` changes the cluster and was not told which",
                script.name
            ))
            .hint("name it with `--context NAME`, or try it with `--twin`"),
        ));
    }
    start::allowed(&script.name, mode(&script, session), session)?;
    let file = args.params.as_ref().map(|path| {
        let text = files::read_text(path).map_err(|e| Failure::usage(e.to_string()))?;
        let shown = path.display().to_string();
        match serde_saphyr::from_str::<Value>(&text) {
            // An empty file holds no parameters.
            Ok(Value::Null) => Ok((shown, Value::Object(serde_json::Map::new()))),
            Ok(value) => Ok((shown, value)),
            Err(e) => Err(Failure::usage(format!("{shown}: not YAML: {e}"))),
        }
    });
    let given = Given {
        sets: args.set.clone(),
        file: file.transpose().map_err(Diagnostic::new)?,
        scenario: None,
    };
    if session.twin.is_none() {
        // With a twin this has to wait for its scenario.
        resolve(&script.name, &script.header, &given).map_err(usage)?;
    }
    Ok((script, given))
}

fn execute(
    args: &RunArgs,
    script: &Script,
    mut given: Given,
    account: Account,
    runtime: &Runtime,
) -> u8 {
    let cancel = Cancel::new();
    let _interrupts = Interrupts::listen(runtime, cancel.clone());
    // What only reads may need no cluster at all, such as a script that judges files.
    let needed = script.header.mutates || !args.session.context.is_empty();
    let place = match start::place(&args.session, needed, account.run(), &cancel, runtime) {
        Ok(place) => place,
        Err(failure) => return abandon(&account, &Diagnostic::new(failure)).exit_code,
    };
    given.scenario = place.params();
    let params = match resolve(&script.name, &script.header, &given) {
        Ok(params) => Value::Object(params),
        Err(error) => return abandon(&account, &usage(error)).exit_code,
    };
    let what = What {
        script: script.name.clone(),
        title: Some(script.header.title.clone()).filter(|t| !t.is_empty()),
        mode: mode(script, &args.session),
        params: params.clone(),
        folder: script.folder(),
    };
    let session = start::session(&args.session, what, &place, account, cancel, runtime);
    let code = match session {
        Ok(session) => {
            let evaluated = start::evaluate(session, &script.source, &script.text, params);
            runtime.block_on(evaluated)
        }
        Err(ended) => ended.exit_code,
    };
    runtime.block_on(place.close());
    code
}

fn mode(script: &Script, session: &SessionArgs) -> Mode {
    match (script.header.mutates, session.dry_run) {
        (false, _) => Mode::ReadOnly,
        (true, false) => Mode::Mutating,
        (true, true) => Mode::DryRun,
    }
}

fn usage(error: crate::script::ParamError) -> Diagnostic {
    Diagnostic::new(error.into())
}
