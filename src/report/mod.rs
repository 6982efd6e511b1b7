//! What happened, for people and programs; reads only events.
