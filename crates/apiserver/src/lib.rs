//! A small Kubernetes API server: durable, generic, embeddable.
//!
//! Objects are JSON documents of some [kind](kind::Kind). Kinds are data – names, a schema,
//! columns, a few hooks – and every kind takes the same path, whether it is compiled in or comes
//! from a `CustomResourceDefinition`. The server knows what Kubernetes clients rely on, and nothing
//! of what the objects are for; controllers are ordinary clients, in this process or elsewhere.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use longshore_apiserver::extend::Extensions;
//! use longshore_apiserver::{ApiServer, User};
//!
//! let server = ApiServer::open("/var/lib/api".as_ref(), Extensions::default()).await?;
//! let me = User::new("my-controller", &["system:masters"]);
//! let client = kube::Client::new(server.service(me), "default");
//! # Ok(()) }
//! ```
//!
//! # A write, from the port to the disk
//!
//! 1. [`server`] accepts a connection.
//! 2. `serve` understands path, parameters and headers; [`access`] tells from a certificate or token
//!    who is there, and whether they may do this. The kind is found in the [`registry`].
//! 3. `objects` makes the body an object of that kind with the help of [`schema`]: it checks types,
//!    drops unknown fields, fills in defaults and [metadata](meta), and lets [`extend`]ed admission
//!    have its say. A [`patch`] becomes a whole object first, and so does what is
//!    [applied](apply), which also keeps the record of who set which field.
//! 4. [`store`] commits it and gives it the next revision. Only then do readers, watchers and the
//!    client get to see it.
//!
//! # The way back
//!
//! Reads and watches never touch the disk. `serve` picks objects by [`selector`], `convert`s them
//! to the asked version, and shows them as they are, as bare metadata, or as a [`table`].
//! [`discovery`] and [`openapi`] describe the registry's kinds to clients, and a [`status`] is how
//! anything is refused.
#![forbid(unsafe_code)]

pub mod access;
pub mod apply;
pub mod builtin;
mod convert;
pub mod discovery;
pub mod extend;
pub mod kind;
pub mod meta;
mod metrics;
mod objects;
pub mod openapi;
pub mod patch;
pub mod quota;
pub mod registry;
pub mod schema;
pub mod selector;
mod serve;
pub mod server;
pub mod status;
pub mod store;
pub mod table;
mod wire;

pub use access::User;
pub use serve::query::Query;
pub use server::{ApiServer, ApiService};
