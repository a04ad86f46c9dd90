//! One mode, recorded and judged: what two clients did and were told, and what the checkers say of it.
//!
//! Client A writes and reads at replica 0, client B reads at replica 1, until the history shows what the
//! mode allows and a stronger one would not; then all replicas are read until they agree.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Demo, DemoError, Stage};
use crate::check::spec::SPECS;
use crate::check::{Answer, Budget, MODELS, Problem, model};
use crate::client::{Client, ClientError, Options, Protocol};
use crate::history::{
    Action, BuildError, Builder, Clock, Completion, History, Invocation, KeyId, Outcome, Told,
    ValueId,
};
use crate::labs::judge::Judged;
use crate::labs::simulation;
use crate::labs::trace::{INITIAL, KEY};
use crate::protocol::{Mode, ReplyAt};
use crate::report::{lanes, verdicts};

/// A little, so that what happens in between can be seen.
const WRITE_DELAY: Duration = Duration::from_millis(20);

/// How many rounds of a write and two reads there are at the most.
const ROUNDS: u32 = 100;

/// How long the replicas may take to agree.
const PATIENCE: Duration = Duration::from_secs(15);

/// Records, judges, shows and saves.
pub(super) fn show<W: Write>(
    demo: &Demo,
    mode: &'static Mode,
    stage: &mut Stage<'_, W>,
) -> Result<PathBuf, DemoError> {
    let claim = match mode.reply_at {
        ReplyAt::Submission => "convergent",
        ReplyAt::Delivery => "sequential",
    };
    let history = demo.with_replicas(mode, WRITE_DELAY, |addresses| {
        let mut notebook = Notebook::new(mode.name)?;
        let mut clients = addresses
            .iter()
            .map(|to| Client::connect(to, Protocol::Memcached, Options::default()))
            .collect::<Result<Vec<_>, ClientError>>()?;
        for round in 1..=ROUNDS {
            let value = round.to_string();
            notebook.set("A", 0, &mut clients[0], &value)?;
            let own = notebook.get("A", 0, &mut clients[0])?;
            let other = notebook.get("B", 1, &mut clients[1])?;
            if own != value || other != value {
                settle(&mut notebook, &mut clients, &value)?;
                break;
            }
        }
        Ok(notebook.builder.finish())
    })?;
    let problem = Problem {
        history: &history,
        spec: &SPECS[0],
        initial: ValueId::NIL,
        budget: Budget::unlimited(),
    };
    let judged = Judged::of(&problem, &MODELS.iter().collect::<Vec<_>>(), problem.budget, &|_| ());
    say(mode, &history, &judged, stage)?;
    let holds = model(claim).and_then(|model| judged.ladder.rung(model)).map(|rung| &rung.answer);
    if holds != Some(&Answer::Valid) {
        return Err(DemoError::Surprise {
            mode: mode.name,
            what: "what was recorded".to_owned(),
            expected: claim.to_owned(),
            found: verdicts::strongest(&judged.ladder),
        });
    }
    let folder = demo.out.join(format!("demo-{}", mode.name));
    let title = format!("lab demo, {}", mode.name);
    let words = &demo.command_line;
    simulation::save_recorded(&folder, &title, &history, &judged, words, Default::default())?;
    Ok(folder)
}

/// Reads at all replicas until they have the value, once more at each when they do.
fn settle(notebook: &mut Notebook, clients: &mut [Client], value: &str) -> Result<(), DemoError> {
    let begun = Instant::now();
    let names = ["A", "B", "C"];
    for (replica, client) in clients.iter_mut().enumerate() {
        let name = names.get(replica).copied().unwrap_or("D");
        while notebook.get(name, replica as u16, client)? != value {
            if begun.elapsed() > PATIENCE {
                return Err(DemoError::TooSlow { mode: notebook.mode, took: begun.elapsed() });
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

fn say<W: Write>(
    mode: &'static Mode,
    history: &History,
    judged: &Judged,
    stage: &mut Stage<'_, W>,
) -> Result<(), DemoError> {
    stage.say(
        "\nOnce more with clients A at replica 0 and B at replica 1, recorded, and checked\n\
         against the ladder of consistency models (docs/models.md), strongest first:\n",
    )?;
    let style = stage.style;
    for rung in &judged.ladder.rungs {
        let mark = verdicts::painted(&rung.answer, style);
        stage.say(&format!("  {mark} {}", rung.model.title))?;
    }
    match &judged.witness {
        Some((model, witness)) => {
            stage.say("")?;
            let text = verdicts::witness_text(history, model, witness, style);
            stage.say(text.trim_end())?;
            stage.say(&format!("\n{}", lanes(history, &witness.operations)))
        }
        None => stage.say(&format!(
            "\n{} would have allowed an old read; in {ROUNDS} rounds there was none this time.",
            mode.name
        )),
    }
}

/// What clients do, written down as they do it.
struct Notebook {
    mode: &'static str,
    begun: Instant,
    builder: Builder,
    key: KeyId,
}

impl Notebook {
    fn new(mode: &'static str) -> Result<Self, DemoError> {
        let mut builder = Builder::new(Clock::Nanoseconds);
        let key = builder.key(KEY);
        let initial = builder.value(Some(INITIAL));
        let history = builder.history_mut();
        history.initial.push((key, initial));
        history.claim = Some(mode.to_owned());
        Ok(Self { mode, begun: Instant::now(), builder, key })
    }

    fn now(&self) -> Option<u64> {
        u64::try_from(self.begun.elapsed().as_nanos()).ok()
    }

    fn begin(&mut self, process: &str, replica: u16, action: Action) -> Result<(), DemoError> {
        let (at, replica) = (self.now(), Some(crate::base::ReplicaId(replica)));
        let invocation = Invocation { process, key: self.key, action, replica, at };
        self.builder.invoke(invocation).map_err(notes)?;
        Ok(())
    }

    fn end(&mut self, process: &str, told: Told) -> Result<(), DemoError> {
        let at = self.now();
        let completion = Completion { process, outcome: Outcome::Ok, told, at };
        self.builder.complete(completion).map_err(notes)?;
        Ok(())
    }

    fn set(
        &mut self,
        process: &str,
        replica: u16,
        client: &mut Client,
        value: &str,
    ) -> Result<(), DemoError> {
        let written = self.builder.value(Some(value));
        self.begin(process, replica, Action::Write(written))?;
        client.set(KEY.as_bytes(), value.as_bytes())?;
        self.end(process, Told::Nothing)
    }

    fn get(
        &mut self,
        process: &str,
        replica: u16,
        client: &mut Client,
    ) -> Result<String, DemoError> {
        self.begin(process, replica, Action::Read(ValueId::NIL))?;
        let found = client.get(KEY.as_bytes())?;
        let text = found.map(|value| String::from_utf8_lossy(&value).into_owned());
        let value = self.builder.value(text.as_deref());
        self.end(process, Told::Value(value))?;
        Ok(text.unwrap_or_default())
    }
}

/// The notebook is kept in order; only a history too long for its numbers could be refused.
fn notes(error: BuildError) -> DemoError {
    DemoError::System { action: "record what was done", source: std::io::Error::other(error) }
}
