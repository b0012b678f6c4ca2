//! What the kernel offers beyond the standard library, one capability per file.
//!
//! This is the only crate with unsafe code: everything above it is safe Rust.
//!
//! | module | capability |
//! |---|---|
//! | [`space`] | room on a file system |
//! | [`sparse`] | holes in files |
//! | [`writeback`] | getting written data to the disk in time |
//! | [`mount`] | mount trees, prepared detached and attached in one step |
//! | [`namespace`] | mounts, processes and users of one's own |
//! | [`process`] | making processes, giving up rights |
//! | [`lifeline`] | ending together with the parent process |
#![expect(
    unsafe_code,
    reason = "system calls that no safe crate wraps; each says why it is sound"
)]

pub mod lifeline;
pub mod mount;
pub mod namespace;
pub mod process;
pub mod space;
pub mod sparse;
pub mod writeback;
