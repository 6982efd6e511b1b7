//! `cert::sample`: throw-away identities, for tests of scripts and for trying things out.

use rhai::plugin::*;
use rhai::{Array, Map};

use super::super::world::World;
use super::arguments::script;
use super::types::map;
use crate::engine::Failure;
use crate::engine::did_you_mean;
use crate::engine::kit::{self, Reply};
use crate::pki::mint::{Defect, Specimen};

/// The module `cert` with these words too.
pub(super) fn added_to(mut module: rhai::Module) -> rhai::Module {
    rhai::plugin::combine_with_exported_module!(&mut module, "sample", words);
    module
}

/// Throw-away identities.
#[export_module]
mod words {
    /// A new throw-away workload identity of a new throw-away CA, named as istiod names its own:
    /// `#{ chain, key, bundle, trusted, cas }`. `bundle` is what it trusts (its own root), `trusted` what a
    /// peer trusts, `cas` its CA as `CITADEL` and another as `MESHCA`.
    ///
    /// ```rhai
    /// let a = cert::sample();
    /// assert(cert::handshake(a, a).ok, "with one of its own");
    /// assert(a.chain[0].spiffe_id == "spiffe://cluster.local/ns/shop/sa/front", a.chain[0]);
    /// ```
    #[rhai_fn(name = "sample", return_raw, volatile)]
    pub fn sample(ctx: NativeCallContext) -> Reply<Map> {
        super::make(&ctx, &[])
    }

    /// As `sample()`, with things wrong with it by name; `cert::sample_defects()` lists them.
    ///
    /// - `defects`: a name, or an array of names.
    ///
    /// Throws `script` for another name.
    ///
    /// ```rhai
    /// let a = cert::sample(["leaf-expired", "root-absent"]);
    /// assert(cert::accepts(a.trusted, a.chain).reason.contains("expired"), "an hour ago");
    /// ```
    #[rhai_fn(name = "sample", return_raw, volatile)]
    pub fn sample_with(ctx: NativeCallContext, defects: Dynamic) -> Reply<Map> {
        let names = match defects.clone().try_cast::<Array>() {
            Some(names) => names,
            None => vec![defects],
        };
        let mut wanted = Vec::new();
        for name in names {
            let name = name.into_string().map_err(|kind| {
                script(format!("a defect of `cert::sample` is a name, not {kind}"))
            })?;
            wanted.push(super::defect(&name)?);
        }
        super::make(&ctx, &wanted)
    }

    /// The names of everything that `cert::sample` can make wrong.
    ///
    /// ```rhai
    /// assert("reissued-root" in cert::sample_defects(), cert::sample_defects());
    /// ```
    pub fn sample_defects() -> Array {
        Defect::all()
            .into_iter()
            .map(|defect| defect.name().into())
            .collect()
    }
}

fn defect(name: &str) -> Reply<Defect> {
    name.parse().map_err(|_| {
        let names: Vec<String> = Defect::all().into_iter().map(Defect::name).collect();
        let mut failure = Failure::script(format!("`cert::sample` knows no defect `{name}`"));
        failure.hint = did_you_mean(name, names.iter().map(String::as_str))
            .or_else(|| Some("`cert::sample_defects()` lists them".to_owned()));
        kit::fail(failure)
    })
}

fn make(ctx: &NativeCallContext, defects: &[Defect]) -> Reply<Map> {
    let made = Specimen::new(defects, World::of(ctx)?.now()).map_err(script)?;
    let cas: Map = made
        .cas
        .into_iter()
        .map(|ca| (ca.name.into(), Dynamic::from(ca.roots)))
        .collect();
    Ok(map([
        ("bundle", Dynamic::from(made.trusted.clone())),
        ("cas", cas.into()),
        ("chain", super::array(made.chain)),
        ("key", Dynamic::from(made.key)),
        ("trusted", Dynamic::from(made.trusted)),
    ]))
}
