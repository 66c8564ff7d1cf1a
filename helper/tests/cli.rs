// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The program itself: help texts, keys, and what it says when something is wrong.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn pdmv2(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pdmv2"))
        .args(args)
        .env("COLUMNS", "100")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that ends without reading is no error here.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Every help text, compared with `tests/help.txt`, or written there with `PDMV2_REGENERATE=1`.
#[test]
fn help_texts() {
    let mut all = String::new();
    let mut trees = vec![pdmv2::cli::command()];
    trees[0].build();
    while let Some(mut command) = trees.pop() {
        command = command.term_width(100);
        let name = command.get_bin_name().unwrap_or("pdmv2").to_owned();
        all.push_str(&format!("$ {name} --help\n{}\n", command.render_long_help()));
        let mut inner: Vec<_> = command.get_subcommands().filter(|one| one.get_name() != "help").cloned().collect();
        inner.reverse();
        trees.extend(inner);
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/help.txt");
    if std::env::var_os("PDMV2_REGENERATE").is_some() {
        std::fs::write(&path, &all).unwrap();
    }
    assert_eq!(all, std::fs::read_to_string(&path).unwrap());
}

/// The units call this program, and no other version of it.
#[test]
fn the_units_command_lines_are_this_programs() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/pdmv2.service");
    let text = std::fs::read_to_string(unit).unwrap();
    for key in ["ExecStart", "ExecReload"] {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).unwrap();
        let matches = pdmv2::cli::command().try_get_matches_from(line.split(' ')).unwrap();
        assert_eq!(matches.subcommand_name(), Some(if key == "ExecStart" { "daemon" } else { "sync" }));
    }
}

#[test]
fn keys_by_standard_input_and_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    assert_eq!(stdout(&pdmv2(&["genkey", "--output", text(&path)], "")), "");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let private = std::fs::read_to_string(&path).unwrap();
    assert_eq!(private.len(), 45);
    let by_file = stdout(&pdmv2(&["pubkey", "--key", text(&path)], ""));
    assert_eq!(by_file.len(), 45);
    assert_ne!(by_file, private);
    assert_eq!(stdout(&pdmv2(&["pubkey"], &private)), by_file);

    let before = std::fs::read(&path).unwrap();
    assert!(stderr(&pdmv2(&["genkey", "--output", text(&path)], "")).contains("not overwritten"));
    assert_eq!(std::fs::read(&path).unwrap(), before);

    assert_ne!(stdout(&pdmv2(&["genkey"], "")), stdout(&pdmv2(&["genkey"], "")));
}

/// A key that OpenSSL can ask for a certificate with, and one that it made.
#[test]
fn keys_in_pem() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    stdout(&pdmv2(&["genkey", "--pem", "--output", text(&path)], ""));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let pem = std::fs::read_to_string(&path).unwrap();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI"), "not shown");
    let public = stdout(&pdmv2(&["pubkey", "--key", text(&path)], ""));
    assert_eq!(stdout(&pdmv2(&["pubkey"], &pem)), public);
    assert_eq!(public.len(), 45);
    // RFC 8410 section 10.3.
    let made = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                -----END PRIVATE KEY-----\n";
    assert_eq!(stdout(&pdmv2(&["pubkey"], made)), "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n");
    let error = stderr(&pdmv2(&["pubkey"], &made.replace("PRIVATE", "EC PRIVATE")));
    assert!(error.contains("PKCS#8"), "{error}");
}

#[test]
fn a_key_file_that_others_may_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    stdout(&pdmv2(&["genkey", "-o", text(&path)], ""));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = stderr(&pdmv2(&["pubkey", "--key", text(&path)], ""));
    assert!(error.contains("mode 0644") && error.contains("chmod 600"), "{error}");
}

#[test]
fn no_error_shows_what_it_was_given_as_a_key() {
    let secret = "c2VjcmV0IHRoYXQgaXMgbm90IDMyIGJ5dGVzIGxvbg==";
    let error = stderr(&pdmv2(&["pubkey"], secret));
    assert!(!error.contains("c2Vj"), "{error}");
    assert!(error.contains("standard input"), "{error}");
}

#[test]
fn a_wrong_configuration_is_told_with_file_line_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pdmv2.toml");
    std::fs::write(&path, "[host]\nprivate-key-file = \"k\"\nidle = 0\n").unwrap();
    let error = stderr(&pdmv2(&["daemon", "--config", text(&path)], ""));
    assert_eq!(error, format!("pdmv2: {}:3:8: host.idle: 0 is not within 1 to 86400\n", path.display()));
    std::fs::write(&path, "[[rule]]\nsend = \"v4\"\n").unwrap();
    let error = stderr(&pdmv2(&["policy", "set", text(&path)], ""));
    assert!(error.contains(":2:8: rule[1].send: `v4` is not one of"), "{error}");
}

#[test]
fn check_config_tells_everything_and_its_exit_status_says_whether_a_daemon_would_start() {
    let dir = tempfile::tempdir().unwrap();
    let (path, key) = (dir.path().join("pdmv2.toml"), dir.path().join("key"));
    stdout(&pdmv2(&["genkey", "-o", text(&key)], ""));
    std::fs::write(&path, "[host]\nidle = 0\n[policy]\nrest = 0\n").unwrap();
    let output = pdmv2(&["check-config", text(&path)], "");
    assert!(!output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let file = path.display();
    assert!(
        said.contains("missing field `private-key-file`") && said.contains(&format!("{file}:4:8: policy.rest")),
        "{said}"
    );
    let wrong = String::from_utf8(output.stderr).unwrap();
    assert_eq!(wrong, format!("pdmv2: {file}: {} wrong\n", said.lines().count()));
    let right = format!("[host]\nprivate-key-file = \"{}\"\nkey-log = \"/nonexistent/log\"\n", key.display());
    std::fs::write(&path, right).unwrap();
    let said = stdout(&pdmv2(&["check-config", text(&path)], ""));
    assert_eq!(said, format!("{file}:3:11: host.key-log: there is no directory /nonexistent (warning)\n"));
    let said = stdout(&pdmv2(&["--json", "check-config", text(&path)], ""));
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&found[0]["severity"], &found[0]["key"], &found[0]["line"]),
        (&"warning".into(), &"host.key-log".into(), &3.into())
    );
}

#[test]
fn a_daemon_refuses_a_key_file_that_others_may_read() {
    let dir = tempfile::tempdir().unwrap();
    let (config, key) = (dir.path().join("pdmv2.toml"), dir.path().join("key"));
    stdout(&pdmv2(&["genkey", "-o", text(&key)], ""));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::write(&config, format!("[host]\nprivate-key-file = \"{}\"\nlisten = \"[::1]:0\"\n", key.display()))
        .unwrap();
    let error = stderr(&pdmv2(&["daemon", "--config", text(&config)], ""));
    assert!(error.contains("mode 0640"), "{error}");
}

#[test]
fn without_the_module_every_command_says_so() {
    if Path::new("/sys/module/pdmv2").exists() {
        return;
    }
    for args in
        [&[] as &[&str], &["show"], &["--json"], &["policy"], &["policy", "clear"], &["flow"], &["flow", "flush"]]
    {
        let error = stderr(&pdmv2(args, ""));
        assert!(error.contains("modprobe pdmv2") && error.contains("insmod"), "{args:?}: {error}");
    }
}
