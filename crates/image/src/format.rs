//! Recognising an image, and mapping its bytes to those of the disk.
//!
//! A format is a [`Layout`]: given random access to an image, it lists the [`Batch`]es of bytes to
//! fetch and where on the disk they belong. What no batch covers is zeros. The layout neither
//! fetches data nor writes; a [`batch::Decoder`] and the pipeline do.

use crate::{
    codec::cluster::Compression,
    error::{Error, Result},
    source::ReadAt,
};

pub mod batch;
pub mod detect;
pub mod qcow2;
pub mod raw;

pub use batch::Batch;

/// Which bytes of an image are which part of the disk.
pub trait Layout: Sync {
    /// The size of the disk in bytes.
    fn virtual_size(&self) -> u64;

    /// How the compressed pieces are compressed, where the format has such.
    fn compression(&self) -> Option<Compression>;

    /// Passes every batch to `visit`, mostly in the order of the image.
    fn batches(
        &self,
        source: &dyn ReadAt,
        visit: &mut dyn FnMut(Batch) -> Result<()>,
    ) -> Result<()>;
}

/// Reads a whole qcow2 image and returns the number of bytes of the disk that hold data, or the
/// first error. Images whose disk is larger than `largest` are refused before any work.
///
/// ```
/// # let image: Vec<u8> = vec![0; 512];
/// assert!(longshore_image::format::check_qcow2(&image, 1 << 30).is_err());
/// ```
pub fn check_qcow2(source: &dyn ReadAt, largest: u64) -> Result<u64> {
    let layout = qcow2::Reader::open(source)?;
    if layout.virtual_size() > largest {
        return Err(Error::TooLarge {
            size: layout.virtual_size(),
            available: largest,
        });
    }
    let mut decoder = batch::Decoder::new(layout.compression())?;
    let mut data = 0;
    layout.batches(source, &mut |batch| {
        decoder.decode(source, &batch, &mut |_, bytes| {
            data += bytes.len() as u64;
            Ok(())
        })
    })?;
    Ok(data)
}
