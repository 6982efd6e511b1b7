//! `cluster::…`: objects of any kind, read and changed as kubectl does it.
//!
//! The words only translate: what they promise (reading before writing, one door for every change)
//! is kept by [`crate::cluster`].

mod about;
mod act;
mod change;
mod delete;
mod label;
mod owners;
mod pods;
mod read;
mod select;
mod wait;
mod write;

pub(in crate::host) use act::{place, shown, written};
pub(in crate::host) use owners::warn_of_reverts;

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    let mut module = rhai::Module::new();
    module.set_doc("/// Objects of any kind, read and changed as kubectl does it.");
    about::add_to(&mut module);
    pods::add_to(&mut module);
    owners::add_to(&mut module);
    read::add_to(&mut module);
    select::add_to(&mut module);
    wait::add_to(&mut module);
    delete::add_to(&mut module);
    label::add_to(&mut module);
    write::add_to(&mut module);
    engine.register_static_module("cluster", module.into());
}
