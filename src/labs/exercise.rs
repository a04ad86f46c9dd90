//! What an exercise leaves in its folder: tables as CSV, a picture, and `summary.json`.

use std::path::Path;

use serde_json::{Value, json};

use crate::report::{self, Columns, FolderError};

/// The results of one exercise.
#[derive(Debug)]
pub struct Exercise {
    /// Its name.
    pub name: &'static str,
    /// What was asked.
    pub config: Value,
    /// What came out.
    pub results: Value,
    /// The tables and the names of their files.
    pub tables: Vec<(&'static str, Columns)>,
    /// The picture and the name of its file.
    pub picture: (&'static str, String),
}

impl Exercise {
    /// Writes the files into a folder, which may exist, and returns their names.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(
        &self,
        folder: &Path,
        command_line: &[String],
    ) -> Result<Vec<&'static str>, FolderError> {
        report::prepare(folder)?;
        let summary = json!({
            "name": self.name,
            "version": concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
            "command_line": command_line,
            "config": self.config,
            "results": self.results,
        });
        report::write_text(folder, "summary.json", &format!("{summary:#}\n"))?;
        let mut files = vec!["summary.json"];
        for (file, table) in &self.tables {
            report::write_text(folder, file, &table.csv()?)?;
            files.push(file);
        }
        report::write_text(folder, self.picture.0, &self.picture.1)?;
        files.push(self.picture.0);
        Ok(files)
    }
}
