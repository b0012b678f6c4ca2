//! A small Kubernetes API server.

pub mod access;
pub mod builtin;
mod convert;
pub mod discovery;
pub mod extend;
pub mod kind;
pub mod meta;
mod objects;
pub mod openapi;
pub mod patch;
pub mod registry;
pub mod schema;
pub mod selector;
mod serve;
pub mod server;
pub mod status;
pub mod store;
pub mod table;

pub use access::User;
pub use serve::query::Query;
pub use server::{ApiServer, ApiService};
