//! From settings to a finished disk.

use std::{env, fs::File, process::ExitCode};

use image::{Job, Plan, Progress, Source, Target, pipeline::Format, sink};

use crate::{
    config::{Config, Places, SourceConfig},
    failure::Failure,
    metrics::MetricsServer,
    report,
    termination::{self, Success},
};

/// The name of a disk on its volume.
pub const DISK: &str = "disk.img";

/// The whole life of a worker that is configured by the environment. `places` overrides where it
/// finds the volume and leaves its messages.
pub fn main(places: Option<Places>) -> ExitCode {
    let configured = Config::from_env(|name| env::var(name).ok());
    let log = places
        .as_ref()
        .map_or("/dev/termination-log".into(), |p| p.termination_log.clone());
    let result = configured.map_err(Failure::from).and_then(|mut config| {
        if let Some(places) = places {
            config.places = places;
        }
        run(&config)
    });
    let written = match &result {
        Ok(success) => termination::success(&log, success),
        Err(failure) => {
            let sentence = failure.sentence();
            tracing::error!("{sentence}");
            termination::failure(&log, &sentence)
        }
    };
    if let Err(error) = written {
        tracing::warn!(log = %log.display(), %error, "failed to leave a termination message");
    }
    if result.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Makes the disk.
///
/// What an earlier run left on the volume, complete or not, is removed first: a worker that runs
/// again has not been believed.
pub fn run(config: &Config) -> Result<Success, Failure> {
    let progress = Progress::default();
    // Metrics are a convenience: an import does not fail for want of them.
    let _metrics = MetricsServer::start(config.places.metrics, &config.owner_uid, &progress)
        .inspect_err(|error| tracing::warn!(%error, "progress is not served"))
        .ok();
    sink::remove(&config.places.volume, DISK).map_err(Failure::Volume)?;
    let capacity = config.largest_disk(available(config)?);
    let target = Target {
        folder: config.places.volume.clone(),
        name: DISK.to_owned(),
        capacity,
        grow_to: capacity,
        preallocate: config.preallocate,
    };
    report::while_running(&progress, || match &config.source {
        SourceConfig::Blank => blank(&target, &progress),
        SourceConfig::Http { location, options } => {
            tracing::info!("importing {location}");
            let source = Source::open(location, options).map_err(Failure::Connect)?;
            import(source, &target, &progress)
        }
    })?;
    Ok(Success::import(config.preallocate))
}

fn available(config: &Config) -> Result<u64, Failure> {
    let folder = File::open(&config.places.volume).map_err(Failure::Space)?;
    sys::space::available(&folder).map_err(Failure::Space)
}

fn import(source: Source, target: &Target, progress: &Progress) -> Result<(), Failure> {
    let job = Job::inspect(source, progress).map_err(Failure::Inspect)?;
    tracing::info!("the image is {}", job.plan());
    let stage = stage(job.plan());
    let report = job.run(target).map_err(stage)?;
    tracing::info!(
        "the disk is complete: {} bytes read, {} bytes written, {} of {} bytes allocated",
        report.bytes_read,
        report.bytes_written,
        report.allocated,
        report.disk_size
    );
    Ok(())
}

/// What a failure during the run is called.
fn stage(plan: &Plan) -> fn(image::Error) -> Failure {
    match plan.format {
        Format::Raw => Failure::Transfer,
        _ => Failure::Convert,
    }
}

fn blank(target: &Target, progress: &Progress) -> Result<(), Failure> {
    let disk = sink::SparseFile::create(&target.folder, &target.name, progress);
    let disk = disk.map_err(Failure::Blank)?;
    if target.preallocate {
        disk.reserve(target.grow_to).map_err(Failure::Blank)?;
    }
    let allocated = disk.finish(target.grow_to).map_err(Failure::Blank)?;
    progress.complete();
    let size = target.grow_to;
    tracing::info!("the blank disk is complete: {allocated} of {size} bytes allocated");
    Ok(())
}
