//! The server as its clients see it: real kubectl over TLS, kube-rs in process, and kill -9.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a failed expectation ends the test, and seeds and sums are for those who run it"
)]

mod access_rotation;
mod access_rules;
mod access_tokens;
mod api;
mod apply;
mod backup;
mod bad_input;
mod bodies;
mod chunking;
mod client;
mod clients;
mod crash;
mod custom;
mod definition_rules;
mod definitions;
mod discovery;
mod faults;
mod field_validation;
mod garbage;
mod hostile;
mod kubectl;
mod limits;
mod load;
mod openapi;
mod patches;
mod published;
mod quota;
mod served;
mod stop;
mod support;
mod tables;
mod watching;
mod wire;
