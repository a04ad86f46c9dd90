//! One mode, watched: a client writes and reads, another reads elsewhere, and every replica says where it
//! stands.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::{Demo, DemoError, Stage, flow};
use crate::client::{Client, ClientError, Options, Protocol};
use crate::labs::trace::{INITIAL, KEY};
use crate::protocol::{Mode, ReplyAt};

/// The value that is written.
const VALUE: &str = "42";

/// How long the replicas may take to settle, beyond the write delay.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often a replica is asked while something is awaited.
const POLL: Duration = Duration::from_millis(2);

/// Shows one mode.
pub(super) fn show<W: Write>(
    demo: &Demo,
    mode: &'static Mode,
    stage: &mut Stage<'_, W>,
) -> Result<(), DemoError> {
    demo.with_replicas(mode, demo.write_delay, |addresses| {
        let delay = humantime::format_duration(demo.write_delay);
        let places = addresses.join(", ");
        stage.say(&format!(
            "Replicas 0, 1 and 2 serve clients on\n  {places}.\n{KEY} is {INITIAL} everywhere. \
             A write waits {delay} before it is applied, so that we can watch."
        ))?;
        let mut tour = Tour::new(demo, mode, addresses, stage)?;
        match mode.reply_at {
            ReplyAt::Submission => tour.answered_at_once()?,
            ReplyAt::Delivery => tour.answered_at_delivery()?,
        }
        tour.flow()
    })
}

/// What [`set_behind`] sends: the client, to go on with, and how its set ended.
type Answer = (Client, Result<(), ClientError>);

/// What a replica says of itself.
struct Standing {
    value: String,
    clock: String,
    delivered: String,
    pending: String,
}

struct Tour<'a, 'b, W> {
    demo: &'a Demo,
    mode: &'static Mode,
    addresses: &'a [String],
    options: Options,
    /// A connection to each replica, for looking.
    eyes: Vec<Client>,
    stage: &'a mut Stage<'b, W>,
    begin: Instant,
}

impl<'a, 'b, W: Write> Tour<'a, 'b, W> {
    fn new(
        demo: &'a Demo,
        mode: &'static Mode,
        addresses: &'a [String],
        stage: &'a mut Stage<'b, W>,
    ) -> Result<Self, DemoError> {
        let options = Options { timeout: demo.write_delay + PATIENCE, ..Options::default() };
        let eye = |to: &String| Client::connect(to, Protocol::Memcached, options);
        let eyes = addresses.iter().map(eye).collect::<Result<_, ClientError>>()?;
        Ok(Self { demo, mode, addresses, options, eyes, stage, begin: Instant::now() })
    }

    /// Eventual: the answer comes at once, and the read behind it is stale.
    fn answered_at_once(&mut self) -> Result<(), DemoError> {
        self.stage.say("\nClient A writes and reads at replica 0:\n")?;
        let mut client = self.connect(0)?;
        self.begin = Instant::now();
        client.set(KEY.as_bytes(), VALUE.as_bytes())?;
        let answered = self.begin.elapsed();
        let found = read(&mut client)?;
        self.in_time()?;
        self.tell(answered, "A", 0, &format!("set {KEY}={VALUE}"), "STORED", "at once")?;
        self.tell_read("A", 0, &found, "stale: A does not see its own write")?;
        self.expect("the read at replica 0", INITIAL, &found)?;
        self.standings()?;
        self.stage.say("\nThe write is on its way. We ask all replicas until they have it:\n")?;
        self.settle("delivered everywhere")
    }

    /// Sequential: the answer waits for the delivery, and a read elsewhere does not.
    fn answered_at_delivery(&mut self) -> Result<(), DemoError> {
        self.stage.say(
            "\nClient A writes at replica 0. While it waits, client B reads at replica 1:\n",
        )?;
        let client = self.connect(0)?;
        self.begin = Instant::now();
        let answer = set_behind(client)?;
        self.await_pending(1)?;
        let found = read(&mut self.eyes[1])?;
        self.in_time()?;
        self.tell_read("B", 1, &found, "old, and allowed: see below")?;
        self.expect("the read at replica 1", INITIAL, &found)?;
        self.standings()?;
        self.stage.say("\nA waits until its own replica has delivered the write:\n")?;
        let (mut client, result) = self.receive(&answer)?;
        let answered = self.begin.elapsed();
        result?;
        let what = format!("set {KEY}={VALUE}");
        self.tell(answered, "A", 0, &what, "STORED", "after the delivery")?;
        if answered < self.demo.write_delay {
            let expected = format!("at least {:?}", self.demo.write_delay);
            return self.surprise("the time until the answer", &expected, &format!("{answered:?}"));
        }
        let found = read(&mut client)?;
        self.tell_read("A", 0, &found, "A sees its own write")?;
        self.expect("the read at replica 0 after the answer", VALUE, &found)?;
        self.settle("and so does everyone")?;
        self.stage.say(
            "\nWhy B may read the old value: sequential consistency promises one order of all\n\
             operations that fits every client's own order. Here: B reads 0, A sets 42,\n\
             A reads 42. It does not promise that this order follows the clock.",
        )
    }

    fn connect(&self, replica: usize) -> Result<Client, DemoError> {
        Ok(Client::connect(&self.addresses[replica], Protocol::Memcached, self.options)?)
    }

    /// One thing that a client did, with the time at which it had its answer.
    fn tell(
        &mut self,
        at: Duration,
        client: &str,
        replica: usize,
        asked: &str,
        answer: &str,
        remark: &str,
    ) -> Result<(), DemoError> {
        let (style, seconds) = (self.stage.style, at.as_secs_f64());
        let remark = style.dim(remark);
        let line = format!("  {seconds:>5.3} s  {client}, replica {replica}  {asked:<8} → ");
        self.stage.say(&format!("{line}{answer:<6}  {remark}"))
    }

    fn tell_read(
        &mut self,
        client: &str,
        replica: usize,
        found: &str,
        remark: &str,
    ) -> Result<(), DemoError> {
        let (at, style) = (self.begin.elapsed(), self.stage.style);
        let padded = format!("{found:<6}");
        let shown = if found == VALUE { style.accent(&padded) } else { style.warning(&padded) };
        self.tell(at, client, replica, &format!("get {KEY}"), &shown, remark)
    }

    /// The flow of messages, traced.
    fn flow(&mut self) -> Result<(), DemoError> {
        self.stage
            .say("\nThe messages in order, as the same code sends them in virtual time:\n")?;
        for line in flow::lines(self.mode, self.demo.write_delay)? {
            self.stage.say(&format!("  {line}"))?;
        }
        Ok(())
    }

    /// Asks every replica what it has.
    fn look(&mut self) -> Result<Vec<Standing>, DemoError> {
        let look = |eye: &mut Client| {
            let stats = eye.stats()?;
            let stat = |name: &str| {
                let found = stats.iter().find(|(key, _)| key == name);
                found.map_or("unknown".to_owned(), |(_, value)| value.clone())
            };
            Ok(Standing {
                clock: stat("lamport_time"),
                delivered: stat("last_delivered"),
                pending: stat("pending_messages"),
                value: read(eye)?,
            })
        };
        self.eyes.iter_mut().map(look).collect()
    }

    /// A table of where each replica stands.
    fn standings(&mut self) -> Result<(), DemoError> {
        for replica in 0..self.eyes.len() {
            self.await_pending(replica)?;
        }
        let all = self.look()?;
        self.in_time()?;
        let style = self.stage.style;
        let heading: String =
            (0..all.len()).map(|id| format!("{:>12}", format!("replica {id}"))).collect();
        self.stage.say(&format!("\n  {}", style.dim(&format!("{:<22}{heading}", "meanwhile"))))?;
        let mut row = |name: &str, figure: fn(&Standing) -> &str| {
            let figures: String = all.iter().map(|s| format!("{:>12}", figure(s))).collect();
            self.stage.say(&format!("  {name:<22}{figures}"))
        };
        row(KEY, |s| &s.value)?;
        row("Lamport time", |s| &s.clock)?;
        row("delivered up to", |s| &s.delivered)?;
        row("writes not delivered", |s| &s.pending)
    }

    /// Waits until every replica has the new value.
    fn settle(&mut self, remark: &str) -> Result<(), DemoError> {
        for replica in 0..self.eyes.len() {
            self.await_value(replica)?;
        }
        let (at, style) = (self.begin.elapsed().as_secs_f64(), self.stage.style);
        let shown = style.accent(&format!("{VALUE:<6}"));
        let (asked, remark) = (format!("get {KEY}"), style.dim(remark));
        self.stage.say(&format!("  {at:>5.3} s  all replicas  {asked:<8} → {shown}  {remark}"))
    }

    fn await_value(&mut self, replica: usize) -> Result<(), DemoError> {
        loop {
            let found = read(&mut self.eyes[replica])?;
            if found == VALUE {
                return Ok(());
            }
            self.pause(&format!("{KEY} at replica {replica}"), VALUE, &found)?;
        }
    }

    /// Waits until a replica holds a write that it has not delivered.
    fn await_pending(&mut self, replica: usize) -> Result<(), DemoError> {
        loop {
            let stats = self.eyes[replica].stats()?;
            let pending = stats.iter().find(|(name, _)| name == "pending_messages");
            let pending = pending.map_or("unknown", |(_, value)| value);
            if pending != "0" {
                return Ok(());
            }
            self.in_time()?;
            self.pause(&format!("the pending writes of replica {replica}"), "1", pending)?;
        }
    }

    fn pause(&self, what: &str, expected: &str, found: &str) -> Result<(), DemoError> {
        if self.stage.stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(DemoError::Interrupted);
        }
        if self.begin.elapsed() > self.demo.write_delay + PATIENCE {
            return self.surprise(what, expected, found);
        }
        thread::sleep(POLL);
        Ok(())
    }

    /// The answer that [`set_behind`] sends.
    fn receive(&self, answer: &Receiver<Answer>) -> Result<Answer, DemoError> {
        loop {
            match answer.recv_timeout(POLL) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Timeout) => self.pause("the set", "answered", "nothing")?,
                Err(RecvTimeoutError::Disconnected) => {
                    let source = std::io::Error::other("the client's thread has ended");
                    return Err(DemoError::System { action: "wait for an answer", source });
                }
            }
        }
    }

    /// What is seen now counts only while the write cannot have been delivered.
    fn in_time(&self) -> Result<(), DemoError> {
        let took = self.begin.elapsed();
        if took < self.demo.write_delay {
            return Ok(());
        }
        Err(DemoError::TooSlow { mode: self.mode.name, took })
    }

    fn expect(&self, what: &str, expected: &str, found: &str) -> Result<(), DemoError> {
        if found == expected { Ok(()) } else { self.surprise(what, expected, found) }
    }

    fn surprise(&self, what: &str, expected: &str, found: &str) -> Result<(), DemoError> {
        let (mode, expected) = (self.mode.name, expected.to_owned());
        Err(DemoError::Surprise { mode, what: what.to_owned(), expected, found: found.to_owned() })
    }
}

fn read(client: &mut Client) -> Result<String, ClientError> {
    let found = client.get(KEY.as_bytes())?;
    Ok(found.map_or("nothing".to_owned(), |value| String::from_utf8_lossy(&value).into_owned()))
}

/// Sets the value in a thread of its own, since the answer takes its time. The thread ends with the
/// replica that it talks to, at the latest.
fn set_behind(mut client: Client) -> Result<Receiver<Answer>, DemoError> {
    let (send, answer) = bounded(1);
    let body = move || {
        let result = client.set(KEY.as_bytes(), VALUE.as_bytes());
        // Nobody waits for it any more where the demo was interrupted.
        let _ = send.send((client, result));
    };
    match thread::Builder::new().name("client-a".to_owned()).spawn(body) {
        Ok(_) => Ok(answer),
        Err(source) => Err(DemoError::System { action: "start a thread", source }),
    }
}
