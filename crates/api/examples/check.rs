//! Reads a DataVolume as JSON from standard input, and says whether it would be admitted and how
//! large its claim would be on a file system.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::io;

use kube::ResourceExt;
use longshore_api::{
    DataVolume,
    size::{Overhead, required},
    validate,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data_volume: DataVolume = serde_json::from_reader(io::stdin())?;
    validate::create(&data_volume.name_any(), &data_volume.spec)?;
    let asked = data_volume.claim_spec().and_then(|claim| claim.request());
    match asked {
        Some(size) if data_volume.spec.storage.is_some() => {
            println!(
                "admitted; claim of {} bytes",
                required(size.units(), Overhead::DEFAULT)
            );
        }
        Some(size) => println!("admitted; claim of {} bytes", size.units()),
        None => println!("admitted; the size comes from the source"),
    }
    Ok(())
}
