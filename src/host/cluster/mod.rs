//! `cluster::…`: objects of any kind, read and changed as kubectl does it.
//!
//! The words only translate: what they promise (reading before writing, one door for every change)
//! is kept by [`crate::cluster`].

mod act;
mod change;
mod delete;
mod label;
mod read;
mod write;

pub(in crate::host) use act::{place, shown, written};

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    let mut module = rhai::Module::new();
    module.set_doc("/// Objects of any kind, read and changed as kubectl does it.");
    read::add_to(&mut module);
    delete::add_to(&mut module);
    label::add_to(&mut module);
    write::add_to(&mut module);
    engine.register_static_module("cluster", module.into());
}
