//! What the nine commands do.

use crate::gossip_support::{Master, master};

/// Starts so many servers, each with a client.
fn joined(servers: u16) -> String {
    let join = |server| format!("joinServer {server}\njoinClient {} {server}\n", 5 + server);
    (0..servers).map(join).collect()
}

#[test]
fn a_transcript_of_all_commands() {
    let commands = joined(3)
        + "put 5 k1 v1\nput 6 k2 v2 \nget 5 k1\nget 6 k2\nget 7 k9\n\n# settle\nstabilize\nget 7 k1\nget 7 k2\n\
           breakConnection 0 2\nbreakConnection 1 2\nput 5 k1 new\nstabilize\nget 6 k1\nget 7 k1\n\
           createConnection 1 2\nstabilize\nget 7 k1\nprintStore 2\nprintStore 0\n\
           killServer 0\nkillServer 1\nkillServer 2\n";
    let (out, errors) = master(&[], &commands);
    assert_eq!(errors, [""; 0]);
    let store = ["k1:new", "k2:v2"];
    let gets = ["k1:v1", "k2:v2", "k9:ERR_KEY", "k1:v1", "k2:v2", "k1:new", "k1:v1", "k1:new"];
    assert_eq!(out, [&gets[..], &store, &store].concat());
}

#[test]
fn a_client_takes_its_session_along() {
    let commands = joined(2)
        + "breakConnection 0 1\nput 5 k v\nbreakConnection 5 0\ncreateConnection 5 1\nget 5 k\nget 6 k\n\
           put 5 l w\nget 5 l\n\
           joinClient 6 0\nget 6 k\njoinClient 6 1\nget 6 k\n\
           createConnection 0 1\nstabilize\nget 5 k\nget 6 k\nget 6 l\n";
    let (out, errors) = master(&[], &commands);
    assert_eq!(errors, [""; 0]);
    let expected = [
        "k:ERR_DEP", // Read-your-writes: it has written what this server lacks.
        "k:ERR_KEY", // The other client has seen nothing.
        "l:ERR_DEP",
        "k:v",
        "k:ERR_DEP", // Monotonic reads: it has read what this server lacks.
        "k:v",
        "k:v",
        "l:w",
    ];
    assert_eq!(out, expected);
}

#[test]
fn a_write_is_later_than_all_that_its_client_has_seen() {
    // Server 1 has drawn fewer versions than server 0 when the client comes from there.
    let commands = joined(2)
        + "breakConnection 0 1\nput 5 a 1\nput 5 a 2\nput 5 k old\njoinClient 5 1\nput 5 k new\n\
           createConnection 0 1\nstabilize\nprintStore 0\nprintStore 1\n";
    let (out, errors) = master(&[], &commands);
    assert_eq!(errors, [""; 0]);
    assert_eq!(out, ["a:2", "k:new", "a:2", "k:new"]);
}

#[test]
fn a_killed_server_comes_back_with_its_data_and_its_clients() {
    let data = tempfile::tempdir().expect("a folder");
    let data = data.path().to_str().expect("UTF-8");
    let mut lab = Master::start(&["--data", data]);
    lab.say(&joined(2));
    lab.say(
        "breakConnection 0 1\nput 6 k only-here\nkillServer 1\nput 6 k lost\nput 5 l while-away\n",
    );
    // The join mends the links.
    lab.say("joinServer 1\nget 6 k\nput 6 m back\nstabilize\nprintStore 0\n");
    assert_eq!(lab.line(), "k:only-here");
    let store = [lab.line(), lab.line(), lab.line()];
    assert_eq!(store, ["k:only-here", "l:while-away", "m:back"]);
    lab.end();
    let kept = std::fs::read_to_string(format!("{data}/1/storage.txt")).expect("its store");
    assert!(kept.contains("only-here"), "{kept}");
    let (again, _) = master(&["--data", data], "joinServer 1\nprintStore 1\n");
    assert_eq!(again, ["k:only-here", "l:while-away", "m:back"]);
}

#[test]
fn components_settle_for_themselves() {
    let commands = joined(4)
        + "breakConnection 0 2\nbreakConnection 0 3\nbreakConnection 1 2\nbreakConnection 1 3\n\
           put 5 k left\nput 6 only left\nput 8 k right\nstabilize\nget 6 k\nget 7 k\nget 7 only\n\
           createConnection 2 0\nstabilize\nprintStore 0\nprintStore 1\nprintStore 2\nprintStore 3\n";
    let (out, errors) = master(&[], &commands);
    assert_eq!(errors, [""; 0]);
    assert_eq!(out[..3], ["k:left", "k:right", "only:ERR_KEY"]);
    let stores: Vec<_> = out[3..].chunks(2).collect();
    assert!(stores.iter().all(|store| *store == stores[0]), "{stores:?}");
    assert_eq!(stores[0][1], "only:left");
}

#[test]
fn a_line_that_cannot_be_done_is_said_and_the_next_is_read() {
    let commands = "joinServer 0\njoinServer 0\njoinServer 9\nput 5 k v\njoinClient 5 0\nput 5 k v\nput 5 k\n\
                    killServer 0\nget 5 k\nput 5 k w\nprintStore 0\nstabilize\nflyAway\n";
    let (out, errors) = master(&[], commands);
    assert_eq!(out, [""; 0]);
    let begin = [
        "line 2: server 0 is up already",
        "line 3: expected a server of 0 to 4, found 9",
        "line 4: client 5 has not joined",
        "line 7: expected put CLIENT KEY VALUE, found 3 words",
        "line 9: client 5 is at server 0, which is not up",
        "line 10: client 5 is at server 0, which is not up",
        "line 11: server 0 is not up",
        "line 13: expected joinServer, ",
    ];
    assert_eq!(errors.len(), begin.len(), "{errors:?}");
    for (error, begin) in errors.iter().zip(begin) {
        assert!(error.starts_with(begin), "{error:?} does not begin with {begin:?}");
    }
}

#[test]
fn any_number_of_servers_in_a_chain() {
    let mut commands = String::new();
    for server in 0..8 {
        commands += &format!("joinServer {server}\n");
        for other in (0..server).filter(|other| other + 1 != server) {
            commands += &format!("breakConnection {other} {server}\n");
        }
    }
    commands += "joinClient 8 0\njoinClient 9 7\nput 8 first 1\nput 9 last 2\nstabilize\nget 8 last\nget 9 first\n";
    let (out, errors) = master(&["--servers", "8", "--clients", "2"], &commands);
    assert_eq!(errors, [""; 0]);
    assert_eq!(out, ["last:2", "first:1"]);
}
