//! The coordinator and the participants, one a process.

use std::io::Write;
use std::path::Path;

use super::{Address, Stop, TwoPhaseError};
use crate::runtime::two_phase::{
    CoordinatorSettings, Notice, ParticipantSettings, Server, serve_coordinator, serve_participant,
};

/// Runs a coordinator; see [`super::run`].
pub(super) fn run_coordinator(
    listen: &Address,
    participants: &[Address],
    out: &mut impl Write,
    on_start: impl FnOnce(Stop),
) -> Result<(), TwoPhaseError> {
    let addresses = participants.iter().map(ToString::to_string).collect();
    let server = serve_coordinator(CoordinatorSettings::new(listen.to_string(), addresses))?;
    let line = format!("coordinator: clients {listen}, participants {}", participants.len());
    serve(server, &line, out, on_start)
}

/// Runs a participant; see [`super::run`].
pub(super) fn run_participant(
    listen: &Address,
    coordinator: &Address,
    data: Option<&Path>,
    out: &mut impl Write,
    on_start: impl FnOnce(Stop),
) -> Result<(), TwoPhaseError> {
    let settings = ParticipantSettings {
        data: data.map(Path::to_owned),
        ..ParticipantSettings::new(listen.to_string(), coordinator.to_string())
    };
    let server = serve_participant(settings)?;
    let kept = data.map_or("in memory".into(), Path::to_string_lossy);
    let line = format!("participant: listens on {listen}, coordinator {coordinator}, data {kept}");
    serve(server, &line, out, on_start)
}

fn serve(
    server: Server,
    line: &str,
    out: &mut impl Write,
    on_start: impl FnOnce(Stop),
) -> Result<(), TwoPhaseError> {
    let notify = server.notifier();
    // If the server is gone already, there is nothing left to stop.
    on_start(Box::new(move || drop(notify.send(Notice::Stop))));
    writeln!(out, "{line}\nready")?;
    out.flush()?;
    let notice = server.wait();
    server.stop();
    match notice {
        Notice::Stop => Ok(()),
        Notice::Failed(why) => Err(TwoPhaseError::Failed(why)),
    }
}
