//! Who owns which field, and server-side apply.
//!
//! Every write is attributed. `metadata.managedFields` has an entry per manager, with the set of
//! fields that this manager has set. An update takes the fields that it changes from all others;
//! an apply states a manager's whole intent: what it names is set, what it named before and names
//! no more is removed, and what somebody else owns with another value is a conflict.
//!
//! * `element`, `set`: paths to fields, sets of them, and their form on the wire (`fieldsV1`)
//! * `shape`: what of a schema decides how fine a value is owned
//! * `typed`, `merge`: sets of fields of values, their differences, and how values are combined
//! * `check`: whether a configuration is one at all
//! * `owners`: the entries of `metadata.managedFields`
//! * `ownership`: what becomes of the entries by a write, and conflicts
//!
//! Everything here is a pure function of documents. Semantics: Kubernetes documentation,
//! "Server-Side Apply".

mod check;
mod element;
mod merge;
mod owners;
mod ownership;
mod set;
mod shape;
#[cfg(test)]
mod tests;
mod typed;

pub use check::check;
pub use element::Element;
pub use owners::{MalformedOwners, Operation, Owner, Owners, is_same_but_for_times};
pub use ownership::{Conflict, Conflicts, Versions, Writer};
pub use set::{FieldSet, MalformedFields};
pub use shape::Shape;
pub use typed::fields;
