//! The table as a client or a person reads it.

use std::fmt::Write as _;

use serde_json::Value;

use super::table::Entry;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/query.json`
    Json,
    /// `/query.text`
    Text,
    /// `/`
    Html,
}

impl Page {
    /// The page of a path.
    pub fn of(path: &str) -> Option<Self> {
        match path.split('?').next() {
            Some("/query.json") => Some(Self::Json),
            Some("/query.text") => Some(Self::Text),
            Some("/" | "/index.html" | "/query.html") => Some(Self::Html),
            _ => None,
        }
    }

    /// Its `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
        }
    }

    /// What stands before the registrations, of which there are `count`.
    pub fn begin(self, out: &mut String, count: usize) {
        match self {
            Self::Json => out.push_str("[\n"),
            Self::Text => {}
            Self::Html => begin_html(out, count),
        }
    }

    /// A registration; a line, or a few in text.
    pub fn entry(self, out: &mut String, first: bool, entry: &Entry, now: u64) {
        match self {
            Self::Json => {
                out.push_str(if first { "" } else { ",\n" });
                out.push_str(&Value::Object(entry.all()).to_string());
            }
            Self::Text => {
                for (name, value) in &entry.all() {
                    // Writing to a string does not fail.
                    let _ = writeln!(out, "{} {}", on_a_line(name), on_a_line(&shown(value)));
                }
                out.push('\n');
            }
            Self::Html => row(out, entry, now),
        }
    }

    /// What stands behind them.
    pub fn end(self, out: &mut String) {
        match self {
            Self::Json => out.push_str("\n]\n"),
            Self::Text => {}
            Self::Html => out.push_str("</table></body></html>\n"),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn on_a_line(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(escape).collect()
}

const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Catalog</title>
<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="30">
<style>
:root { color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif; }
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .75rem; border-bottom: 1px solid #8886; overflow-wrap: anywhere; }
th { font-weight: 600; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
p { color: #777; }
</style></head><body><h1>Catalog</h1>
"#;

/// A page that needs nothing else, and follows the reader's light or dark scheme.
fn begin_html(out: &mut String, count: usize) {
    out.push_str(HEAD);
    let _ = writeln!(
        out,
        "<p>{count} server{} · <a href=\"/query.json\">JSON</a> · <a href=\"/query.text\">text</a></p>",
        if count == 1 { "" } else { "s" }
    );
    out.push_str(
        "<table><tr><th>project</th><th>type</th><th>owner</th><th>host</th><th>port</th>\
         <th>heard from</th></tr>\n",
    );
}

fn row(out: &mut String, entry: &Entry, now: u64) {
    let cell = |name: &str| escape(&entry.members.get(name).map(shown).unwrap_or_default());
    let _ = writeln!(
        out,
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"number\">{}</td>\
         <td class=\"number\">{} ago</td></tr>",
        cell("project"),
        cell("type"),
        cell("owner"),
        escape(&host(entry)),
        cell("port"),
        ago(now.saturating_sub(entry.heard)),
    );
}

fn host(entry: &Entry) -> String {
    let (name, address) = (entry.host(), entry.address.to_string());
    if name == address { name } else { format!("{name} ({address})") }
}

fn ago(seconds: u64) -> String {
    if seconds < 60 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labs::cluster::catalog::table::Table;

    fn written(page: Page, table: &Table, now: u64) -> String {
        let mut out = String::new();
        page.begin(&mut out, table.len());
        for (number, entry) in table.entries().enumerate() {
            page.entry(&mut out, number == 0, entry, now);
        }
        page.end(&mut out);
        out
    }

    fn table() -> Table {
        let mut table = Table::new(900);
        let here = std::net::Ipv4Addr::LOCALHOST.into();
        let one = br#"{"type":"hashtable","owner":"me","port":9900,"project":"mytable-0"}"#;
        let two =
            br#"{"type":"<b>","owner":"a\nb","port":9901,"project":"x & y","load":[1,{"a":2}]}"#;
        table.register(one, here, 1000).expect("taken");
        table.register(two, here, 1100).expect("taken");
        table
    }

    #[test]
    fn json_is_a_line_a_server() {
        let expected = r#"[
{"name":"localhost","lastheardfrom":1000,"address":"127.0.0.1","type":"hashtable","owner":"me","port":9900,"project":"mytable-0"},
{"name":"localhost","lastheardfrom":1100,"address":"127.0.0.1","type":"<b>","owner":"a\nb","port":9901,"project":"x & y","load":[1,{"a":2}]}
]
"#;
        assert_eq!(written(Page::Json, &table(), 0), expected);
        assert_eq!(written(Page::Json, &Table::new(1), 0), "[\n\n]\n");
    }

    #[test]
    fn text_is_a_line_a_member_whatever_a_value_holds() {
        let written = written(Page::Text, &table(), 0);
        assert!(written.starts_with("name localhost\nlastheardfrom 1000\naddress 127.0.0.1\n"));
        assert!(
            written.contains("\nowner a\\nb\nport 9901\nproject x & y\nload [1,{\"a\":2}]\n\n")
        );
    }

    #[test]
    fn the_page_shows_text_as_text() {
        let written = written(Page::Html, &table(), 1130);
        assert!(written.contains("<td>x &amp; y</td><td>&lt;b&gt;</td>"), "{written}");
        assert!(written.contains("<td class=\"number\">2 min ago</td>"));
    }
}
