//! The stories: what happens, and what is claimed of it.

use super::draw::{CLIENT, HUB, Row, What};
use super::world::{PARTICIPANTS, World};
use super::{DemoError, Stage};
use crate::protocol::two_phase::{Answer, Command};

/// The one key of all stories.
const KEY: &str = "x";
/// How long a blocked participant is watched, in milliseconds.
const BLOCKED: u64 = 30;

/// One story.
pub(super) struct Story {
    /// Its heading.
    pub title: &'static str,
    /// What to know before.
    pub before: &'static str,
    /// Has it happen, draws it, and says what to notice.
    pub tell: fn(&mut Stage<'_>) -> Result<(), DemoError>,
}

/// All, in the order in which they are told: each begins where the one before ended.
pub(super) const STORIES: [Story; 4] = [
    Story {
        title: "commit",
        before: "C asks all three to promise. When the last has, it tells them to carry it out, and when the last\n\
                 has done so, the client. Between promise and decision (║) a participant is bound.",
        tell: commit,
    },
    Story {
        title: "abort by a NO",
        before: "The same for another value, but P1 takes no promises. One NO is enough: C has the others drop\n\
                 theirs, and the client is told that nothing has happened.",
        tell: abort,
    },
    Story {
        title: "the coordinator is lost between the phases; nobody has committed",
        before: "All three have promised; C is killed before their votes arrive. It stores nothing, so the next\n\
                 incarnation knows nothing of the transaction, and has to ask.",
        tell: nobody_committed,
    },
    Story {
        title: "the coordinator is lost between the phases; one has committed",
        before: "Now C is killed a moment later: it has sent COMMIT to P0, and not yet to P1 and P2.",
        tell: one_committed,
    },
];

/// Starts everybody and explains the picture.
pub(super) fn begin(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let style = stage.style;
    stage.say(&style.bold("Two-phase commit"))?;
    stage.say(
        "One coordinator C, participants P0, P1 and P2 with a copy each: the machines of kvstore2pcsystem and\n\
         their frames, in virtual time. A message takes 1 ms. Time goes downwards, a line is one message when it\n\
         leaves; heartbeats are left out. What has a ✓ below a picture was checked against what the machines\n\
         hold and have sent.\n",
    )?;
    stage.say(&format!(
        "  {}  promises     {}  bound by it     {}  commits     {}  aborts     {}  killed",
        style.warning("?"),
        style.warning("║"),
        style.good("✓"),
        style.bad("✗"),
        style.bad("†"),
    ))?;
    stage.world.start_coordinator();
    stage.world.until("the first view", World::is_whole)?;
    stage.world.notes.rows.clear();
    Ok(())
}

fn commit(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let answer = stage.world.ask_and_wait(set("1"))?;
    stage.draw()?;
    let phases = ["REQUEST-TO-PREPARE", "PREPARED", "COMMIT", "DONE"];
    let each = phases.iter().all(|name| stage.count(name) == usize::from(PARTICIPANTS));
    stage.claim(
        "two rounds of three messages there and three back: 12 in all",
        each && stage.between() == 12,
    )?;
    let order =
        stage.last("PREPARED") < stage.first("COMMIT") && stage.last("DONE") < stage.first("+OK");
    stage.claim("no COMMIT before the last PREPARED, no OK before the last DONE", order)?;
    stage.claim("the client has its OK", answer == Answer::Ok)?;
    stage.claim_value("1")
}

fn abort(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    stage.world.refuse(1, true);
    let answer = stage.world.ask_and_wait(set("2"))?;
    stage.world.refuse(1, false);
    let read = stage.world.ask_and_wait(get())?;
    stage.draw()?;
    stage.claim(
        "P0 and P2 had promised, P1 had not",
        stage.count("PREPARED") == 2 && stage.count("NO") == 1,
    )?;
    stage.claim(
        "nobody was told to commit",
        stage.count("COMMIT") == 0 && stage.count("ABORT") > 0,
    )?;
    stage.claim(
        "the client has an error, and knows that nothing happened",
        matches!(answer, Answer::Error(_)),
    )?;
    stage.claim("GET x is 1, the old value", is_value(&read, "1"))?;
    stage.claim_value("1")
}

fn nobody_committed(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    stage.world.ask(set("3"))?;
    stage.world.until("three promises", |world| all(|p| !world.promises(p).is_empty()))?;
    stage.world.kill_coordinator();
    stage.world.wait(BLOCKED)?;
    stage.draw()?;
    let bound = all(|p| stage.world.promises(p) == ["x=3"]);
    stage.claim(
        "30 ms later P0, P1 and P2 are bound by the promise x=3, all the same: blocked",
        bound,
    )?;
    let nothing = stage.count("COMMIT") == 0 && all(|p| stage.value(p) == "1");
    stage.claim("none can commit: for all that it knows, another has voted NO", nothing)?;
    stage.claim(
        "none can abort: for all that it knows, another has heard COMMIT",
        stage.count("ABORT") == 0,
    )?;
    stage.claim_unknown()?;
    stage.say("\nA new incarnation comes and asks everybody what they hold:")?;

    stage.world.start_coordinator();
    stage.world.until("the view of the new incarnation", World::is_whole)?;
    let read = stage.world.ask_and_wait(get())?;
    let again = stage.world.ask_and_wait(set("4"))?;
    stage.draw()?;
    stage.claim(
        "nobody reported it as committed, so it was aborted everywhere",
        stage.marked("presumed abort"),
    )?;
    stage.claim("GET x is 1, the old value", is_value(&read, "1"))?;
    stage.claim("nothing stays locked: SET x 4 has its OK", again == Answer::Ok)?;
    stage.claim_value("4")
}

fn one_committed(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    stage.world.kill_at_first_commit();
    stage.world.ask(set("5"))?;
    stage.world.until("the end of C", |world| !world.has_coordinator())?;
    stage.world.wait(BLOCKED)?;
    stage.draw()?;
    stage.claim(
        "P0 has carried it out: x is 5 there",
        stage.value(0) == "5" && stage.world.promises(0).is_empty(),
    )?;
    let blocked = |p: &u16| stage.value(*p) == "4" && stage.world.promises(*p) == ["x=5"];
    let blocked = [1, 2].iter().all(blocked);
    stage.claim("P1 and P2 are blocked: x is 4 there, and the promise x=5 binds them", blocked)?;
    stage.claim_unknown()?;
    stage.say(
        "\nHad the next incarnation aborted as before, P0 would differ for ever. But it asks:",
    )?;

    stage.world.start_coordinator();
    stage.world.until("the view of the new incarnation", World::is_whole)?;
    let read = stage.world.ask_and_wait(get())?;
    stage.draw()?;
    stage.claim(
        "P0 reported it as committed, so it was committed everywhere",
        stage.marked("it commits"),
    )?;
    stage.claim("GET x is 5, the new value", is_value(&read, "5"))?;
    stage.claim_value("5")
}

fn set(value: &str) -> Command {
    Command::Set { key: KEY.as_bytes().into(), value: value.as_bytes().to_vec().into() }
}

fn get() -> Command {
    Command::Get { key: KEY.as_bytes().into() }
}

fn all(so: impl Fn(u16) -> bool) -> bool {
    (0..PARTICIPANTS).all(so)
}

fn is_value(answer: &Answer, value: &str) -> bool {
    matches!(answer, Answer::Value(Some(found)) if found.as_slice() == value.as_bytes())
}

impl Stage<'_> {
    /// What participant `p` has under the key.
    fn value(&self, p: u16) -> String {
        self.world.value(p, KEY).unwrap_or_default()
    }

    fn claim_value(&mut self, value: &str) -> Result<(), DemoError> {
        let everywhere = all(|p| self.value(p) == value);
        let words = format!("x is {value} at P0, P1 and P2, and nobody is bound by anything");
        self.claim(&words, everywhere && self.world.is_free())
    }

    fn claim_unknown(&mut self) -> Result<(), DemoError> {
        let unknown = self.world.told.last() == Some(&Answer::Unknown);
        self.claim("the client was told neither OK nor ERROR", unknown)
    }

    /// The places of the messages of this name among the lines of the story.
    fn places<'b>(&'b self, name: &'b str) -> impl Iterator<Item = usize> + 'b {
        let is = move |row: &Row| {
            matches!(row.what, What::Message { .. }) && row.text.split(' ').next() == Some(name)
        };
        self.drawn.iter().enumerate().filter(move |(_, row)| is(row)).map(|(place, _)| place)
    }

    fn count(&self, name: &str) -> usize {
        self.places(name).count()
    }

    fn first(&self, name: &str) -> Option<usize> {
        self.places(name).next()
    }

    fn last(&self, name: &str) -> Option<usize> {
        self.places(name).last()
    }

    /// How many messages passed between the coordinator and the participants.
    fn between(&self) -> usize {
        let is = |row: &&Row| matches!(row.what, What::Message { from, to, .. } if from != CLIENT && to != CLIENT);
        self.drawn.iter().filter(is).count()
    }

    /// Whether the coordinator said so of itself.
    fn marked(&self, words: &str) -> bool {
        let is = |row: &Row| matches!(&row.what, What::Mark { columns, .. } if columns == &[HUB]);
        self.drawn.iter().any(|row| is(row) && row.text.ends_with(words))
    }
}
