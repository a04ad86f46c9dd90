//! The scenario on real threads and sockets: clients with connections, replicas with files, time that passes.
//!
//! What is real: the servers' code from the client port to the disk, TCP, the scheduler. What is not: the replicas are in this
//! one process, so a crash is a stop that closes all connections and is followed by a start on the same files (no kill -9), and
//! every link goes through a [`super::relay`], which costs a thread's waking a message. No two runs are the same.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, system};
use super::measure::measure;
use super::scenario::{BEGIN, Scenario, Settings};
use super::simulate::each;
use super::{CompareError, Compared, Run};
use crate::base::ReplicaId;
use crate::check::ladder::Rung;
use crate::check::models::View;
use crate::check::staleness::{self, Staleness};
use crate::check::{Answer, MODELS, Model};
use crate::client::{Certainty, Client, ClientError};
use crate::history::{
    self, Action, Builder, Clock, Completion, History, Invocation, Outcome, Told,
};
use crate::labs::judge::Judged;
use crate::labs::simulation;
use crate::protocol::Mode;
use crate::report::{Cost, ModeRow};
use crate::sim::plan::{PlannedFault, Step};
use crate::sim::{Finding, Verdict};

/// How long the healed replicas may take to be equal.
const SETTLE: Duration = Duration::from_secs(30);

/// How long is waited between two looks at all replicas.
const GLANCE: Duration = Duration::from_millis(2);

/// How many writes, and then reads, are made to count what they cost.
const COUNTED: usize = 200;

/// How long what a write has set off may go on behind its answer.
const AFTERMATH: Duration = Duration::from_millis(100);

/// Runs a mode and measures it.
pub(super) fn compared(
    settings: &Settings,
    scenario: &Scenario,
    mode: &'static Mode,
) -> Result<Compared, CompareError> {
    let cluster = Cluster::start(mode, settings)?;
    let (write_cost, read_cost) = costs(&cluster, settings.replicas)?;
    let stage = Stage { cluster: &cluster, settings, notes: Notes::new(mode.name) };
    let convergence = stage.play(scenario)?;
    let history = stage.notes.finish();
    cluster.stop();
    let measured = measure(scenario, &history, 0);
    let (judged, verdict) = judge(&history);
    let mut staleness = simulation::with_problem(&history, staleness::profile);
    let linearizable = |rung: &Rung| rung.model.view == View::RealTime;
    if judged.ladder.rungs.iter().any(|rung| linearizable(rung) && rung.answer == Answer::Valid) {
        staleness = fresh(staleness);
    }
    let row = ModeRow {
        mode: mode.name,
        promise: mode.promise,
        reads: measured.reads,
        writes: measured.writes,
        throughput: measured.throughput,
        served: measured.served,
        staleness,
        convergence,
        write_cost,
        read_cost,
        ladder: judged.ladder.clone(),
        faults: history.faults.len(),
    };
    Ok(Compared { row, verdict, run: Run::Recorded(Box::new((history, judged))) })
}

/// In a linearizable history no read is stale: there is an order of versions in which all are current. The order of their
/// acknowledgements, which is all that is known here, need not be that one where writes were concurrent.
fn fresh(guessed: Staleness) -> Staleness {
    let mut staleness = guessed;
    staleness.fresh += std::mem::take(&mut staleness.stale);
    staleness.worst = None;
    for histogram in [&mut staleness.versions, &mut staleness.behind] {
        histogram.reset();
        histogram.saturating_record_n(0, staleness.fresh);
    }
    staleness
}

fn judge(history: &History) -> (Judged, Verdict) {
    let models: Vec<&'static Model> = MODELS.iter().collect();
    let judged = simulation::with_problem(history, |problem| {
        Judged::of(problem, &models, problem.budget, &|_| ())
    });
    let verdict = match simulation::checker(history) {
        Finding::Holds => Verdict::Holds,
        Finding::Unknown(why) => Verdict::Unknown(why),
        Finding::Violation(why) => Verdict::Violation { history: Some(why), broken: None },
    };
    (judged, verdict)
}

/// What a write and a read cost between the replicas, of a key that nobody else asks for.
fn costs(cluster: &Cluster, replicas: u16) -> Result<(Cost, Cost), CompareError> {
    let mut clients = (0..replicas).map(|id| cluster.connect(id)).collect::<Result<Vec<_>, _>>()?;
    let mut count = |ask: &dyn Fn(&mut Client, usize) -> Result<(), ClientError>| {
        let before = cluster.passed();
        for number in 0..COUNTED {
            let at = number % clients.len().max(1);
            ask(&mut clients[at], number)?;
        }
        thread::sleep(AFTERMATH);
        Ok::<_, CompareError>(each(cluster.passed().since(before), COUNTED))
    };
    let writes = count(&|client, n| client.set(b"counted", n.to_string().as_bytes()))?;
    let reads = count(&|client, _| client.get(b"counted").map(|_| ()))?;
    Ok((writes, reads))
}

/// The replicas, and what is noted of what clients do with them.
struct Stage<'a> {
    cluster: &'a Cluster,
    settings: &'a Settings,
    notes: Notes,
}

impl Stage<'_> {
    /// Has the clients ask and the faults come; gives how long the replicas took to be equal then.
    fn play(&self, scenario: &Scenario) -> Result<Option<Duration>, CompareError> {
        let failed = thread::scope(|scope| {
            for client in 0..self.settings.clients {
                let name = format!("client-{client}");
                let body = move || self.ask(client, scenario.steps(client));
                let spawned = thread::Builder::new().name(name).spawn_scoped(scope, body);
                spawned.map_err(system("start a thread for each client"))?;
            }
            scenario.faults().iter().try_for_each(|fault| self.fail(fault, scenario.ends_at))
        });
        failed?;
        self.heal(scenario)?;
        let healed = Instant::now();
        self.converge(scenario, healed)
    }

    /// Has a fault happen and end, unless it is to last until the clients are through.
    fn fail(&self, planned: &PlannedFault, ends_at: u64) -> Result<(), CompareError> {
        self.notes.wait_until(planned.at);
        self.cluster.begin(&planned.fault);
        let until = planned.at.saturating_add(planned.fault.lasts());
        self.notes.fault(planned, until.min(ends_at));
        if until <= ends_at {
            self.notes.wait_until(until);
            self.cluster.end(&planned.fault)?;
        }
        Ok(())
    }

    /// Ends what has not ended.
    fn heal(&self, scenario: &Scenario) -> Result<(), CompareError> {
        for planned in scenario.faults() {
            self.cluster.end(&planned.fault)?;
        }
        Ok(())
    }

    /// One client: its operations, one after the other, each not before it is due.
    fn ask(&self, number: usize, steps: &[Step]) {
        let (mut connection, mut lost) = (None, 0);
        for step in steps {
            self.notes.wait_until(step.at);
            // A connection is a session: behind a new one it is another process.
            let name = if lost == 0 { format!("c{number}") } else { format!("c{number}+{lost}") };
            self.notes.begin(&name, step);
            let result = self.perform(&mut connection, step);
            if result.as_ref().is_err_and(ClientError::ends_connection)
                && connection.take().is_some()
            {
                lost += 1;
            }
            self.notes.end(&name, result);
        }
    }

    fn perform(
        &self,
        connection: &mut Option<Client>,
        step: &Step,
    ) -> Result<Option<Option<String>>, ClientError> {
        let client = match connection {
            Some(client) => client,
            None => connection.insert(self.cluster.connect(step.replica)?),
        };
        let key = key_name(step.key);
        if let Some(value) = step.write {
            client.set(key.as_bytes(), value.to_string().as_bytes())?;
            return Ok(None);
        }
        let found = client.get(key.as_bytes())?;
        Ok(Some(found.map(|value| String::from_utf8_lossy(&value).into_owned())))
    }

    /// Has every replica take a write, and waits until all show the same.
    fn converge(
        &self,
        scenario: &Scenario,
        healed: Instant,
    ) -> Result<Option<Duration>, CompareError> {
        let (keys, replicas) = (self.settings.keys, self.settings.replicas);
        let mut value = scenario.values();
        for replica in 0..replicas {
            let mut tries = 0;
            loop {
                value += 1;
                tries += 1;
                let step =
                    Step { at: 0, replica, key: replica % keys, write: Some(value), retry: false };
                let name = format!("heal{replica}-{tries}");
                self.notes.begin(&name, &step);
                let result = self.perform(&mut None, &step);
                let done = result.is_ok();
                self.notes.end(&name, result);
                if done {
                    break;
                }
                if healed.elapsed() > SETTLE {
                    return Ok(None);
                }
                thread::sleep(GLANCE);
            }
        }
        while !self.are_equal() {
            if healed.elapsed() > SETTLE {
                return Ok(None);
            }
            thread::sleep(GLANCE);
        }
        let took = healed.elapsed();
        for replica in 0..replicas {
            let (mut connection, name) = (None, format!("end{replica}"));
            for key in 0..keys {
                let step = Step { at: 0, replica, key, write: None, retry: false };
                self.notes.begin(&name, &step);
                let result = self.perform(&mut connection, &step);
                self.notes.end(&name, result);
            }
        }
        Ok(Some(took))
    }

    fn are_equal(&self) -> bool {
        let shown = |replica: u16| -> Result<Vec<_>, ClientError> {
            let mut client = self.cluster.connect(replica)?;
            (0..self.settings.keys).map(|key| client.get(key_name(key).as_bytes())).collect()
        };
        let mut all = (0..self.settings.replicas).map(shown);
        let Some(Ok(first)) = all.next() else { return false };
        all.all(|other| other.is_ok_and(|other| other == first))
    }
}

fn key_name(key: u16) -> String {
    format!("k{key}")
}

/// What is noted while it happens; times are those of the scenario.
struct Notes {
    epoch: Instant,
    builder: Mutex<Builder>,
}

impl Notes {
    /// The clients may begin at once.
    fn new(claim: &str) -> Self {
        let mut builder = Builder::new(Clock::Nanoseconds);
        builder.history_mut().claim = Some(claim.to_owned());
        Self { epoch: Instant::now(), builder: Mutex::new(builder) }
    }

    fn builder(&self) -> MutexGuard<'_, Builder> {
        self.builder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        BEGIN.saturating_add(elapsed)
    }

    fn wait_until(&self, at: u64) {
        let left = at.saturating_sub(self.now());
        if left > 0 {
            thread::sleep(Duration::from_nanos(left));
        }
    }

    fn begin(&self, process: &str, step: &Step) {
        let mut builder = self.builder();
        let key = builder.key(&key_name(step.key));
        let text = step.write.map(|value| value.to_string());
        let value = builder.value(text.as_deref());
        let action = if step.write.is_some() { Action::Write(value) } else { Action::Read(value) };
        let replica = Some(ReplicaId(step.replica));
        let at = Some(self.now());
        let invocation = Invocation { process, key, action, replica, at };
        builder.invoke(invocation).expect("a client asks one thing at a time");
    }

    fn end(&self, process: &str, result: Result<Option<Option<String>>, ClientError>) {
        let mut builder = self.builder();
        let (outcome, told) = match &result {
            Ok(None) => (Outcome::Ok, Told::Nothing),
            Ok(Some(found)) => (Outcome::Ok, Told::Value(builder.value(found.as_deref()))),
            Err(error) => match error.certainty() {
                Certainty::Fail => (Outcome::Fail, Told::Nothing),
                Certainty::Unknown => (Outcome::Unknown, Told::Nothing),
            },
        };
        let at = Some(self.now());
        let completion = Completion { process, outcome, told, at };
        builder.complete(completion).expect("a client ends what it has asked");
    }

    fn fault(&self, planned: &PlannedFault, until: u64) {
        let fault = history::Fault {
            name: planned.fault.kind().name().to_owned(),
            replicas: planned.fault.replicas().into_iter().map(ReplicaId).collect(),
            from: self.now(),
            until: Some(until),
        };
        self.builder().history_mut().faults.push(fault);
    }

    fn finish(self) -> History {
        self.builder.into_inner().unwrap_or_else(PoisonError::into_inner).finish()
    }
}
