//! `zkd`, the server: reads what was asked for, runs it, ends with its status.

mod cli;
mod start;

use std::io::Write;
use std::process::ExitCode;

use cli::{Command, Outside};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let variable = |name: &str| std::env::var(name).ok();
    let file = |name: &str| std::fs::read(name);
    let stores = &zkd::reactor::check_stores;
    let outside = Outside { variable: &variable, file: &file, whole_path: &whole_path, stores };
    match cli::command(&arguments, &outside) {
        Command::Run(config) => ExitCode::from(start::run(&config)),
        Command::Say(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Command::Refuse { text, status } => refuse(&text, status),
    }
}

/// Through the folder's own name: what is replaced lies in that folder, link or not.
fn whole_path(name: &str) -> String {
    let path = std::path::absolute(name).unwrap_or_else(|_| name.into());
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    let whole = folder.zip(path.file_name()).map(|(folder, name)| folder.join(name));
    whole.unwrap_or(path).to_string_lossy().into_owned()
}

fn refuse(text: &str, status: u8) -> ExitCode {
    // A closed stderr changes nothing about the status.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(status)
}
