//! Settings of the machine, changed for a test.

use std::fs;

/// One setting, put back when this is dropped.
#[derive(Debug)]
pub struct Setting(&'static str, String);

impl Setting {
    /// Writes `value` to the file `path`.
    #[track_caller]
    pub fn change(path: &'static str, value: &str) -> Self {
        let before = fs::read_to_string(path).expect("the setting is there");
        fs::write(path, value).expect("root may change it");
        Self(path, before)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        fs::write(self.0, self.1.trim()).expect("root may change it back");
    }
}
