//! What the rest of the program relies on: the language as this engine sets it up.

mod check;
mod findings;
mod flow;
mod messages;
mod session;

use super::kit::{self, Reply};
use super::{Bridge, Cancel, Diagnostic, Engine, Failure, Limits, Modules, StepObserver, Words};
use include_dir::Dir;
use rhai::{Dynamic, EvalAltResult, FnPtr, NativeCallContext};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The world of these tests: a bridge, and a log of what the words were asked to do.
#[derive(Clone)]
struct Bench {
    bridge: Bridge,
    log: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn note(&self, line: impl Into<String>) {
        self.log.lock().unwrap().push(line.into());
    }
}

impl StepObserver for Bench {
    fn begin(&self, name: &str) -> Result<(), Failure> {
        self.note(format!("begin {name}"));
        match name.strip_prefix("refuse ") {
            Some(code) => Err(Failure::refused(code, "not now")),
            None => Ok(()),
        }
    }

    fn end(&self, name: &str, result: Result<(), &Failure>) -> Result<(), Failure> {
        match result {
            Ok(()) => self.note(format!("end {name}")),
            Err(failure) => self.note(format!("end {name}: {failure}")),
        }
        if name == "unsafe" && result.is_ok() {
            return Err(Failure::refused("traffic", "2 handshakes failed"));
        }
        Ok(())
    }
}

/// Words to test with.
struct TestWords;

impl Words for TestWords {
    fn register(&self, engine: &mut rhai::Engine) {
        // Waits as a call to a cluster does.
        engine.register_fn(
            "request",
            |ctx: NativeCallContext, name: &str, ms: i64| -> Reply<i64> {
                let bench: Bench = kit::context(&ctx)?;
                let wait = Duration::from_millis(u64::try_from(ms).unwrap());
                bench.bridge.wait(async move {
                    tokio::time::sleep(wait).await;
                    Ok::<_, Failure>(())
                })?;
                bench.note(format!("called {name}"));
                Ok(ms)
            },
        );
        engine.register_fn("note", |ctx: NativeCallContext, text: &str| -> Reply<()> {
            kit::context::<Bench>(&ctx)?.note(text);
            Ok(())
        });
        engine.register_fn("cancel_now", |ctx: NativeCallContext| -> Reply<()> {
            kit::context::<Bench>(&ctx)?.bridge.cancel().cancel();
            Ok(())
        });
        engine.register_fn("ask_to_stop", |ctx: NativeCallContext| -> Reply<()> {
            kit::context::<Bench>(&ctx)?.bridge.cancel().ask();
            Ok(())
        });
        engine.register_fn("refuse", || -> Reply<()> {
            Err(kit::fail(
                Failure::refused("roots-missing", "2 proxies lack a root")
                    .evidence("cart-1.shop: no MESHCA")
                    .hint("move `shop` first"),
            ))
        });
        engine.register_fn("bind", |ctx: NativeCallContext, f: FnPtr| {
            kit::bind(&ctx, f)
        });
        engine.register_fn(
            "twice",
            |ctx: NativeCallContext, f: FnPtr| -> Reply<Dynamic> {
                let _ = f.call_within_context::<Dynamic>(&ctx, ())?;
                f.call_within_context(&ctx, ())
            },
        );
        engine.register_fn("panics", || -> Reply<()> { panic!("on purpose") });
        engine.register_fn("secret", || {
            kit::View::new(Arc::new(serde_json::json!({
                "kind": "Secret",
                "metadata": {
                    "name": "cacerts",
                    "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "S0VZ"},
                },
                "data": {"key.pem": "S0VZ"},
            })))
        });
        engine.register_fn("pod", |json: &str| -> Reply<kit::View> {
            Ok(kit::View::new(Arc::new(
                serde_json::from_str(json).unwrap(),
            )))
        });
        let mut module = rhai::Module::new();
        rhai::FuncRegistration::new("get")
            .with_params_info(["kind: &str", "name: &str", "Dynamic"])
            .set_into_module(&mut module, |_kind: &str, _name: &str| Dynamic::UNIT);
        rhai::FuncRegistration::new("get")
            .with_params_info(["kind: &str", "namespace: &str", "name: &str", "Dynamic"])
            .set_into_module(&mut module, |_kind: &str, _namespace: &str, _name: &str| {
                Dynamic::UNIT
            });
        rhai::FuncRegistration::new("label")
            .with_params_info(["kind: &str", "()"])
            .set_into_module(&mut module, |_kind: &str| ());
        engine.register_static_module("cluster", module.into());
    }
}

/// How an evaluation ended.
struct Ended {
    result: Result<Value, Diagnostic>,
    log: Vec<String>,
}

impl Ended {
    fn value(&self) -> &Value {
        match &self.result {
            Ok(value) => value,
            Err(error) => panic!("{}", error.render(false)),
        }
    }

    fn error(&self) -> &Diagnostic {
        self.result.as_ref().expect_err("it should have failed")
    }

    fn failure(&self) -> &Failure {
        &self.error().failure
    }
}

struct Setup {
    limits: Limits,
    cancel: Cancel,
    modules: Modules,
    cancel_after: Option<Duration>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            limits: Limits::default(),
            cancel: Cancel::with_grace(Duration::from_millis(400)),
            modules: Modules::new(None).with_library(Dir::new("", &[])),
            cancel_after: None,
        }
    }
}

impl Setup {
    fn run(self, text: &str) -> Ended {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let bench = Bench {
            bridge: Bridge::new(runtime.handle().clone(), self.cancel.clone()),
            log: Arc::default(),
        };
        let observer: Arc<dyn StepObserver> = Arc::new(bench.clone());
        let engine = Engine::new(
            &TestWords,
            Dynamic::from(bench.clone()),
            self.limits,
            self.cancel.clone(),
            &observer,
            self.modules,
        )
        .unwrap();
        let engine = Arc::new(engine);
        let result = runtime.block_on(async {
            if let Some(after) = self.cancel_after {
                let cancel = self.cancel.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    cancel.cancel();
                });
            }
            match engine.compile("test.rhai", text) {
                Ok(program) => engine.run(program, serde_json::json!({"n": 7})).await,
                Err(error) => Err(error),
            }
        });
        let log = bench.log.lock().unwrap().clone();
        Ended { result, log }
    }
}

fn run(text: &str) -> Ended {
    Setup::default().run(text)
}

/// Rhai as it comes, with the options of this engine that concern the language.
fn bare() -> rhai::Engine {
    let mut engine = rhai::Engine::new();
    engine.set_optimization_level(rhai::OptimizationLevel::None);
    engine
}

fn leaf(error: &EvalAltResult) -> &EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => leaf(inner),
        other => other,
    }
}
