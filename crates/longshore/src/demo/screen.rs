//! What the demo shows: each step as it goes, and a table of all at the end.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use anyhow::Result;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use super::image::Image;
use crate::output;

/// Where there is no terminal, progress has a line whenever this many percent more are done.
const LINE_STEP: u64 = 20;

/// The steps so far, and how long each took.
pub(super) struct Screen {
    terminal: bool,
    steps: Vec<(&'static str, Duration)>,
}

/// The bar of a step whose end is known; where there is no terminal, lines.
pub(super) struct Bar {
    bar: Option<ProgressBar>,
    last: Mutex<(String, u64)>,
}

/// A step that is under way.
pub(super) struct Started {
    name: &'static str,
    at: Instant,
}

impl Screen {
    /// Begins with a title.
    pub(super) fn new(title: &str) -> Result<Self> {
        output::line(format_args!("{title}\n"))?;
        let terminal = std::io::stderr().is_terminal();
        let steps = Vec::new();
        Ok(Self { terminal, steps })
    }

    /// Shows what is done, and then how long it took.
    pub(super) async fn step<T>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let started = Started {
            name,
            at: Instant::now(),
        };
        let spinner = self.terminal.then(|| {
            let spinner = ProgressBar::new_spinner().with_message(name);
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        let result = work.await;
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        let value = result?;
        self.took(started)?;
        Ok(value)
    }

    /// Begins a step that tells how far it is.
    pub(super) fn progress(&self, name: &'static str) -> Result<(Bar, Started)> {
        let bar = if self.terminal {
            let style =
                ProgressStyle::with_template("{spinner} {prefix} {bar:32} {percent:>3}% {msg}")?;
            let bar = ProgressBar::new(100).with_style(style).with_prefix(name);
            bar.enable_steady_tick(Duration::from_millis(100));
            Some(bar)
        } else {
            None
        };
        Ok((
            Bar {
                bar,
                last: Mutex::default(),
            },
            Started {
                name,
                at: Instant::now(),
            },
        ))
    }

    /// Ends such a step.
    pub(super) fn done(&mut self, bar: Bar, started: Started) -> Result<()> {
        if let Some(bar) = bar.bar {
            bar.finish_and_clear();
        }
        self.took(started)
    }

    fn took(&mut self, started: Started) -> Result<()> {
        let took = started.at.elapsed();
        self.steps.push((started.name, took));
        Ok(output::line(row(started.name, took))?)
    }

    /// What it was all about, and what to do next.
    pub(super) fn summary(&self, image: &Image, allocated: u64) -> Result<()> {
        let all: Duration = self.steps.iter().map(|(_, took)| *took).sum();
        output::line(row("all together", all))?;
        output::line(format_args!(
            "\nThe volume has the same bytes that qemu-img makes of the image.\n\
             \n  {:<26}{:>12}\n  {:<26}{:>12}\n  {:<26}{:>12}\n\
             \nTo go on:\n\
             \n  longshore up                                  serve for real (or: make up)\n  \
               export KUBECONFIG=DIR/kubeconfig              with the folder that it prints\n  \
               kubectl apply -f examples/import-http.yaml    a DataVolume of your own\n  \
               kubectl get dv,pvc,pods -w                    watch it\n",
            "image on the web server",
            HumanBytes(image.file_size).to_string(),
            "disk that is in it",
            HumanBytes(image.virtual_size).to_string(),
            "allocated on the volume",
            HumanBytes(allocated).to_string(),
        ))?;
        Ok(())
    }
}

fn row(name: &str, took: Duration) -> String {
    format!("  {name:<42}{:>8.2} s", took.as_secs_f64())
}

impl Bar {
    /// Shows a phase, and the progress that its DataVolume tells, such as `45.40%`.
    pub(super) fn show(&self, phase: &str, progress: &str) {
        let part = progress
            .split(['.', '%'])
            .next()
            .and_then(|part| part.parse().ok());
        let mut last = self.last.lock();
        let part: u64 = part.unwrap_or(last.1);
        if let Some(bar) = &self.bar {
            bar.set_position(part);
            bar.set_message(phase.to_owned());
        } else if phase == last.0 && part < last.1 + LINE_STEP || phase.is_empty() {
            return;
        } else {
            // A demo without a reader is of no use, but it may end well all the same.
            let _ = output::line(format_args!("    {phase} {progress}"));
        }
        *last = (phase.to_owned(), part);
    }
}
